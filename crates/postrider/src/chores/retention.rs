//! Removes what has been kept for long enough: in small batches with pauses between them, so that nobody who
//! accepts or delivers waits behind them for long.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_core::ports::{PortError, Ports};
use postrider_core::time::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Chore, Complaint, pause};

const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// Something that grows old.
#[async_trait]
pub trait Sweep: Send + Sync + 'static {
    const NAME: &'static str;
    const EVERY: Duration = Duration::from_secs(60);

    /// Removes one batch of what is too old at `now`; 0 means that nothing is left to do.
    async fn batch(&self, now: Timestamp) -> Result<u64, PortError>;
}

#[derive(Debug)]
pub struct LogRetention {
    pub ports: Ports,
    pub keep: Duration,
}

#[async_trait]
impl Sweep for LogRetention {
    const NAME: &'static str = "log retention";
    /// A store that runs out of memory does not wait for a minute.
    const EVERY: Duration = Duration::from_secs(10);

    async fn batch(&self, now: Timestamp) -> Result<u64, PortError> {
        self.ports.log.retain(now, now - self.keep).await
    }
}

#[derive(Debug)]
pub struct DeadLetterRetention {
    pub ports: Ports,
    pub keep: Duration,
}

#[async_trait]
impl Sweep for DeadLetterRetention {
    const NAME: &'static str = "dead letter retention";

    async fn batch(&self, now: Timestamp) -> Result<u64, PortError> {
        self.ports.dead_letters.retain(now - self.keep).await
    }
}

/// Idempotency keys, pair records and the like, each of which knows its own end.
#[derive(Debug)]
pub struct LimitRetention {
    pub ports: Ports,
}

#[async_trait]
impl Sweep for LimitRetention {
    const NAME: &'static str = "limit retention";

    async fn batch(&self, now: Timestamp) -> Result<u64, PortError> {
        self.ports.limits.retain(now).await
    }
}

/// Sweeps again and again.
#[derive(Debug)]
pub struct Retain<S> {
    pub what: S,
    pub clock: Arc<dyn Clock>,
}

impl<S: Sweep> Retain<S> {
    /// Returns how much was removed.
    async fn sweep(&self, stop: &CancellationToken) -> Result<u64, PortError> {
        let mut removed = 0;
        loop {
            let batch = self.what.batch(self.clock.now()).await?;
            removed += batch;
            if batch == 0 || pause(BETWEEN_BATCHES, stop).await.is_break() {
                return Ok(removed);
            }
        }
    }

    async fn sweep_for_ever(self, stop: CancellationToken) {
        let mut complaint = Complaint::default();
        while pause(S::EVERY, &stop).await.is_continue() {
            let swept = complaint.note(
                self.sweep(&stop).await,
                |error| warn!(%error, chore = S::NAME, "what is old cannot be removed; trying again and again"),
                || info!(chore = S::NAME, "what is old is removed again"),
            );
            if let Ok(removed @ 1..) = swept {
                debug!(removed, chore = S::NAME, "removed what is old");
            }
        }
    }
}

impl<S: Sweep> Chore for Retain<S> {
    const NAME: &'static str = S::NAME;

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        self.sweep_for_ever(stop)
    }
}
