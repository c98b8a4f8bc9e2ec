//! The HTTP API of Postrider: what operators and their customers call.
//!
//! It speaks the wire contract of Svix's client libraries. A request is read, authorised and checked; what it asks
//! for is done through the ports of `postrider-core`; what was done is told as JSON. Where to look:
//!
//! | question | module |
//! |---|---|
//! | which routes are there? | `router`; `routes/` mirrors their URLs; `front` is the short way to one of them |
//! | how does an event get accepted? | `accept`; over AMQP: `intake`, which ends there, too |
//! | what happens around every request? | `edge` |
//! | who may do what? | `auth`, `access`, [`tokens`] |
//! | what goes on after its request was answered? | `tasks` |
//! | what does the client read when something fails? | `error` |
//! | why does a repeated POST not happen twice? | `idempotency` |
//! | when is a payload held against a schema? | `schema` |
//! | what is on the wire? | `wire/` |
//! | how is all that told to programs? | `document/` |
//!
//! Deliberately absent: a listener, TLS, shutdown (the caller owns them), every backend (the ports are all it
//! knows), and delivery.

mod accept;
mod access;
mod api_key;
mod auth;
mod batch;
mod body;
mod change;
mod config;
mod counting;
mod document;
mod edge;
mod error;
mod example;
mod expired;
mod front;
mod health;
mod heard;
mod idempotency;
mod intake;
mod library;
mod media;
mod metrics;
mod openapi;
mod operational;
mod paging;
mod path;
mod query;
mod reply;
mod resend;
mod router;
mod routes;
mod schema;
mod state;
mod tasks;
pub mod tokens;
mod validate;
mod wire;

use std::sync::Arc;

use postrider_core::Clock;
use postrider_core::ports::{Intake, Ports};
use postrider_core::registry_cache::RegistryCache;

pub use config::{ApiConfig, JwtSecret};
pub use front::Front;

use state::{Shared, State};

/// Reads a posted message as `POST …/msg` does; how long its payload is, where it is a good one. For benchmarks.
#[doc(hidden)]
#[must_use]
pub fn read_message(body: &bytes::Bytes) -> Option<usize> {
    let read = wire::message::MessageIn::read(body);
    read.ok().map(|(_, payload)| payload.len())
}

/// The API as an OpenAPI document: what is served at `/api/v1/openapi.json`.
#[must_use]
pub fn document() -> bytes::Bytes {
    document::JSON.clone()
}

/// What the API is made of.
#[derive(Debug)]
pub struct ApiParts<'a> {
    pub ports: Ports,
    /// Kept up to date by the caller, who feeds it the registry's changes.
    pub cache: Arc<RegistryCache>,
    pub clock: Arc<dyn Clock>,
    pub config: ApiConfig,
    /// Where the API's metrics are registered.
    pub metrics: &'a prometheus::Registry,
}

/// The API, ready to be served.
#[derive(Debug)]
pub struct Api {
    state: Shared,
}

impl Api {
    /// Must be called within a tokio runtime: what is written in batches is written by tasks.
    #[must_use]
    pub fn new(parts: ApiParts<'_>) -> Self {
        let state = Arc::new(State::new(parts));
        tasks::watch_over(&state);
        Self { state }
    }

    /// Everything under `/api/v1`, and an answer in JSON for everything else. Routes `beside` it come first.
    pub fn front(&self, beside: axum::Router) -> Front {
        let router = router::router(&self.state).merge(beside);
        Front::new(Arc::clone(&self.state), router)
    }

    /// What takes messages that were published to the broker, as `POST …/msg` takes them. Whoever calls it has stopped before
    /// [`Self::close`].
    #[must_use]
    pub fn intake(&self) -> Arc<dyn Intake> {
        Arc::new(intake::Taking::new(Arc::clone(&self.state)))
    }

    /// Takes no more requests, waits for those that are still at work although their client has gone, interrupts background
    /// tasks, and writes what is batched. Each of these waits ends after the configured grace. Closing twice is closing once.
    pub async fn close(&self) {
        let State {
            in_flight,
            config,
            batches,
            tasks,
            ..
        } = &*self.state;
        let all = u32::try_from(config.max_in_flight).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(config.close_grace, in_flight.acquire_many(all)).await;
        in_flight.close();
        drop(drained);
        tasks.close(config.close_grace).await;
        batches.close().await;
    }
}
