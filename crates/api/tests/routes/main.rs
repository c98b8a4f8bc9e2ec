//! The API as its clients see it: requests in, responses out, on the embedded backend in a temporary directory. The
//! modules mirror the URLs.
//!
//! Whatever a test asks for, `support` checks that an error is JSON of the agreed shape, and that every answer is as the
//! document says.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report, in its helpers, too"
)]

mod api_key;
mod app;
mod attempt;
mod auth;
mod background_task;
mod content;
mod dead_letter;
mod document;
mod documented;
mod edge;
mod endpoint;
mod endpoint_headers;
mod endpoint_msg;
mod endpoint_secret;
mod endpoint_stats;
mod event_type;
mod event_type_import;
mod faults;
mod fuzz;
mod health;
mod idempotency;
mod intake;
mod msg;
mod msg_batch;
mod operational;
mod outages;
mod paging;
mod portal;
mod precheck;
mod recover;
mod send_example;
mod support;
mod usage;
mod validation;
