//! A registry of its own on the servers that all cases share; the other ports are embedded ones that nobody uses.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{self, Embedded};
use postrider_backends::redis::RedisRegistry;
use postrider_core::conformance::Fixture;
use postrider_core::ports::Ports;
use tempfile::TempDir;

use crate::support::{Kind, Place};

pub(super) struct Installation {
    pub(super) place: Place,
    dir: TempDir,
    rest: Mutex<Option<Embedded>>,
}

impl Installation {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            place: Place::new(kind),
            dir: tempfile::tempdir().unwrap(),
            rest: Mutex::default(),
        }
    }

    /// A process of its own.
    pub(super) fn connect(&self) -> RedisRegistry {
        RedisRegistry::new(self.place.server())
    }

    fn ports(&self) -> Ports {
        let mut rest = self.rest.lock();
        let rest = rest.get_or_insert_with(|| {
            Embedded::open(self.dir.path(), embedded::Options::small()).unwrap()
        });
        Ports {
            registry: Arc::new(self.connect()),
            ..rest.ports()
        }
    }
}

#[async_trait]
impl Fixture for Installation {
    async fn open(&self) -> Ports {
        let founded = self.connect().found().await.unwrap();
        assert!(founded, "the installation is new");
        self.ports()
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        self.ports()
    }

    async fn join(&self) -> Option<Ports> {
        Some(self.ports())
    }
}
