//! Outcomes, batched: pair records and the delivery log.
//!
//! Like a database's group commit: an outcome is written at once while nothing is being written, and what arrives
//! meanwhile is the next batch. Whoever records waits until it is stored, because only then may the work be let go.
//! Where the store cannot take it, the caller is told at once and goes on: delivery does not depend on the log.
//! What could not be written is kept, up to a bound, and tried again; beyond the bound the oldest is dropped and
//! counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use postrider_core::ports::{LogRecord, PortError, Ports, Settlement};
use postrider_core::time::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

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
        let writer = Writer {
            ports: ports.clone(),
            clock,
            metrics,
            kept: Kept::default(),
            complained: false,
        };
        background.spawn(writer.run(queue, closing.clone()));
        Self { entries, closing }
    }

    /// Completes once the outcome is stored, or is known to have to wait for the store: `false` then.
    pub(crate) async fn record(&self, outcome: Outcome) -> bool {
        let (stored, answer) = oneshot::channel();
        self.entries.send(Entry { outcome, stored }).await.is_ok() && answer.await.is_ok()
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
        match self.flush().await {
            Ok(()) => {
                self.recovered();
                // X
            }
            // Dropping the senders tells the waiters.
            Err(error) => self.failed(&error),
        }
    }

    async fn flush(&mut self) -> Result<(), PortError> {
        while !self.kept.is_empty() {
            let settlements = first(&self.kept.settlements);
            let log = first(&self.kept.log);
            let (settled, logged) = (settlements.len(), log.len());
            let now = self.clock.now();
            let (settle, record) = tokio::join!(
                async {
                    if settled == 0 {
                        Ok(())
                    } else {
                        self.ports.limits.settle(now, settlements).await
                    }
                },
                async {
                    if logged == 0 {
                        Ok(())
                    } else {
                        self.ports.log.record(log).await
                    }
                },
            );
            if settle.is_ok() {
                self.kept.settlements.drain(..settled);
            }
            if record.is_ok() {
                let written: usize = self
                    .kept
                    .log
                    .drain(..logged)
                    .map(|record| size(&record))
                    .sum();
                self.kept.log_bytes -= written;
            }
            settle.and(record)?;
        }
        Ok(())
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

fn first<T: Clone>(queue: &VecDeque<T>) -> Vec<T> {
    queue.iter().take(BATCH * 4).cloned().collect()
}
