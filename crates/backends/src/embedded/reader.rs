//! Reading beside the writer.
//!
//! A reader sees the file as of the last commit and holds up nobody. But as long as it reads, the write-ahead
//! log cannot be started anew, so whatever may have to look at many rows does it in several short reads.

use std::sync::Arc;

use parking_lot::Mutex;
use postrider_core::ports::PortError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::{Phase, StoreError, closed, port_error, unanswered};

/// A few connections that cannot write.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// As many permits as there are connections.
    free: Arc<Semaphore>,
    count: u32,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let count = connections.len();
        Self {
            idle: Arc::new(Mutex::new(connections)),
            free: Arc::new(Semaphore::new(count)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// Runs `work` on a thread for blocking work. Where it takes several statements, it opens a transaction itself
    /// if they have to agree.
    pub(super) async fn read<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let free = Arc::clone(&self.free);
        let permit = free.acquire_owned().await.map_err(|_| closed())?;
        let idle = Arc::clone(&self.idle);
        let reading = tokio::task::spawn_blocking(move || {
            let connection = idle.lock().pop().ok_or_else(closed)?;
            let result = work(&connection);
            idle.lock().push(connection);
            drop(permit);
            result.map_err(|error| port_error(&error, Phase::Work))
        });
        reading.await.map_err(|_| unanswered())?
    }

    /// Waits for the reads under way and closes the connections. Later reads are refused.
    pub(super) async fn close(&self) {
        let all = self.free.acquire_many(self.count).await;
        self.free.close();
        drop(all);
        let connections = std::mem::take(&mut *self.idle.lock());
        drop(connections);
    }
}
