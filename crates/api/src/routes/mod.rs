//! One file per piece of the URL. A handler reads as: who may, what was asked, do it, print it.

pub(crate) mod api_key;
pub(crate) mod app;
pub(crate) mod attempt;
pub(crate) mod auth;
pub(crate) mod background_task;
pub(crate) mod content;
pub(crate) mod dead_letter;
pub(crate) mod document;
pub(crate) mod endpoint;
pub(crate) mod endpoint_headers;
pub(crate) mod endpoint_msg;
pub(crate) mod endpoint_secret;
pub(crate) mod endpoint_stats;
pub(crate) mod event_type;
pub(crate) mod event_type_import;
pub(crate) mod health;
pub(crate) mod msg;
pub(crate) mod msg_batch;
pub(crate) mod operational;
pub(crate) mod precheck;
pub(crate) mod recover;
pub(crate) mod send_example;
pub(crate) mod usage;

use crate::error::ApiError;
use crate::reply::Reply;

/// What a handler returns.
type Answered = Result<Reply, ApiError>;
