//! Work on the embedded engine.
//!
//! A pack is a row. It is written when it is published and deleted when it is acknowledged; being leased, given
//! back or looked at is a matter of memory, so an event costs the broker two statements. What a process held
//! becomes free by its death, because nothing on disk says that it was held.
//!
//! The price is that a death is not written down either. So a pack that was in the file when it was opened
//! counts as redelivered, and its delivery is counted durably before it is made: a pack that kills its process
//! again and again is told by its count. Packs of this process' own need no count until it has died once.
//!
//! | | file | memory |
//! |---|---|---|
//! | ready | `ready`, by number | a bounded window ([`ready`]), fed by publishing and, when it overflowed, by reading |
//! | waiting | `waiting`, by due time | what is due and was read ([`waiting`]), and when to look again |
//! | leased | as it was | by receipt ([`state`]) |
//! | given back | as it was | number and time |
//! | set apart | `quarantine` | number |

mod filling;
mod in_hand;
mod ready;
mod rows;
mod state;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_core::envelope;
use postrider_core::ladder;
use postrider_core::message::Item;
use postrider_core::ports::{
    Broker, BrokerCapabilities, Depth, HandOff, Leased, Pack, PortError, Probe, Receipt, Until,
    Window,
};
use postrider_core::time::Timestamp;
use tokio::sync::Notify;

use self::in_hand::InHand;
use self::ready::Bounds;
use self::rows::NewRow;
use self::state::State;
use super::Options;
use super::engine::Engine;
use super::error::{StoreError, closed};

/// A row's number; one sequence for all queues.
type Seq = i64;

/// Which table a pack is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Ready,
    Waiting,
    Quarantine,
}

impl Queue {
    const fn table(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Quarantine => "quarantine",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Ready => 0,
            Self::Waiting => 1,
            Self::Quarantine => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct EmbeddedBroker {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
    /// Held by whoever reads packs into the windows.
    reading: tokio::sync::Mutex<()>,
}

/// What commands take with them to the writer's thread.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The last number given out; counted up by the writer's thread alone.
    last: AtomicI64,
    more: Notify,
}

impl EmbeddedBroker {
    pub(super) fn new(engine: Arc<Engine>, options: &Options, found: Found) -> Self {
        let Found(found) = found;
        let bounds = Bounds {
            packs: options.window_packs.max(1),
            bytes: options.window_bytes.max(1),
        };
        let last = AtomicI64::new(found.last);
        let shared = Shared {
            state: Mutex::new(State::new(bounds, rand::random(), found)),
            last,
            more: Notify::new(),
        };
        Self {
            engine,
            shared: Arc::new(shared),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    fn check_open(&self) -> Result<(), PortError> {
        if self.shared.state.lock().closed {
            Err(closed())
        } else {
            Ok(())
        }
    }

    /// Makes packs durable, then known.
    async fn insert(&self, rows: Vec<NewRow>) -> Result<(), PortError> {
        self.check_open()?;
        if rows.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let rows = Arc::new(rows);
        let written = Arc::clone(&rows);
        let work = {
            let shared = Arc::clone(&shared);
            move |connection: &rusqlite::Connection| {
                let count = i64::try_from(rows.len()).unwrap_or(0);
                let last = shared.last.fetch_add(count, Ordering::Relaxed);
                rows::insert(connection, last, &rows)?;
                Ok(last)
            }
        };
        let effect = move |last| shared.written(last, &written);
        self.engine.writer.write_then(work, effect).await
    }
}

impl Shared {
    fn written(&self, last: Seq, rows: &[NewRow]) {
        let mut state = self.state.lock();
        for (seq, row) in (last + 1..).zip(rows) {
            match row.due {
                None => state.ready.written(seq, row.bytes.clone()),
                Some(due) => state.waiting.written((due, seq), row.bytes.clone()),
            }
        }
        drop(state);
        self.more.notify_one();
    }
}

fn due(now: Timestamp, until: Until) -> Option<i64> {
    match until {
        Until::Now => None,
        Until::After(delay) => state::due_after(now, ladder::jittered(delay, rand::random())),
        Until::Exactly(time) => (time > now).then(|| time.as_millis()),
    }
}

fn new_row(due: Option<i64>, items: &[Item]) -> NewRow {
    let bytes: Bytes = envelope::encode(items);
    NewRow { due, bytes }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, _now: Timestamp, items: Vec<Item>) -> Result<(), PortError> {
        let packs = envelope::group(items);
        let rows = packs.iter().map(|pack| new_row(None, pack)).collect();
        self.insert(rows).await
    }

    async fn lease(&self, now: Timestamp, room: usize) -> Result<Leased, PortError> {
        self.check_open()?;
        if self.shared.state.lock().stopped {
            return Ok(Leased::default());
        }
        let now = now.as_millis();
        if room > 0 {
            self.fill(now, room).await?;
        }
        let packs = if room > 0 {
            self.shared.state.lock().take(now, room)
        } else {
            Vec::new()
        };
        let mut taken = InHand {
            shared: &self.shared,
            packs,
        };
        self.read_missing(&mut taken).await?;
        self.count(&mut taken).await?;
        Ok(taken.hand_over(now))
    }

    async fn wait(&self) {
        if self.check_open().is_ok() {
            self.shared.more.notified().await;
        }
        if self.check_open().is_err() {
            // Whoever waits beside us has to learn it, too.
            self.shared.more.notify_one();
        }
    }

    async fn hand_off(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        let (at_once, later): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|hand_off| (due(now, hand_off.until), hand_off.item))
            .partition(|(due, _)| due.is_none());
        let at_once = envelope::group(at_once.into_iter().map(|(_, item)| item).collect());
        let at_once = at_once.iter().map(|pack| new_row(None, pack));
        let later = later
            .iter()
            .map(|(due, item)| new_row(*due, std::slice::from_ref(item)));
        self.insert(at_once.chain(later).collect()).await
    }

    async fn hand_off_singly(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        let rows = items.iter().map(|hand_off| {
            let item = std::slice::from_ref(&hand_off.item);
            new_row(due(now, hand_off.until), item)
        });
        self.insert(rows.collect()).await
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.check_open()?;
        let found = self.shared.state.lock().settleable(&receipts);
        if found.tags.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let (tags, rows, counted) = (found.tags, found.rows, found.counted);
        let work =
            move |connection: &rusqlite::Connection| rows::delete(connection, &rows, &counted);
        let effect = move |()| {
            if shared.state.lock().settled(&tags) {
                shared.more.notify_one();
            }
        };
        self.engine.writer.write_then(work, effect).await
    }

    async fn give_back(&self, now: Timestamp, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.check_open()?;
        self.shared.state.lock().give_back(now, &receipts);
        self.shared.more.notify_one();
        Ok(())
    }

    async fn quarantine(&self, _now: Timestamp, pack: &Pack) -> Result<(), PortError> {
        self.check_open()?;
        let Some((queue, seq)) = self.shared.state.lock().place_of(&pack.receipt) else {
            return Ok(());
        };
        let (shared, tag) = (Arc::clone(&self.shared), pack.receipt.tag);
        let work = move |connection: &rusqlite::Connection| rows::set_apart(connection, queue, seq);
        let effect = move |()| {
            shared.state.lock().set_apart(tag);
            shared.more.notify_one();
        };
        self.engine.writer.write_then(work, effect).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, PortError> {
        self.check_open()?;
        self.count_backlog().await?;
        let now = now.as_millis();
        let read = self
            .engine
            .readers
            .read(move |connection| rows::count_waiting(connection, now));
        let (waiting, due) = read.await?;
        let counts = self.shared.state.lock().counts(now);
        Ok(Depth {
            ready: counts.ready + due.saturating_sub(counts.due_elsewhere),
            waiting: waiting + counts.returned,
            leased: counts.held,
            quarantined: counts.apart,
        })
    }

    fn capabilities(&self) -> BrokerCapabilities {
        BrokerCapabilities {
            shared: false,
            exact_within: std::time::Duration::ZERO,
            counts_others: true,
        }
    }

    fn windows(&self) -> Vec<Window> {
        let window = |queue: Queue| Window {
            queue: queue.table().to_owned(),
            packs: (queue == Queue::Quarantine).then_some(1),
        };
        [Queue::Ready, Queue::Waiting, Queue::Quarantine]
            .map(window)
            .into()
    }

    async fn stop_leasing(&self) {
        self.shared.state.lock().stopped = true;
    }

    async fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.more.notify_waiters();
        self.shared.more.notify_one();
        // What was handed to the writer before is done once it has got to this.
        let _ = self.engine.writer.write(|_| Ok(())).await;
    }
}

#[async_trait]
impl Probe for EmbeddedBroker {
    async fn probe(&self) -> Result<(), PortError> {
        self.check_open()?;
        self.engine.probe().await
    }
}

/// What the broker has to know of a file before it starts.
#[derive(Debug)]
pub(super) struct Found(rows::Found);

pub(super) fn look(connection: &rusqlite::Connection) -> Result<Found, StoreError> {
    rows::look(connection).map(Found)
}
