//! The port `Broker` on RabbitMQ, against a server: see `support`.
#![cfg(all(feature = "rabbitmq", feature = "embedded"))]
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

mod apart;
mod api;
mod by_hand;
mod deleted;
mod installing;
mod nodes;
mod packing;
mod proxy;
mod recovery;
mod support;
mod work;

postrider_core::conformance_broker!(super::support::Place::new());
