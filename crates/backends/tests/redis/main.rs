//! The contracts of the ports, held against Redis: a single server and a Cluster of three. They are those that
//! `POSTRIDER_TEST_REDIS` and `POSTRIDER_TEST_REDIS_CLUSTER` name; `./scripts/test` starts them.
#![cfg(feature = "redis")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reports by panicking"
)]

mod dead_letters;
mod documents;
mod limits;
mod log;
mod own;
mod registry;
mod store;
mod support;
