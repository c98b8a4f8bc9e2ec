//! Virtual hosts of their own on the server that all cases share.
//!
//! `POSTRIDER_TEST_AMQP` (an address without a virtual host) and `POSTRIDER_TEST_RABBITMQ_API` (its management API) name
//! the server; `./scripts/test` starts one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{self, Embedded};
use postrider_backends::rabbitmq::{Options, Prefetch, RabbitMq};
use postrider_core::conformance::Fixture;
use postrider_core::ports::Ports;
use postrider_core::time::Timestamp;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::api;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn variable(name: &str) -> String {
    let missing =
        |_| panic!("{name} must name a RabbitMQ server for tests; ./scripts/test starts one");
    std::env::var(name).unwrap_or_else(missing)
}

/// A virtual host that no other case uses, and the processes that live on it.
pub(crate) struct Place {
    pub(crate) vhost: String,
    /// The process that cases let crash.
    first: Mutex<Option<Arc<RabbitMq>>>,
    processes: AtomicUsize,
    /// For the four ports that are not under test.
    others: Mutex<Option<Embedded>>,
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let vhost = format!("t{:016x}", rand::random::<u64>());
        api::must("PUT", &format!("/api/vhosts/{vhost}"), None);
        Self {
            vhost,
            first: Mutex::new(None),
            processes: AtomicUsize::new(0),
            others: Mutex::new(None),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", variable("POSTRIDER_TEST_AMQP"), self.vhost)
    }

    pub(crate) fn options(&self) -> Options {
        let number = self.processes.fetch_add(1, Ordering::Relaxed);
        Options {
            name: format!("{}-{number}", self.vhost),
            prefetch: Prefetch {
                // Cases hold more packs that cannot be shared than a process should hold large payloads.
                large: 128,
                large_retry: 128,
                ..Prefetch::default()
            },
            ..Options::default()
        }
    }

    /// A process that is up.
    pub(crate) async fn process(&self) -> Arc<RabbitMq> {
        let broker = RabbitMq::new(&self.url(), self.options()).unwrap();
        broker.start();
        timeout(PATIENCE, broker.up()).await.unwrap();
        Arc::new(broker)
    }

    /// Names and, where there are any, client names of the connections that the server knows.
    pub(crate) fn connections(&self) -> Vec<(String, String)> {
        let path = format!("/api/vhosts/{}/connections", self.vhost);
        let list = api::must("GET", &path, None);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let list = list.as_array().cloned().unwrap_or_default();
        let names = list.iter().map(|connection| {
            let given = &connection["client_properties"]["connection_name"];
            (text(&connection["name"]), text(given))
        });
        names.collect()
    }

    fn ports(&self, broker: Arc<RabbitMq>) -> Ports {
        let mut others = self.others.lock();
        let options = embedded::Options::small();
        let others =
            others.get_or_insert_with(|| Embedded::open(self.dir.path(), options).unwrap());
        Ports {
            broker,
            ..others.ports()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let path = format!("/api/vhosts/{}", self.vhost);
        // A case that fails tells why; this would tell it twice.
        let _ = std::panic::catch_unwind(|| api::ask("DELETE", &path, None));
    }
}

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Ports {
        let broker = self.process().await;
        *self.first.lock() = Some(Arc::clone(&broker));
        self.ports(broker)
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        let dying = self.first.lock().take().unwrap();
        let name = format!("postrider {} ", dying.name());
        dying.abandon().await;
        let noticed = async {
            while self
                .connections()
                .iter()
                .any(|(_, given)| given.starts_with(&name))
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, noticed).await.unwrap();
        self.open().await
    }

    async fn join(&self) -> Option<Ports> {
        let broker = self.process().await;
        Some(self.ports(broker))
    }

    fn now(&self) -> Timestamp {
        wall_clock()
    }

    async fn elapse(&self, now: Timestamp, by: Duration) -> Timestamp {
        let until = now + by;
        while wall_clock() < until {
            sleep(until.since(wall_clock())).await;
        }
        wall_clock()
    }

    fn clock_stands_still(&self) -> bool {
        false
    }
}

/// What the clock of this machine, which is the server's, shows.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of these tests that reads it"
)]
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}
