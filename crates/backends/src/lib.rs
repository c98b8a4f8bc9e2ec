//! What stands behind the ports of `postrider-core`: one module for each kind of installation.
//!
//! | module | holds its data in | for |
//! |---|---|---|
//! | [`embedded`] | one SQLite file in a directory of its own | one node, nothing else to run |
//! | [`rabbitmq`] | quorum queues: the work that is left to do | any number of nodes |
//! | [`redis`] | a Redis server or Cluster: everything else | any number of nodes |
//!
//! A backend keeps the contracts that are written above the traits in `postrider_core::ports`, and the
//! conformance suites there say whether it does. What is deliberately absent: delivery itself. No backend
//! knows what a retry is, sends a request, or decides anything that a pure function of `core` decides.

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
