//! The log, the dead letters and the documents on Redis, the other ports beside them in a file of their own.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{Embedded, Options};
use postrider_backends::redis::{LogOptions, RedisDeadLetters, RedisDocuments, RedisLog};
use postrider_core::conformance::Fixture;
use postrider_core::ports::Ports;
use tempfile::TempDir;

use super::support::{Kind, Place};

/// One installation; each process that opens it has a connection of its own.
pub(crate) struct Store {
    place: Place,
    beside: Mutex<Option<(Embedded, TempDir)>>,
}

impl Store {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            place: Place::new(kind),
            beside: Mutex::new(None),
        }
    }

    fn process(&self) -> Ports {
        let server = self.place.server();
        let mut beside = self.beside.lock();
        let (embedded, _) = beside.get_or_insert_with(|| {
            let dir = tempfile::tempdir().unwrap();
            (Embedded::open(dir.path(), Options::small()).unwrap(), dir)
        });
        Ports {
            log: Arc::new(RedisLog::new(Arc::clone(&server), LogOptions::default())),
            dead_letters: Arc::new(RedisDeadLetters::new(Arc::clone(&server))),
            documents: Arc::new(RedisDocuments::new(server)),
            ..embedded.ports()
        }
    }
}

#[async_trait]
impl Fixture for Store {
    async fn open(&self) -> Ports {
        self.process()
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        self.process()
    }

    async fn join(&self) -> Option<Ports> {
        Some(self.process())
    }
}
