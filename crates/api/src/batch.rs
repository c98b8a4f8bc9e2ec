//! What has to be written but need not be waited for: the log's record of an accepted message, and the completion of
//! its reservation.
//!
//! So is that a reservation lapses of which nobody was told whether it was made.
//!
//! A queue per kind, so that one store's outage does not hold up the other's. Whatever gathers while one write is
//! under way becomes the next one; few wait a moment for more, since nobody waits for them. While the store is away the
//! queue grows up to its bound in bytes, then the oldest go and are counted; delivery does not depend on any of it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use postrider_core::ports::{Answer, Limits, LogRecord, PortError, Ports, ReservationKey};
use postrider_core::{Clock, MessageId, Timestamp};
use prometheus::IntCounter;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::config::ApiConfig;
use crate::idempotency::LEASE;
use crate::metrics::Metrics;

/// The most records of one write.
const MAX_RECORDS: usize = 256;
/// How much does not wait for more, and for how long less does.
type Pace = (usize, Duration);
const PACE: Pace = (64, Duration::from_millis(5));
/// A worker that is fast records its attempt first: the store then writes the message in front of it, once, instead of
/// writing it anew with its attempt.
const PACE_OF_LOG: Pace = (MAX_RECORDS, Duration::from_millis(25));
/// The most bytes of one write; a larger record goes alone.
const MAX_BYTES: usize = 1024 * 1024;
/// What a record takes beside its payload, roughly.
const OVERHEAD: usize = 512;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How much longer than its deadline a writer is waited for.
const MARGIN: Duration = Duration::from_secs(1);

/// Both queues.
#[derive(Debug)]
pub(crate) struct Batches {
    log: Batch<LogRecord>,
    completions: Batch<(ReservationKey, Answer)>,
    lapses: Batch<(ReservationKey, MessageId)>,
    close_grace: Duration,
}

impl Batches {
    pub(crate) fn start(
        ports: &Ports,
        clock: &Arc<dyn Clock>,
        config: &ApiConfig,
        metrics: &Metrics,
    ) -> Self {
        let log = Arc::clone(&ports.log);
        let write_log = move |records| {
            let log = Arc::clone(&log);
            async move { log.record(records).await }
        };
        let (limits, time) = (Arc::clone(&ports.limits), Arc::clone(clock));
        let write_lapses = move |tries| lapse(Arc::clone(&limits), time.now(), tries);
        let (limits, clock) = (Arc::clone(&ports.limits), Arc::clone(clock));
        let write_completions = move |done| {
            let (limits, now) = (Arc::clone(&limits), clock.now());
            async move { limits.complete(now, done).await }
        };
        let bound = config.max_batch_bytes;
        Self {
            log: Batch::start(
                "delivery log",
                bound,
                PACE_OF_LOG,
                metrics.log_dropped.clone(),
                write_log,
            ),
            completions: Batch::start(
                "reservations",
                bound,
                PACE,
                metrics.completions_dropped.clone(),
                write_completions,
            ),
            lapses: Batch::start(
                "lapsed reservations",
                bound,
                PACE,
                metrics.completions_dropped.clone(),
                write_lapses,
            ),
            close_grace: config.close_grace,
        }
    }

    /// Lets others resume, as soon as the store can be told, what may have been reserved by a try that has ended.
    pub(crate) fn lapse(&self, key: ReservationKey, message: MessageId) {
        self.lapses.push((key, message), OVERHEAD);
    }

    pub(crate) fn record(&self, record: LogRecord) {
        let payload = match &record {
            LogRecord::Accepted(message) | LogRecord::Message(message) => {
                message.event.payload.len()
            }
            LogRecord::Attempt(attempt) => attempt.response.len(),
            LogRecord::Destination(_) => 0,
        };
        self.log.push(record, payload + OVERHEAD);
    }

    pub(crate) fn complete(&self, key: ReservationKey, answer: Answer) {
        let size = answer.body.len() + OVERHEAD;
        self.completions.push((key, answer), size);
    }

    pub(crate) async fn close(&self) {
        let deadline = Instant::now() + self.close_grace;
        tokio::join!(
            self.log.close(deadline),
            self.completions.close(deadline),
            self.lapses.close(deadline)
        );
    }
}

/// Of tries whose lease is not over anyway.
async fn lapse(
    limits: Arc<dyn Limits>,
    now: Timestamp,
    tries: Vec<(ReservationKey, MessageId)>,
) -> Result<(), PortError> {
    let leased = tries
        .iter()
        .filter(|(_, message)| message.created_at() + LEASE > now);
    let lapses = leased.map(|(key, message)| limits.lapse(now, key, *message, now));
    join_all(lapses).await.into_iter().collect()
}

/// A queue and the task that writes it out.
#[derive(Debug)]
struct Batch<T> {
    queue: Arc<Queue<T>>,
    /// Tells the writer by when it has to be done, and hears from it by being dropped at its side.
    closing: watch::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct Queue<T> {
    name: &'static str,
    bound: usize,
    pace: Pace,
    waiting: Mutex<Waiting<T>>,
    filled: Notify,
    dropped: IntCounter,
}

#[derive(Debug)]
struct Waiting<T> {
    records: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T: Clone + Send + 'static> Batch<T> {
    fn start<W, F>(
        name: &'static str,
        bound: usize,
        pace: Pace,
        dropped: IntCounter,
        write: W,
    ) -> Self
    where
        W: Fn(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Result<(), PortError>> + Send + 'static,
    {
        let waiting = Waiting {
            records: VecDeque::new(),
            bytes: 0,
        };
        let queue = Arc::new(Queue {
            name,
            bound,
            pace,
            waiting: Mutex::new(waiting),
            filled: Notify::new(),
            dropped,
        });
        let (closing, closed) = watch::channel(None);
        tokio::spawn(write_out(Arc::clone(&queue), closed, write));
        Self { queue, closing }
    }

    fn push(&self, record: T, size: usize) {
        self.queue.push(record, size);
    }

    /// Completes when everything is written, or `deadline` has passed.
    async fn close(&self, deadline: Instant) {
        self.closing.send_replace(Some(deadline));
        // The writer minds the deadline itself, unless it hangs in a write that began before.
        drop(timeout_at(deadline + MARGIN, self.closing.closed()).await);
    }
}

impl<T: Clone> Queue<T> {
    fn push(&self, record: T, size: usize) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += size;
        waiting.records.push_back((record, size));
        self.shed(&mut waiting);
        // The writer waits for the first, or for enough.
        let count = waiting.records.len();
        drop(waiting);
        if count == 1 || count == self.pace.0 {
            self.filled.notify_one();
        }
    }

    fn shed(&self, waiting: &mut Waiting<T>) {
        while waiting.bytes > self.bound {
            let Some((_, size)) = waiting.records.pop_front() else {
                break;
            };
            waiting.bytes -= size;
            self.dropped.inc();
        }
    }

    fn take(&self) -> Vec<(T, usize)> {
        let mut waiting = self.waiting.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < MAX_RECORDS {
            let fits = |(_, size): &(T, usize)| taken.is_empty() || bytes + size <= MAX_BYTES;
            if !waiting.records.front().is_some_and(fits) {
                break;
            }
            let Some((record, size)) = waiting.records.pop_front() else {
                break;
            };
            bytes += size;
            taken.push((record, size));
        }
        waiting.bytes -= bytes;
        taken
    }

    /// Puts back what could not be written, as the oldest.
    fn put_back(&self, records: Vec<(T, usize)>) {
        let mut waiting = self.waiting.lock();
        for (record, size) in records.into_iter().rev() {
            waiting.bytes += size;
            waiting.records.push_front((record, size));
        }
        self.shed(&mut waiting);
    }

    fn drop_all(&self) {
        let mut waiting = self.waiting.lock();
        let lost = waiting.records.len() as u64;
        waiting.records.clear();
        waiting.bytes = 0;
        drop(waiting);
        self.lose(lost);
    }

    fn lose(&self, records: u64) {
        if records > 0 {
            self.dropped.inc_by(records);
            tracing::error!(batch = self.name, records, "records were dropped");
        }
    }
}

/// Runs until the batch is closed and the queue empty, or the closing deadline has passed.
async fn write_out<T, W, F>(
    queue: Arc<Queue<T>>,
    mut closing: watch::Receiver<Option<Instant>>,
    write: W,
) where
    T: Clone + Send + 'static,
    W: Fn(Vec<T>) -> F + Send + 'static,
    F: Future<Output = Result<(), PortError>> + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let deadline = *closing.borrow_and_update();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return queue.drop_all();
        }
        linger(&queue, &mut closing).await;
        let taken = queue.take();
        if taken.is_empty() {
            if deadline.is_some() {
                return;
            }
            tokio::select! {
                () = queue.filled.notified() => {}
                changed = closing.changed() => if changed.is_err() { return; },
            }
            continue;
        }
        let records = taken.iter().map(|(record, _)| record.clone()).collect();
        let written = match deadline {
            None => write(records).await,
            Some(deadline) => timeout_at(deadline, write(records))
                .await
                .unwrap_or_else(|_| {
                    let cause = "there was no time left to write".to_owned();
                    Err(PortError::Unavailable {
                        part: queue.name,
                        cause,
                    })
                }),
        };
        match written {
            Ok(()) => pause = FIRST_PAUSE,
            // Nobody can mend these by waiting.
            Err(error @ (PortError::Corrupt { .. } | PortError::Invalid(_))) => {
                tracing::error!(batch = queue.name, %error, "records cannot be written");
                queue.lose(taken.len() as u64);
            }
            Err(error) => {
                tracing::warn!(batch = queue.name, %error, "records wait for their store");
                queue.put_back(taken);
                wait(pause, deadline, &mut closing).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Until there is enough for a write, or little has waited for a moment.
async fn linger<T>(queue: &Queue<T>, closing: &mut watch::Receiver<Option<Instant>>) {
    let (enough, moment) = queue.pace;
    let end = Instant::now() + moment;
    let few = || (1..enough).contains(&queue.waiting.lock().records.len());
    while few() && closing.borrow().is_none() {
        tokio::select! {
            () = queue.filled.notified() => {}
            () = sleep_until(end) => return,
            _ = closing.changed() => return,
        }
    }
}

/// Waits before the next try; less long where closing is asked for meanwhile.
async fn wait(
    pause: Duration,
    deadline: Option<Instant>,
    closing: &mut watch::Receiver<Option<Instant>>,
) {
    match deadline {
        Some(deadline) => drop(timeout_at(deadline, sleep(pause)).await),
        None => {
            tokio::select! {
                () = sleep(pause) => {}
                _ = closing.changed() => {}
            }
        }
    }
}
