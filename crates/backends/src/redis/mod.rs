//! The ports beside the broker on a Redis server (7.0 or newer) or a Redis Cluster.
//!
//! | module | port | keys |
//! |---|---|---|
//! | [`registry`] | `Registry` | `pr1:{…}r…` |
//! | [`limits`] | `Limits` | `pr1:{…}l…` |
//! | [`log`] | `DeliveryLog` | `pr1:{…}h…` |
//! | [`dead_letters`] | `DeadLetters` | `pr1:{…}d…` |
//! | [`documents`] | `Documents` | `pr1:{…}c…` |
//!
//! Rules that hold for all of them:
//!
//! - **One slot.** A script, and a pipeline, touches the keys of one hash tag ([`keys`]), so that a Cluster works. What
//!   spans several is written in an order in which nothing is lost where the process dies in between.
//! - **One connection.** All ports of a process share one multiplexed connection per server ([`server`]), which pipelines by
//!   itself; no command blocks on it.
//! - **Bounded waits.** Connecting and answering have deadlines. What was not answered in time may have been done:
//!   a write reports `Unknown` then.
//! - **The server's clock.** Scripts ask Redis for the time; times in arguments count as distances from `now`.

mod counts;
mod dead_letters;
mod documents;
mod error;
mod keys;
mod limits;
mod log;
mod pack;
mod registry;
mod script;
mod server;
mod walk;

pub use counts::{Count, LogCounts, RegistryCounts};
pub use dead_letters::RedisDeadLetters;
pub use documents::RedisDocuments;
pub use limits::RedisLimits;
pub use log::{LogOptions, RedisLog};
pub use registry::RedisRegistry;
pub use server::{Options, Server, UrlError};
