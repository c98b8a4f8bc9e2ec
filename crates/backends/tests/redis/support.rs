//! Installations of their own on the servers that all cases share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_backends::redis::{Options, Server};
use postrider_core::time::Timestamp;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::{Cmd, Value};

/// Which server.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Single,
    Cluster,
}

impl Kind {
    pub fn url(self) -> String {
        let name = match self {
            Self::Single => "POSTRIDER_TEST_REDIS",
            Self::Cluster => "POSTRIDER_TEST_REDIS_CLUSTER",
        };
        let missing = || panic!("{name} must name a server for tests; ./scripts/test starts one");
        std::env::var(name).unwrap_or_else(|_| missing())
    }
}

/// Names an installation that no other case uses.
#[derive(Debug, Clone)]
pub struct Place {
    pub kind: Kind,
    pub space: String,
}

impl Place {
    pub fn new(kind: Kind) -> Self {
        let space = format!("t{:016x}", rand::random::<u64>());
        Self { kind, space }
    }

    /// What a process that opens it connects with.
    pub fn server(&self) -> Arc<Server> {
        let options = Options {
            space: self.space.clone(),
            // Machines that test are busy.
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
        };
        Server::new(&self.kind.url(), options).unwrap()
    }

    /// A connection of a test's own, to see what is stored.
    pub async fn link(&self) -> Box<dyn ConnectionLike + Send> {
        let urls = self.kind.url();
        match self.kind {
            Kind::Single => {
                let client = redis::Client::open(urls).unwrap();
                Box::new(client.get_multiplexed_async_connection().await.unwrap())
            }
            Kind::Cluster => {
                let client = ClusterClient::new(urls.split(',')).unwrap();
                Box::new(client.get_async_connection().await.unwrap())
            }
        }
    }

    /// Asks the server something.
    pub async fn ask(&self, command: Cmd) -> Value {
        let mut link = self.link().await;
        link.req_packed_command(&command).await.unwrap()
    }
}

/// What the clock of this machine, which is the servers', shows.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of these tests that reads it"
)]
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}
