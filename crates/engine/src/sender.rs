//! What the engine needs from an HTTP client, and nothing else of it: retries and breakers are tested against a
//! scripted sender, on paused time and without a socket.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use postrider_core::attempt::Reply;
use postrider_core::time::Timestamp;

use crate::request_target::RequestTarget;

/// A request that is ready to be sent, and signed.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub to: Arc<RequestTarget>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Bounds everything, from resolving the name to the last byte of the answer.
    pub deadline: Duration,
    /// The wall clock, against which the answer's dates are read.
    pub now: Timestamp,
}

/// Sends one request. Never fails: what goes wrong is a [`Reply`], too.
#[async_trait]
pub trait Sender: Send + Sync + Debug {
    async fn send(&self, request: Outgoing) -> Reply;
}
