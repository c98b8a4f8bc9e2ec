//! The port `Broker` on RabbitMQ, against a server: see `POSTRIDER_TEST_AMQP` in `support`.
#![cfg(all(feature = "rabbitmq", feature = "embedded"))]
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

mod api;
mod support;

postrider_core::conformance_broker!(super::support::Place::new());
