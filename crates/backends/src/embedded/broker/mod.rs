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
    Broker, BrokerCapabilities, Depth, HandOff, Leased, Pack, PortError, Probe, Receipt, Source,
    Until, Window,
};
use postrider_core::time::Timestamp;
use tokio::sync::Notify;

use self::ready::Bounds;
use self::rows::NewRow;
use self::state::{State, Taken};
use super::Options;
use super::engine::Engine;
use super::error::{StoreError, closed};

/// A row's number; one sequence for all queues.
type Seq = i64;

/// Rows that are counted in one read.
const COUNT_PORTION: u32 = 20_000;

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

    /// Brings the windows to where `room` packs can be taken from them, as far as the file has them.
    async fn fill(&self, now: i64, room: usize) -> Result<(), PortError> {
        if !self.wants_filling(now, room) {
            return Ok(());
        }
        let _alone = self.reading.lock().await;
        self.fill_waiting(now, room).await?;
        self.fill_ready(room).await
    }

    fn wants_filling(&self, now: i64, room: usize) -> bool {
        let state = self.shared.state.lock();
        state.ready.plan(room).is_some() || state.waiting.wants_reading(now, room)
    }

    async fn fill_ready(&self, room: usize) -> Result<(), PortError> {
        let Some(plan) = self.shared.state.lock().ready.plan(room) else {
            return Ok(());
        };
        let read = self
            .engine
            .readers
            .read(move |connection| rows::ready(connection, plan.after));
        let (rows, cut) = read.await?;
        self.shared.state.lock().ready.fill(plan, rows, cut);
        Ok(())
    }

    async fn fill_waiting(&self, now: i64, room: usize) -> Result<(), PortError> {
        let Some(plan) = self.shared.state.lock().waiting.plan(now, room) else {
            return Ok(());
        };
        let abandon = Abandon(&self.shared);
        let read = self
            .engine
            .readers
            .read(move |connection| rows::waiting(connection, plan));
        let found = read.await?;
        self.shared.state.lock().waiting.fill(plan, found);
        drop(abandon);
        Ok(())
    }

    /// Reads the packs of which only the number is known. One whose row is gone was settled meanwhile.
    async fn read_missing(&self, taken: &mut InHand<'_>) -> Result<(), PortError> {
        let missing = taken.where_is(|taken| taken.bytes.is_none());
        if missing.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = missing.iter().map(|index| taken.place(*index)).collect();
        let read = self.engine.readers.read(move |connection| {
            let look = |(queue, seq): &(Queue, Seq)| rows::bytes(connection, *queue, *seq);
            wanted
                .iter()
                .map(look)
                .collect::<Result<Vec<_>, StoreError>>()
        });
        for (index, bytes) in missing.into_iter().zip(read.await?) {
            taken.packs[index].bytes = bytes;
        }
        taken.drop_the_missing();
        Ok(())
    }

    /// Writes down that these are being delivered, where their count has to survive us.
    async fn count(&self, taken: &mut InHand<'_>) -> Result<(), PortError> {
        let uncounted = taken.where_is(|taken| taken.earlier.is_none());
        if uncounted.is_empty() {
            return Ok(());
        }
        let packs: Vec<Seq> = uncounted
            .iter()
            .map(|index| taken.packs[*index].seq)
            .collect();
        let counted = self
            .engine
            .writer
            .write(move |connection| rows::count(connection, &packs));
        for (index, earlier) in uncounted.into_iter().zip(counted.await?) {
            let pack = &mut taken.packs[index];
            pack.earlier = Some(earlier);
            self.shared.state.lock().counted(pack.tag, earlier);
        }
        Ok(())
    }

    async fn count_backlog(&self) -> Result<(), PortError> {
        let (range, read_before) = {
            let state = self.shared.state.lock();
            (state.ready.uncounted(), state.ready.old_read())
        };
        let Some((mut after, to)) = range else {
            return Ok(());
        };
        let mut total = 0;
        loop {
            let read = self
                .engine
                .readers
                .read(move |connection| rows::count_ready(connection, after, to, COUNT_PORTION));
            let (rows, last) = read.await?;
            total += rows;
            match last {
                Some(last) if rows == u64::from(COUNT_PORTION) => after = last,
                _ => break,
            }
        }
        self.shared.state.lock().ready.counted(total, read_before);
        Ok(())
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

/// Ends a reading of what waits, even one that was dropped in the middle.
struct Abandon<'a>(&'a Shared);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting.abandon();
    }
}

/// Packs that were taken and not yet handed over: they go back where the lease does not come to its end.
struct InHand<'a> {
    shared: &'a Shared,
    packs: Vec<Taken>,
}

impl InHand<'_> {
    fn where_is(&self, holds: impl Fn(&Taken) -> bool) -> Vec<usize> {
        let found = self
            .packs
            .iter()
            .enumerate()
            .filter(|(_, taken)| holds(taken));
        found.map(|(index, _)| index).collect()
    }

    fn place(&self, index: usize) -> (Queue, Seq) {
        (self.packs[index].queue, self.packs[index].seq)
    }

    fn drop_the_missing(&mut self) {
        let (found, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.packs)
            .into_iter()
            .partition(|taken| taken.bytes.is_some());
        self.packs = found;
        let tags: Vec<u64> = gone.iter().map(|taken| taken.tag).collect();
        self.shared.state.lock().settled(&tags);
    }

    fn hand_over(mut self, now: i64) -> Leased {
        let taken = std::mem::take(&mut self.packs);
        let state = self.shared.state.lock();
        let packs = taken
            .into_iter()
            .map(|taken| pack(state.receipt(&taken), taken))
            .collect();
        let (next_due, more) = (state.next_due(now), state.more(now));
        drop(state);
        if more {
            self.shared.more.notify_one();
        }
        Leased { packs, next_due }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if self.packs.is_empty() {
            return;
        }
        let mut state = self.shared.state.lock();
        self.packs
            .drain(..)
            .rev()
            .for_each(|taken| state.put_back(taken));
        drop(state);
        self.shared.more.notify_one();
    }
}

fn pack(receipt: Receipt, taken: Taken) -> Pack {
    Pack {
        receipt,
        bytes: taken.bytes.unwrap_or_default(),
        source: match taken.queue {
            Queue::Ready | Queue::Waiting => Source::Work,
            Queue::Quarantine => Source::Quarantine,
        },
        redelivered: taken.redelivered,
        returned: taken.returned,
        earlier_deliveries: taken.earlier.unwrap_or(0),
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
