//! Outcomes, batched: pair records and the delivery log.
//!
//! Like a database's group commit: an outcome is written at once while nothing is being written, and what arrives
//! meanwhile is the next batch. Whoever records waits until it is stored, because only then may the work be let go.
//!
//! The two halves are written by two tasks, because they may lie in two stores and are worth different things:
//!
//! | | pair records | log |
//! |---|---|---|
//! | protects | against a repetition | nothing: people read it |
//! | its store is away | the caller is told at once, what was not written is kept and tried again | the same, and nobody waits for it |
//! | its store is slow | the caller waits | the caller waits for [`LOG_PATIENCE`], no longer, and not at all while it is known to be away |

mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use postrider_core::pair::PairOutcome;
use postrider_core::ports::{LogRecord, Ports, Settlement};
use postrider_core::time::{Clock, Timestamp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::KEEP_ENDED_PAIR;
use crate::metrics::Metrics;
use writer::{Kind, Writer};

/// How long an acknowledgement waits for the log: longer than a store that hangs is waited for, so that only a store that
/// is known to be away leaves gaps where the process dies.
const LOG_PATIENCE: Duration = Duration::from_secs(3);
/// Log records kept while their store is away.
const KEPT_LOG_BYTES: usize = 64 * 1024 * 1024;
/// Pair records kept while the store is away: 200,000 of about 100 bytes.
const KEPT_SETTLEMENT_BYTES: usize = 20 * 1024 * 1024;
const SETTLEMENT_BYTES: usize = 100;
/// What a log record costs beside its texts.
const LOG_RECORD_BYTES: usize = 512;

/// How something ended: for its pair record and for the log.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) settlement: Option<Settlement>,
    pub(crate) log: Vec<LogRecord>,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    settlements: Writer<Settlement>,
    log: Writer<LogRecord>,
}

impl Recorder {
    pub(crate) fn start(
        ports: &Ports,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
        linger: Duration,
        background: &TaskTracker,
    ) -> Self {
        let closing = CancellationToken::new();
        let limits = Arc::clone(&ports.limits);
        let settlements = Kind {
            name: "pair records",
            bound: KEPT_SETTLEMENT_BYTES,
            linger,
            size: |_| SETTLEMENT_BYTES,
            dropped: metrics.pair_records_dropped.clone(),
            // By the time it is written the lease that it ends may be somebody else's; its own ends by itself.
            lasts: |settlement: &Settlement| settlement.outcome != PairOutcome::Released,
            write: Box::new(move |batch| {
                let (limits, now) = (Arc::clone(&limits), clock.now());
                async move { limits.settle(now, worth_keeping(batch, now)).await }.boxed()
            }),
        };
        let log = Arc::clone(&ports.log);
        let records = Kind {
            name: "log",
            bound: KEPT_LOG_BYTES,
            linger,
            size: log_size,
            dropped: metrics.log_records_dropped.clone(),
            lasts: |_| true,
            write: Box::new(move |batch| {
                let log = Arc::clone(&log);
                async move { log.record(batch).await }.boxed()
            }),
        };
        Self {
            settlements: Writer::start(settlements, closing.clone(), background),
            log: Writer::start(records, closing, background),
        }
    }

    /// Completes once the outcome is stored, or is known to have to wait for the store of pair records: `false` then.
    pub(crate) async fn record(&self, outcome: Outcome) -> bool {
        let settled = self.settlements.write(outcome.settlement);
        if self.log.is_behind() {
            self.log.leave(outcome.log);
            return settled.await;
        }
        let logged = timeout(LOG_PATIENCE, self.log.write(outcome.log));
        let (settled, _) = tokio::join!(settled, logged);
        settled
    }

    /// Whether there are pair records that the store does not have yet; what it says of pairs is not to be relied on.
    pub(crate) fn is_behind(&self) -> bool {
        self.settlements.is_behind()
    }

    /// Completes when it is not, or will not change any more.
    pub(crate) async fn caught_up(&self) {
        self.settlements.caught_up().await;
    }

    pub(crate) fn close(&self) {
        self.settlements.close();
        self.log.close();
    }
}

/// An outcome that had to wait is worth as much as one that did not.
fn worth_keeping(mut batch: Vec<Settlement>, now: Timestamp) -> Vec<Settlement> {
    let least = now + KEEP_ENDED_PAIR;
    for settlement in &mut batch {
        settlement.keep_until = settlement.keep_until.max(least);
    }
    batch
}

fn log_size(record: &LogRecord) -> usize {
    let texts = match record {
        LogRecord::Accepted(message) | LogRecord::Message(message) => message.event.payload.len(),
        LogRecord::Attempt(attempt) => attempt.response.len() + attempt.url.len(),
        LogRecord::Destination(_) => 0,
    };
    texts + LOG_RECORD_BYTES
}
