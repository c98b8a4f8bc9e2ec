//! The contracts of the ports, held against the embedded engine.
#![cfg(feature = "embedded")]
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{Embedded, Options};
use postrider_core::conformance::Fixture;
use postrider_core::ports::Ports;
use tempfile::TempDir;

/// One data directory, opened by one process after the other.
struct DataDirectory {
    dir: TempDir,
    living: Mutex<Option<Embedded>>,
}

impl DataDirectory {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            living: Mutex::new(None),
        }
    }
}

#[async_trait]
impl Fixture for DataDirectory {
    async fn open(&self) -> Ports {
        let embedded = Embedded::open(self.dir.path(), Options::small()).unwrap();
        let ports = embedded.ports();
        *self.living.lock() = Some(embedded);
        ports
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        let dying = self.living.lock().take();
        dying.unwrap().abandon().await;
        self.open().await
    }

    async fn join(&self) -> Option<Ports> {
        None
    }
}

postrider_core::conformance_suite!(DataDirectory::new());
