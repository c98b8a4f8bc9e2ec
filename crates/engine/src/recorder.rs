//! Outcomes, batched: pair records and the delivery log.
//!
//! Like a database's group commit: an outcome is written at once while nothing is being written, and what arrives
//! meanwhile is the next batch. Whoever records waits until it is stored, because only then may the work be let go.
//! Where the store cannot take it, the caller is told at once and goes on: delivery does not depend on the log.
//! What could not be written is kept, up to a bound, and tried again; beyond the bound the oldest is dropped and
//! counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use postrider_core::ports::{LogRecord, PortError, Ports, Settlement};
use postrider_core::time::Clock;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::deliver::KEEP_ENDED_PAIR;
use crate::metrics::Metrics;

const BATCH: usize = 512;
/// Log records kept while the store is away.
const KEPT_LOG_BYTES: usize = 64 * 1024 * 1024;
/// Pair records kept while the store is away; each is about 100 bytes.
const KEPT_SETTLEMENTS: usize = 200_000;
/// What a log record costs beside its texts.
const RECORD_OVERHEAD: usize = 512;
const PAUSE: Duration = Duration::from_millis(500);

/// How something ended: for its pair record and for the log.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) settlement: Option<Settlement>,
    pub(crate) log: Vec<LogRecord>,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    stored: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    entries: mpsc::Sender<Entry>,
    behind: Arc<AtomicBool>,
    closing: CancellationToken,
}

impl Recorder {
    pub(crate) fn start(
        ports: &Ports,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        background: &TaskTracker,
    ) -> Self {
        let (entries, queue) = mpsc::channel(BATCH * 8);
        let closing = CancellationToken::new();
        let behind = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            behind: Arc::clone(&behind),
            ports: ports.clone(),
            clock,
            metrics,
            kept: Kept::default(),
            complained: false,
        };
        background.spawn(writer.run(queue, closing.clone()));
        Self {
            entries,
            behind,
            closing,
        }
    }

    /// Completes once the outcome is stored, or is known to have to wait for the store: `false` then. The log may
    /// lag behind.
    pub(crate) async fn record(&self, outcome: Outcome) -> bool {
        let (stored, answer) = oneshot::channel();
        self.entries.send(Entry { outcome, stored }).await.is_ok() && answer.await.is_ok()
    }

    /// Whether there are pair records that the store does not have yet; what it says of pairs is not to be relied on.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Relaxed)
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// What is to be written, oldest first.
#[derive(Debug, Default)]
struct Kept {
    settlements: VecDeque<Settlement>,
    log: VecDeque<LogRecord>,
    log_bytes: usize,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.settlements.is_empty() && self.log.is_empty()
    }

    fn add(&mut self, outcome: Outcome) {
        self.settlements.extend(outcome.settlement);
        for record in outcome.log {
            self.log_bytes += size(&record);
            self.log.push_back(record);
        }
    }

    /// Drops the oldest beyond the bounds; returns how many log records and settlements that were.
    fn shed(&mut self) -> (usize, usize) {
        let mut dropped = 0;
        while self.log_bytes > KEPT_LOG_BYTES {
            let Some(record) = self.log.pop_front() else {
                break;
            };
            self.log_bytes -= size(&record);
            dropped += 1;
        }
        let excess = self.settlements.len().saturating_sub(KEPT_SETTLEMENTS);
        self.settlements.drain(..excess);
        (dropped, excess)
    }
}

fn size(record: &LogRecord) -> usize {
    let texts = match record {
        LogRecord::Message(message) => message.event.payload.len(),
        LogRecord::Attempt(attempt) => attempt.response.len() + attempt.url.len(),
        LogRecord::Destination(_) => 0,
    };
    texts + RECORD_OVERHEAD
}

struct Writer {
    ports: Ports,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    kept: Kept,
    behind: Arc<AtomicBool>,
    complained: bool,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Entry>, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let ended = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, BATCH) => taken == 0,
                () = closing.cancelled(), if !queue.is_closed() => { queue.close(); false }
                () = tokio::time::sleep(PAUSE), if !self.kept.is_empty() => false,
            };
            self.write_all(&mut batch).await;
            if ended {
                return;
            }
        }
    }

    async fn write_all(&mut self, batch: &mut Vec<Entry>) {
        let mut waiting = Vec::with_capacity(batch.len());
        for entry in batch.drain(..) {
            self.kept.add(entry.outcome);
            waiting.push(entry.stored);
        }
        if self.kept.is_empty() {
            return;
        }
        let (settled, logged) = self.flush().await;
        self.behind.store(settled.is_err(), Relaxed);
        if settled.is_ok() {
            for stored in waiting {
                // Whoever waited may be gone.
                let _ = stored.send(());
            }
        }
        // Where it is not stored, dropping the senders tells the waiters.
        match settled.and(logged) {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(&error),
        }
    }

    /// Writes what it can: pair records and log do not wait for each other.
    async fn flush(&mut self) -> (Result<(), PortError>, Result<(), PortError>) {
        let Self {
            ports,
            clock,
            metrics,
            kept,
            ..
        } = self;
        let settle = |mut batch: Vec<Settlement>| {
            let now = clock.now();
            // An outcome that had to wait is worth as much as one that did not.
            let least = now + KEEP_ENDED_PAIR;
            for settlement in &mut batch {
                settlement.keep_until = settlement.keep_until.max(least);
            }
            ports.limits.settle(now, batch)
        };
        let record = |batch| ports.log.record(batch);
        let before = kept.log.len();
        let written = tokio::join!(
            drain(&mut kept.settlements, &metrics.pair_records_dropped, settle),
            drain(&mut kept.log, &metrics.log_records_dropped, record),
        );
        if kept.log.len() < before {
            kept.log_bytes = kept.log.iter().map(size).sum();
        }
        written
    }

    fn failed(&mut self, error: &PortError) {
        let (log, settlements) = self.kept.shed();
        self.metrics.log_records_dropped.inc_by(log as u64);
        self.metrics.pair_records_dropped.inc_by(settlements as u64);
        if !self.complained {
            warn!(%error, "cannot store outcomes; deliveries go on, and outcomes are kept in memory until it is possible");
            self.complained = true;
        }
    }

    fn recovered(&mut self) {
        if self.complained {
            info!("outcomes are stored again");
            self.complained = false;
        }
    }
}

/// Writes a queue, oldest first, until it is empty or cannot be written now. What can never be written is dropped and
/// counted: it must not keep the rest.
async fn drain<'a, T: Clone>(
    queue: &mut VecDeque<T>,
    dropped: &IntCounter,
    write: impl Fn(Vec<T>) -> BoxFuture<'a, Result<(), PortError>>,
) -> Result<(), PortError> {
    let mut portion = BATCH * 4;
    while !queue.is_empty() {
        let batch: Vec<T> = queue.iter().take(portion).cloned().collect();
        let count = batch.len();
        match write(batch).await {
            // One of them: found by writing each by itself.
            Err(error) if is_hopeless(&error) && count > 1 => {
                portion = 1;
                continue;
            }
            Err(error) if is_hopeless(&error) => {
                warn!(%error, "an outcome can never be stored and is dropped");
                dropped.inc();
            }
            written => written?,
        }
        queue.drain(..count);
    }
    Ok(())
}

/// Whether waiting does not help.
const fn is_hopeless(error: &PortError) -> bool {
    matches!(error, PortError::Corrupt { .. } | PortError::Invalid(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use parking_lot::Mutex;

    fn dropped() -> IntCounter {
        IntCounter::new("dropped", "Dropped.").unwrap()
    }

    #[tokio::test]
    async fn what_can_never_be_written_does_not_keep_the_rest() {
        let written = Mutex::new(Vec::new());
        let dropped = dropped();
        let mut queue: VecDeque<u32> = (1..=5).collect();
        let write = |batch: Vec<u32>| {
            let result = if batch.contains(&3) {
                Err(PortError::Invalid("three".to_owned()))
            } else {
                written.lock().extend(batch);
                Ok(())
            };
            async { result }.boxed()
        };
        drain(&mut queue, &dropped, write).await.unwrap();
        assert_eq!(*written.lock(), [1, 2, 4, 5]);
        assert_eq!((queue.len(), dropped.get()), (0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_written_now_stays() {
        let dropped = dropped();
        let mut queue: VecDeque<u32> = (1..=5).collect();
        let write = |_| {
            let error = PortError::Unavailable {
                part: "the store",
                cause: "a test says so".to_owned(),
            };
            async { Err(error) }.boxed()
        };
        assert!(drain(&mut queue, &dropped, write).await.is_err());
        assert_eq!((queue.len(), dropped.get()), (5, 0));
    }
}
