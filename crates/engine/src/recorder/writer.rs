//! One kind of record, written in batches by one task.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use postrider_core::ports::PortError;
use prometheus::IntCounter;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::linger::linger;

const BATCH: usize = 512;
/// Outcomes that wait while a store takes its time to say that it is away.
const QUEUE: usize = BATCH * 32;
/// Records in one call.
const PORTION: usize = BATCH * 4;
/// A store that cannot take records now is asked again this much later.
const PAUSE: Duration = Duration::from_millis(500);

type Write<T> = Box<dyn Fn(Vec<T>) -> BoxFuture<'static, Result<(), PortError>> + Send + Sync>;

/// What is written, and how.
pub(super) struct Kind<T> {
    /// As messages show it.
    pub(super) name: &'static str,
    /// Bytes that are kept while the store is away; beyond that the oldest are dropped and counted.
    pub(super) bound: usize,
    /// For how long few wait for more: what waits is the acknowledgement, not a delivery.
    pub(super) linger: Duration,
    pub(super) size: fn(&T) -> usize,
    pub(super) dropped: IntCounter,
    /// Whether a record that could not be written is still right when it is written later.
    pub(super) lasts: fn(&T) -> bool,
    pub(super) write: Write<T>,
}

#[derive(Debug)]
struct Entry<T> {
    records: Vec<T>,
    stored: oneshot::Sender<()>,
}

/// Takes records for the task that writes them.
#[derive(Debug)]
pub(super) struct Writer<T> {
    entries: mpsc::Sender<Entry<T>>,
    dropped: IntCounter,
    behind: watch::Receiver<bool>,
    closing: CancellationToken,
}

impl<T: Clone + Send + 'static> Writer<T> {
    pub(super) fn start(
        kind: Kind<T>,
        closing: CancellationToken,
        background: &TaskTracker,
    ) -> Self {
        let (entries, queue) = mpsc::channel(QUEUE);
        let (tell, behind) = watch::channel(false);
        let dropped = kind.dropped.clone();
        let task = Task {
            kind,
            kept: VecDeque::new(),
            kept_bytes: 0,
            behind: tell,
        };
        background.spawn(task.run(queue, closing.clone()));
        Self {
            entries,
            dropped,
            behind,
            closing,
        }
    }

    /// Completes once the records are stored, or are known to have to wait for the store: `false` then. While it is known
    /// to be away that is at once, however long it takes the store to say so.
    pub(super) async fn write(&self, records: impl IntoIterator<Item = T>) -> bool {
        let records: Vec<T> = records.into_iter().collect();
        if records.is_empty() {
            return true;
        }
        let (stored, answer) = oneshot::channel();
        let taken = match self.entries.try_send(Entry { records, stored }) {
            Ok(()) => true,
            Err(TrySendError::Full(entry)) => self.entries.send(entry).boxed().await.is_ok(),
            Err(TrySendError::Closed(_)) => false,
        };
        taken && !self.is_behind() && answer.await.is_ok()
    }

    /// Leaves records to be written some time; where there is no room even for that, they are dropped and counted.
    pub(super) fn leave(&self, records: Vec<T>) {
        let count = records.len() as u64;
        let (stored, _) = oneshot::channel();
        if self.entries.try_send(Entry { records, stored }).is_err() {
            self.dropped.inc_by(count);
        }
    }

    /// Whether the store lacks records that were asked to be written.
    pub(super) fn is_behind(&self) -> bool {
        *self.behind.borrow()
    }

    /// Completes when the store has everything, or nobody writes any more.
    pub(super) async fn caught_up(&self) {
        let _ = self.behind.clone().wait_for(|behind| !behind).await;
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

struct Task<T> {
    kind: Kind<T>,
    /// What is to be written, oldest first.
    kept: VecDeque<T>,
    kept_bytes: usize,
    behind: watch::Sender<bool>,
}

impl<T: Clone + Send + 'static> Task<T> {
    async fn run(mut self, mut queue: mpsc::Receiver<Entry<T>>, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut asked_again = Instant::now();
        loop {
            let ended = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, BATCH) => taken == 0,
                () = closing.cancelled(), if !queue.is_closed() => { queue.close(); false }
                () = sleep_until(asked_again), if !self.kept.is_empty() => false,
            };
            if !ended && !batch.is_empty() && !self.is_behind() {
                let moment = self.kind.linger;
                linger(moment, BATCH, &mut queue, &mut batch, pending(), &closing).await;
            }
            let waiting = self.keep(&mut batch);
            // A store that is away is not asked once more for each outcome.
            if !self.is_behind() || ended || Instant::now() >= asked_again {
                self.write_all(waiting).await;
                asked_again = Instant::now() + PAUSE;
            }
            if ended {
                return;
            }
        }
    }

    fn is_behind(&self) -> bool {
        *self.behind.borrow()
    }

    /// Takes the records of `batch`; returns those who wait for them to be stored.
    fn keep(&mut self, batch: &mut Vec<Entry<T>>) -> Vec<oneshot::Sender<()>> {
        let late = self.is_behind();
        let mut waiting = Vec::with_capacity(batch.len());
        for entry in batch.drain(..) {
            let records = entry.records.into_iter();
            for record in records.filter(|record| !late || (self.kind.lasts)(record)) {
                self.kept_bytes += (self.kind.size)(&record);
                self.kept.push_back(record);
            }
            waiting.push(entry.stored);
        }
        if late {
            self.shed();
        }
        waiting
    }

    async fn write_all(&mut self, waiting: Vec<oneshot::Sender<()>>) {
        if self.kept.is_empty() {
            return;
        }
        let written = drain(&mut self.kept, &self.kind).await;
        if written.is_err() {
            self.kept.retain(self.kind.lasts);
        }
        self.kept_bytes = self.kept.iter().map(self.kind.size).sum();
        let was_behind = self.behind.send_replace(written.is_err());
        match written {
            Ok(()) => {
                for stored in waiting {
                    // Whoever waited may be gone.
                    let _ = stored.send(());
                }
                if was_behind {
                    info!(kind = self.kind.name, "outcomes are stored again");
                }
            }
            // Dropping the senders tells the waiters.
            Err(error) => {
                self.shed();
                if !was_behind {
                    warn!(
                        kind = self.kind.name, %error,
                        "cannot store outcomes; deliveries go on, and outcomes are kept in memory until it is possible"
                    );
                }
            }
        }
    }

    /// Drops the oldest beyond the bound.
    fn shed(&mut self) {
        while self.kept_bytes > self.kind.bound {
            let Some(record) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= (self.kind.size)(&record);
            self.kind.dropped.inc();
        }
    }
}

/// Writes what is kept, oldest first, until nothing is left or it cannot be written now. What can never be written is
/// dropped and counted: it must not keep the rest.
async fn drain<T: Clone>(queue: &mut VecDeque<T>, kind: &Kind<T>) -> Result<(), PortError> {
    let mut portion = PORTION;
    while !queue.is_empty() {
        let batch: Vec<T> = queue.iter().take(portion).cloned().collect();
        let count = batch.len();
        match (kind.write)(batch).await {
            // One of them: found by writing each by itself.
            Err(error) if is_hopeless(&error) && count > 1 => {
                portion = 1;
                continue;
            }
            Err(error) if is_hopeless(&error) => {
                warn!(kind = kind.name, %error, "an outcome can never be stored and is dropped");
                kind.dropped.inc();
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
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tokio::time::sleep;

    fn kind(
        bound: usize,
        write: impl Fn(Vec<u32>) -> Result<(), PortError> + Send + Sync + 'static,
    ) -> Kind<u32> {
        Kind {
            name: "numbers",
            bound,
            linger: Duration::ZERO,
            size: |_| 10,
            dropped: IntCounter::new("dropped", "Dropped.").unwrap(),
            lasts: |number| *number != 9,
            write: Box::new(move |batch| {
                let result = write(batch);
                async { result }.boxed()
            }),
        }
    }

    fn away(_: Vec<u32>) -> Result<(), PortError> {
        Err(PortError::Unavailable {
            part: "the store",
            cause: "a test says so".to_owned(),
        })
    }

    #[tokio::test]
    async fn what_can_never_be_written_does_not_keep_the_rest() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&written);
        let kind = kind(100, move |batch| {
            if batch.contains(&3) {
                return Err(PortError::Invalid("three".to_owned()));
            }
            noted.lock().extend(batch);
            Ok(())
        });
        let mut queue: VecDeque<u32> = (1..=5).collect();
        drain(&mut queue, &kind).await.unwrap();
        assert_eq!(*written.lock(), [1, 2, 4, 5]);
        assert_eq!((queue.len(), kind.dropped.get()), (0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_written_now_stays() {
        let kind = kind(100, away);
        let mut queue: VecDeque<u32> = (1..=5).collect();
        assert!(drain(&mut queue, &kind).await.is_err());
        assert_eq!((queue.len(), kind.dropped.get()), (5, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_told_at_once_and_the_oldest_give_way() {
        let kind = kind(30, away);
        let dropped = kind.dropped.clone();
        let tasks = TaskTracker::new();
        let writer = Writer::start(kind, CancellationToken::new(), &tasks);
        assert!(!writer.is_behind());
        assert!(!writer.write([1, 2]).await);
        assert!(!writer.write([9, 3, 4]).await);
        assert!(writer.is_behind());
        sleep(PAUSE / 2).await;
        assert_eq!(
            dropped.get(),
            1,
            "three of ten bytes are kept, and none that would be wrong later"
        );
        assert!(writer.write([]).await, "nothing is stored at once");
    }
}
