//! Harness of the end-to-end suites: it starts the binary and talks to it over sockets, as a user would. Nothing of
//! Postrider is linked but the signature crate, which receivers link, too.
//!
//! | part | what it is |
//! |---|---|
//! | [`Installation`] | what a test has for itself: a data directory, or a RabbitMQ vhost and a Redis |
//! | [`Server`], [`Cluster`] | processes on it, with their roles |
//! | [`Receiver`] | a subscriber that notes what arrives |
//! | [`Load`] | clients that send events until each is accepted |
//! | [`Ledger`] | everything accepted against everything received |
//! | [`Proxy`] | a network between Postrider and its servers that fails on demand |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the report"
)]

mod api;
mod cluster;
mod installation;
pub mod ledger;
mod load;
mod process;
pub mod proxy;
mod receiver;
mod scrape;
mod server;
mod strike;
mod wait;

use std::time::Duration;

pub use api::{Api, Application, Subscriber, Tenant, body_of};
pub use cluster::{Addresses, Cluster};
pub use installation::{
    Installation, Management, RabbitCluster, RabbitNode, RedisCluster, RedisServer, Shared,
};
pub use ledger::{Ledger, Verdict};
pub use load::{Load, Route, Running};
pub use process::{cpu_seconds_of_tree, local_ports};
pub use proxy::Proxy;
pub use receiver::{Answer, Received, Receiver};
pub use scrape::Scrape;
pub use server::{Role, Server, Settings, binary};
pub use strike::{kill_ingest, kill_worker};
pub use wait::{eventually, until, within};

/// Longer than anything takes on however busy a machine: reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The secret that all servers of the suites share.
pub const JWT_SECRET: &str = "a secret of the end-to-end suites, 32 bytes and more";

/// Makes of each function `async fn name(installation: &Installation)` one test per kind of installation, in the
/// modules `embedded` and `shared`.
#[macro_export]
macro_rules! on_each_installation {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&$crate::Installation::embedded()).await;
            })+
        }
        mod shared {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&$crate::Installation::shared().await).await;
            })+
        }
    };
}
