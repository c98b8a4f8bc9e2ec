//! All six ports on one SQLite file: nothing else to install, run, back up or monitor.
//!
//! One node's share of events is far below what one file takes, and HTTP is the limit long before; in return a
//! start takes milliseconds, a full disk mends itself once there is room, and anybody can look inside with the
//! `sqlite3` shell (`-readonly`, while it is in use). `docs/adr/0002-embedded-engine-on-sqlite.md` has the
//! figures and what else was tried.
//!
//! ```text
//!   broker   registry   log   dead letters   limits   documents
//!      └─────────┴───────┼─────────┴───────────┴─────────┘
//!               ┌────────┴────────┐
//!           one writer      some readers          ──▶  <data directory>/postrider.db (and -wal, -shm)
//!        (group commit)   (never in its way)           <data directory>/LOCK
//! ```
//!
//! Conditions: one process at a time, which the lock ensures; a local file system, because the write-ahead log
//! needs shared memory. What lives in memory only, and is therefore gone after a restart: who holds which pack,
//! when a pack that was given back returns, and how much of a rate limit is used up.
//!
//! Recovery: a transaction that was answered is on disk; one that was not is there whole or not at all. The
//! next process to open the directory replays the log by itself.

mod backup;
mod broker;
mod columns;
mod dead_letters;
mod documents;
mod engine;
mod error;
mod filing;
mod limits;
mod lock;
mod log;
mod migrate;
mod open;
mod paging;
mod reader;
mod registry;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;

use postrider_core::ports::{Broker, Ports};

pub use self::backup::{BackupError, backup_directory};
pub use self::open::OpenError;

use self::broker::EmbeddedBroker;
use self::dead_letters::EmbeddedDeadLetters;
use self::documents::EmbeddedDocuments;
use self::engine::Engine;
use self::error::StoreError;
use self::limits::EmbeddedLimits;
use self::log::EmbeddedLog;
use self::registry::EmbeddedRegistry;
use self::writer::Ending;

/// How much memory and disk the engine may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// SQLite's page cache of the writer, in bytes; it is filled as needed. Each reader gets an eighth of it.
    pub cache_bytes: usize,
    /// Connections for reading, at least 1.
    pub readers: usize,
    /// Ready packs that are kept in memory at most; beyond that they are read when their turn comes.
    pub window_packs: usize,
    /// Bytes of ready packs that are kept in memory at most, beside the first.
    pub window_bytes: usize,
    /// The most bytes the database file may take. What does not fit then is refused as on a full disk.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 256 * 1024 * 1024,
            readers: 3,
            window_packs: 10_000,
            window_bytes: 32 * 1024 * 1024,
            max_bytes: None,
        }
    }
}

impl Options {
    /// For tests that open many at a time.
    #[must_use]
    pub fn small() -> Self {
        Self {
            cache_bytes: 4 * 1024 * 1024,
            readers: 2,
            ..Self::default()
        }
    }
}

/// An open data directory. Cloning shares it; it is closed by [`close`](Self::close), or once this and all of
/// its ports are gone.
#[derive(Debug, Clone)]
pub struct Embedded {
    engine: Arc<Engine>,
    broker: Arc<EmbeddedBroker>,
    registry: Arc<EmbeddedRegistry>,
    log: Arc<EmbeddedLog>,
    dead_letters: Arc<EmbeddedDeadLetters>,
    limits: Arc<EmbeddedLimits>,
    documents: Arc<EmbeddedDocuments>,
}

impl Embedded {
    /// Opens a data directory, or makes one, and locks it for this process.
    ///
    /// # Errors
    /// Each is one line for whoever started the process; see [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let opened = open::open(dir, &options)?;
        let told = |error: StoreError| OpenError::Database {
            file: dir.join(open::FILE),
            cause: error.to_string(),
        };
        let work = broker::look(&opened.writer).map_err(told)?;
        let version = registry::version(&opened.writer).map_err(told)?;
        let engine = Arc::new(Engine::start(dir, opened)?);
        Ok(Self {
            broker: Arc::new(EmbeddedBroker::new(Arc::clone(&engine), &options, work)),
            registry: Arc::new(EmbeddedRegistry::new(Arc::clone(&engine), version)),
            log: Arc::new(EmbeddedLog::new(Arc::clone(&engine))),
            dead_letters: Arc::new(EmbeddedDeadLetters::new(Arc::clone(&engine))),
            limits: Arc::new(EmbeddedLimits::new(Arc::clone(&engine))),
            documents: Arc::new(EmbeddedDocuments::new(Arc::clone(&engine))),
            engine,
        })
    }

    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            broker: Arc::clone(&self.broker) as _,
            registry: Arc::clone(&self.registry) as _,
            log: Arc::clone(&self.log) as _,
            dead_letters: Arc::clone(&self.dead_letters) as _,
            limits: Arc::clone(&self.limits) as _,
            documents: Arc::clone(&self.documents) as _,
        }
    }

    /// Finishes the writes that were asked for, merges the log into the file, and unlocks the directory. Every
    /// later call of a port fails. Closing twice is closing once.
    pub async fn close(&self) {
        self.broker.close().await;
        self.engine.close(Ending::Clean).await;
    }

    /// Leaves the directory as a process that was killed would, for tests of what the next one finds.
    #[doc(hidden)]
    pub async fn abandon(&self) {
        self.broker.close().await;
        self.engine.close(Ending::Abrupt).await;
    }

    /// Copies the database to the file `to`, as of one moment, while work goes on.
    ///
    /// # Errors
    /// Where `to` exists already or cannot be written, or reading fails.
    pub async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        backup::copy(&self.engine.file, to).await
    }
}
