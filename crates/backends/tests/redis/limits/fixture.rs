//! An installation whose limits are on Redis, with the registry, whose versions reservations tell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{Embedded, Options};
use postrider_backends::redis::{RedisLimits, RedisRegistry};
use postrider_core::conformance::Fixture;
use postrider_core::ports::Ports;
use postrider_core::time::Timestamp;
use tempfile::TempDir;

use crate::support::{Kind, Place, wall_clock};

pub(super) struct Installation {
    place: Place,
    dir: TempDir,
    living: Mutex<Option<Embedded>>,
}

impl Installation {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            place: Place::new(kind),
            dir: tempfile::tempdir().unwrap(),
            living: Mutex::new(None),
        }
    }

    /// Limits and registry of a process with a connection of its own; the registry is founded by the first one.
    async fn on_redis(&self, beside: Ports) -> Ports {
        let server = self.place.server();
        let registry = RedisRegistry::new(Arc::clone(&server));
        registry.found().await.unwrap();
        Ports {
            registry: Arc::new(registry),
            limits: Arc::new(RedisLimits::new(server)),
            ..beside
        }
    }
}

#[async_trait]
impl Fixture for Installation {
    async fn open(&self) -> Ports {
        let embedded = Embedded::open(self.dir.path(), Options::small()).unwrap();
        let ports = embedded.ports();
        *self.living.lock() = Some(embedded);
        self.on_redis(ports).await
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        let dying = self.living.lock().take();
        dying.unwrap().abandon().await;
        self.open().await
    }

    async fn join(&self) -> Option<Ports> {
        let ports = self.living.lock().as_ref().unwrap().ports();
        Some(self.on_redis(ports).await)
    }

    fn now(&self) -> Timestamp {
        wall_clock()
    }

    async fn elapse(&self, now: Timestamp, by: Duration) -> Timestamp {
        let end = now + by;
        loop {
            let now = wall_clock();
            if now >= end {
                return now;
            }
            tokio::time::sleep(end.since(now)).await;
        }
    }

    fn clock_stands_still(&self) -> bool {
        false
    }
}
