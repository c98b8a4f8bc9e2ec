//! Leasing: what the server has sent, and what was done with it.
//!
//! ```text
//!  pr.v1.… ──prefetch──▶ fetched ──lease──▶ leased ──▶ ack | give_back | quarantine
//!            the consuming connection's task    │
//!                                 whoever calls └ all under one lock, which is never held while anything is awaited
//! ```
//!
//! A channel for each queue, so that each has its own prefetch and its own row of delivery tags. What is settled is told to
//! the server under the same lock that says what is settled: an acknowledgement of everything up to a tag must not pass a
//! rejection of a single tag below it. The client library takes such a word without waiting; that is what
//! [`queue`] relies on.
//!
//! Receipts name the channel they came from by a number that is never used twice in a process. A channel that is lost takes
//! its receipts with it: what was held on it comes again, by itself. Not so where the queue was deleted: then what is held
//! here is all there is of it (see [`rescue`]).

pub(super) mod delivery;
mod queue;
mod rescue;
mod session;
mod tags;

use std::collections::BTreeMap;

use lapin::Channel;
use lapin::types::ShortString;
use parking_lot::Mutex;
use postrider_core::ports::{Pack, PortError, Receipt};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::delivery::Fetched;
use self::queue::{Open, Queue};
use self::rescue::Orphans;
pub(super) use self::rescue::run as run_rescue;
pub(super) use self::session::{State, run, windows};
use super::error::closed;
use super::routing::Key;
use super::topology::Source;

/// What this process has of each queue.
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// Something may have become leasable.
    arrived: Notify,
    /// Somebody leases: consumers are needed.
    wanted: Notify,
    /// A consumer has ended.
    ended: Notify,
    /// Something has to be published again, or was.
    orphaned: Notify,
}

struct Inner {
    /// As [`Source::all`] has them.
    queues: Vec<Queue>,
    /// Whose turn it is.
    turn: usize,
    last_generation: u32,
    phase: Phase,
    orphans: Orphans,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Nobody has leased yet: nothing is consumed.
    Idle,
    Leasing,
    /// Leases yield nothing any more; what is leased may be settled.
    Stopped,
    Closed,
}

/// Why nothing more comes from a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server has what was not settled, and gives it again.
    ChannelLost,
    QueueDeleted,
}

/// What [`Desk::survey`] says about one queue.
pub(super) struct Surveyed {
    pub(super) source: Source,
    pub(super) channel: Option<(u32, Channel)>,
    untold: u64,
}

/// What this process has, in packs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) fetched: u64,
    pub(super) quarantined: u64,
    pub(super) leased: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        let queues = Source::all().into_iter().map(Queue::new);
        Self {
            inner: Mutex::new(Inner {
                queues: queues.collect(),
                turn: 0,
                // A receipt of another life of this process says nothing here.
                last_generation: rand::random(),
                phase: Phase::Idle,
                orphans: Orphans::default(),
            }),
            arrived: Notify::new(),
            wanted: Notify::new(),
            ended: Notify::new(),
            orphaned: Notify::new(),
        }
    }

    pub(super) fn lease(&self, room: usize) -> Result<Vec<Pack>, PortError> {
        let mut inner = self.inner.lock();
        match inner.phase {
            Phase::Closed => return Err(closed()),
            Phase::Stopped => return Ok(Vec::new()),
            Phase::Idle => {
                inner.phase = Phase::Leasing;
                self.wanted.notify_one();
            }
            Phase::Leasing => {}
        }
        Ok(inner.lease(room))
    }

    pub(super) fn is_leasing(&self) -> bool {
        self.inner.lock().phase == Phase::Leasing
    }

    /// Completes when a lease may yield something.
    pub(super) async fn wait(&self) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.inner.lock().may_yield() {
                return;
            }
            arrived.await;
        }
    }

    /// Ignores what is not leased (any more).
    pub(super) fn ack(&self, receipts: &[Receipt]) -> Result<(), PortError> {
        let mut inner = self.inner.lock();
        inner.check()?;
        for (queue, tags) in inner.settle(receipts) {
            inner.queues[queue].ack(tags);
        }
        inner.orphans.acked(receipts);
        Ok(())
    }

    /// Ignores what is not leased (any more).
    pub(super) fn give_back(&self, receipts: &[Receipt]) -> Result<(), PortError> {
        let mut inner = self.inner.lock();
        inner.check()?;
        inner.remember(receipts);
        for (queue, tags) in inner.settle(receipts) {
            inner.queues[queue].reject(&tags, false);
        }
        if inner.orphans.given_back(receipts) {
            self.orphaned.notify_waiters();
        }
        Ok(())
    }

    /// The routing key of a pack that is leased.
    pub(super) fn key_of(&self, receipt: Receipt) -> Result<Option<Key>, PortError> {
        let inner = self.inner.lock();
        inner.check()?;
        let queue = inner.queues.get(receipt.queue as usize);
        let is_ours = |queue: &&Queue| queue.has_leased(receipt) || inner.orphans.has(receipt);
        let queue = queue.filter(is_ours);
        Ok(queue.map(|queue| match queue.source {
            Source::Events(key) | Source::Retry(key) => key,
            Source::Dead | Source::Quarantine => Key::Dead,
        }))
    }

    /// No lease will yield anything any more. Returns the consumers that have to be cancelled.
    pub(super) fn stop(&self) -> Vec<(Channel, ShortString)> {
        let mut inner = self.inner.lock();
        inner.phase = inner.phase.max(Phase::Stopped);
        self.arrived.notify_waiters();
        let to_cancel = inner.queues.iter().filter(|queue| queue.is_to_end());
        let open = to_cancel.filter_map(|queue| queue.open.as_ref());
        open.map(|open| (open.channel.clone(), open.consumer.clone()))
            .collect()
    }

    /// Completes when the consumers that [`Self::stop`] named have ended, and what they had fetched was put back.
    pub(super) async fn stopped(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if !self.inner.lock().queues.iter().any(Queue::is_to_end) {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn close(&self) {
        self.inner.lock().phase = Phase::Closed;
        self.arrived.notify_waiters();
    }

    pub(super) fn survey(&self) -> Vec<Surveyed> {
        let inner = self.inner.lock();
        let look = |queue: &Queue| Surveyed {
            source: queue.source,
            channel: queue
                .open
                .as_ref()
                .map(|open| (open.generation, open.channel.clone())),
            untold: queue.untold,
        };
        inner.queues.iter().map(look).collect()
    }

    /// The server has answered something that was asked after `surveyed`: it knows what was settled before.
    pub(super) fn told(&self, surveyed: &[Surveyed]) {
        let mut inner = self.inner.lock();
        for (queue, before) in inner.queues.iter_mut().zip(surveyed) {
            let generation = before.channel.as_ref().map(|(generation, _)| *generation);
            if queue.open.as_ref().map(|open| open.generation) == generation {
                queue.untold = queue.untold.saturating_sub(before.untold);
            }
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let inner = self.inner.lock();
        let mut tally = Tally::default();
        for queue in &inner.queues {
            let fetched = queue.fetched.len() as u64;
            tally.leased += queue.held.len() as u64 - fetched + queue.untold;
            if queue.source == Source::Quarantine {
                tally.quarantined += fetched;
            } else {
                tally.fetched += fetched;
            }
        }
        tally
    }
}

/// For the task that has the connection.
impl Desk {
    async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A queue is consumed on a new channel. `None` where nothing is to be consumed any more.
    fn opened(&self, queue: usize, channel: &Channel, consumer: ShortString) -> Option<u32> {
        let mut inner = self.inner.lock();
        if inner.phase != Phase::Leasing {
            return None;
        }
        inner.last_generation = inner.last_generation.wrapping_add(1);
        let generation = inner.last_generation;
        inner.queues[queue].lose();
        inner.queues[queue].open = Some(Open {
            channel: channel.clone(),
            generation,
            consumer,
            is_consuming: true,
        });
        Some(generation)
    }

    fn fetched(&self, queue: usize, generation: u32, message: Fetched) {
        let mut inner = self.inner.lock();
        let queue = &mut inner.queues[queue];
        if queue.is_of(generation) {
            queue.held.insert(message.tag, None);
            queue.fetched.push_back(message);
        }
    }

    fn announce(&self) {
        self.arrived.notify_waiters();
    }

    /// Nothing more comes from a consumer. Returns whether another is needed.
    fn ended(&self, index: usize, generation: u32, why: Ended) -> bool {
        let mut inner = self.inner.lock();
        let leasing = inner.phase == Phase::Leasing;
        let Inner {
            queues, orphans, ..
        } = &mut *inner;
        let queue = &mut queues[index];
        if !queue.is_of(generation) {
            return false;
        }
        if leasing {
            if why == Ended::QueueDeleted {
                queue.leave_to(orphans, index);
                self.orphaned.notify_waiters();
            }
            queue.lose();
        } else {
            queue.put_back();
        }
        self.ended.notify_waiters();
        leasing
    }

    /// The connection is gone, and with it whatever was held.
    fn lost(&self) {
        let mut inner = self.inner.lock();
        inner.queues.iter_mut().for_each(Queue::lose);
        self.ended.notify_waiters();
    }
}

impl Inner {
    fn check(&self) -> Result<(), PortError> {
        if self.phase == Phase::Closed {
            return Err(closed());
        }
        Ok(())
    }

    /// A quarantined pack goes alone; of all others each queue gives one in turn.
    fn lease(&mut self, room: usize) -> Vec<Pack> {
        if room == 0 {
            return Vec::new();
        }
        let mut packs = Vec::new();
        let quarantine = self.queues.len() - 1;
        if let Some(pack) = self.lease_from(quarantine) {
            packs.push(pack);
            return packs;
        }
        let mut in_vain = 0;
        while packs.len() < room && in_vain < self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            match self.lease_from(self.turn) {
                Some(pack) => {
                    packs.push(pack);
                    in_vain = 0;
                }
                None => in_vain += 1,
            }
        }
        packs
    }

    fn lease_from(&mut self, index: usize) -> Option<Pack> {
        let queue = &mut self.queues[index];
        let generation = queue.open.as_ref()?.generation;
        let message = queue.fetched.pop_front()?;
        queue.held.insert(message.tag, Some(message.bytes.clone()));
        Some(Pack {
            receipt: Receipt {
                generation,
                queue: u32::try_from(index).unwrap_or(u32::MAX),
                tag: message.tag,
            },
            bytes: message.bytes,
            source: match queue.source {
                Source::Quarantine => postrider_core::ports::Source::Quarantine,
                _ => postrider_core::ports::Source::Work,
            },
            redelivered: message.redelivered,
            returned: message.returned,
            earlier_deliveries: message.earlier_deliveries,
        })
    }

    fn may_yield(&self) -> bool {
        match self.phase {
            Phase::Closed => true,
            Phase::Leasing => self.queues.iter().any(|queue| !queue.fetched.is_empty()),
            Phase::Idle | Phase::Stopped => false,
        }
    }

    /// Keeps what is about to be given back for as long as its queue may turn out to be deleted.
    fn remember(&mut self, receipts: &[Receipt]) {
        let now = Instant::now();
        for receipt in receipts {
            let queue = self.queues.get_mut(receipt.queue as usize);
            let Some(queue) = queue.filter(|queue| queue.is_of(receipt.generation)) else {
                continue;
            };
            if let Some(Some(pack)) = queue.held.get(&receipt.tag) {
                queue.given_back.keep(now, pack.clone());
            }
        }
    }

    /// Takes what is leased out of what is held, by queue.
    fn settle(&mut self, receipts: &[Receipt]) -> BTreeMap<usize, Vec<u64>> {
        let mut settled: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let stopped = self.phase != Phase::Leasing;
        for receipt in receipts {
            let index = receipt.queue as usize;
            let Some(queue) = self.queues.get_mut(index) else {
                continue;
            };
            if !queue.has_leased(*receipt) {
                continue;
            }
            if stopped {
                queue.cancel_first();
            }
            queue.held.remove(&receipt.tag);
            settled.entry(index).or_default().push(receipt.tag);
        }
        settled
    }
}
