//! Harness of the end-to-end suites: it starts the binary and talks to it over sockets, as a user would. Nothing of
//! Postrider is linked but the signature crate, which receivers link, too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the report"
)]

mod api;
mod ledger;
mod receiver;
mod server;

use std::time::Duration;

pub use api::{Api, Application, body_of};
pub use ledger::{Ledger, Tally};
pub use receiver::{Answer, Received, Receiver};
pub use server::{Server, Settings, binary};

/// Longer than anything takes on however busy a machine: reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The secret that all servers of the suites share.
pub const JWT_SECRET: &str = "a secret of the end-to-end suites, 32 bytes and more";
