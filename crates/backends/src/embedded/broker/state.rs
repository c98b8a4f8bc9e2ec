//! Who holds what: the broker's memory, and every decision that it takes.
//!
//! Nothing here reads or writes; callers do that between two calls, never under the lock that guards this.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use postrider_core::Timestamp;
use postrider_core::ports::{RETURN_DELAY, Receipt};

use super::ready::{Bounds, ReadyWindow};
use super::rows::Found;
use super::waiting::{WaitingWindow, earlier};
use super::{Queue, Seq};

/// After so many leases of other work a quarantined pack gets its turn, though there is more.
const QUARANTINE_TURN: u32 = 16;

#[derive(Debug)]
pub(super) struct State {
    pub(super) closed: bool,
    /// Nothing is leased any more.
    pub(super) stopped: bool,
    /// Which process gave a receipt.
    generation: u32,
    /// Rows up to this number were there when the process opened the file: somebody may have held them.
    born: Seq,
    pub(super) ready: ReadyWindow,
    pub(super) waiting: WaitingWindow,
    /// Given back: not before a time.
    returned: BTreeMap<(i64, Seq), Known>,
    /// Set apart and not held: not before a time.
    apart: BTreeMap<(i64, Seq), Known>,
    apart_held: bool,
    since_apart: u32,
    /// By the tag of the receipt. Each lease has a tag of its own, so an old receipt is worth nothing.
    held: HashMap<u64, Held>,
    next_tag: u64,
}

/// What memory knows about a pack that is in no window.
#[derive(Debug, Clone, Copy)]
struct Known {
    queue: Queue,
    returned: bool,
    /// Its durable count includes this process; what it was before.
    counted: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    seq: Seq,
    /// Where it lies in order of time, where that is how it is found.
    due: i64,
    known: Known,
}

/// A pack on its way to whoever leased it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) tag: u64,
    pub(super) seq: Seq,
    pub(super) queue: Queue,
    /// `None` where it has to be read.
    pub(super) bytes: Option<Bytes>,
    pub(super) redelivered: bool,
    pub(super) returned: bool,
    /// `None` where this delivery has to be counted, durably, before it is made.
    pub(super) earlier: Option<u32>,
}

impl State {
    pub(super) fn new(bounds: Bounds, generation: u32, found: Found) -> Self {
        let apart = Known {
            queue: Queue::Quarantine,
            returned: false,
            counted: None,
        };
        Self {
            closed: false,
            stopped: false,
            generation,
            born: found.last,
            ready: ReadyWindow::new(bounds, found.last_ready),
            waiting: WaitingWindow::new(found.last, found.next_due),
            returned: BTreeMap::new(),
            apart: found
                .quarantined
                .into_iter()
                .map(|seq| ((i64::MIN, seq), apart))
                .collect(),
            apart_held: false,
            since_apart: 0,
            held: HashMap::new(),
            next_tag: 0,
        }
    }

    /// Takes up to `room` packs, and holds them.
    pub(super) fn take(&mut self, now: i64, room: usize) -> Vec<Taken> {
        self.since_apart = self.since_apart.saturating_add(1);
        if self.since_apart > QUARANTINE_TURN
            && let Some(apart) = self.take_apart(now)
        {
            return vec![apart];
        }
        // What waited comes first, but never takes all the room from what is new, nor the other way round.
        let mut taken = self.take_returned(now, room.div_ceil(4));
        let some = (room - taken.len()).div_ceil(2);
        self.take_due(now, some, &mut taken);
        self.take_ready(room - taken.len(), &mut taken);
        let rest = room - taken.len();
        self.take_due(now, rest, &mut taken);
        taken.extend(self.take_returned(now, room - taken.len()));
        if taken.is_empty() {
            taken.extend(self.take_apart(now));
        }
        taken
    }

    fn take_ready(&mut self, room: usize, into: &mut Vec<Taken>) {
        for (seq, bytes) in self.ready.take(room) {
            into.push(self.hold_row(Queue::Ready, 0, seq, bytes));
        }
    }

    fn take_due(&mut self, now: i64, room: usize, into: &mut Vec<Taken>) {
        for ((due, seq), bytes) in self.waiting.take(now, room) {
            into.push(self.hold_row(Queue::Waiting, due, seq, bytes));
        }
    }

    fn hold_row(&mut self, queue: Queue, due: i64, seq: Seq, bytes: Bytes) -> Taken {
        let counted = (seq > self.born).then_some(0);
        let known = Known {
            queue,
            returned: false,
            counted,
        };
        self.hold(Held { seq, due, known }, Some(bytes))
    }

    fn take_returned(&mut self, now: i64, room: usize) -> Vec<Taken> {
        let mut taken = Vec::new();
        while taken.len() < room {
            let Some(first) = self
                .returned
                .first_entry()
                .filter(|first| first.key().0 <= now)
            else {
                break;
            };
            let ((due, seq), known) = first.remove_entry();
            taken.push(self.hold(Held { seq, due, known }, None));
        }
        taken
    }

    fn take_apart(&mut self, now: i64) -> Option<Taken> {
        if self.apart_held {
            return None;
        }
        let first = self
            .apart
            .first_entry()
            .filter(|first| first.key().0 <= now)?;
        let ((due, seq), known) = first.remove_entry();
        self.since_apart = 0;
        self.apart_held = true;
        Some(self.hold(Held { seq, due, known }, None))
    }

    fn hold(&mut self, held: Held, bytes: Option<Bytes>) -> Taken {
        self.next_tag += 1;
        self.held.insert(self.next_tag, held);
        let Known {
            queue,
            returned,
            counted,
        } = held.known;
        Taken {
            tag: self.next_tag,
            seq: held.seq,
            queue,
            bytes,
            redelivered: held.seq <= self.born || returned || queue == Queue::Quarantine,
            returned,
            earlier: counted,
        }
    }

    /// The delivery of a held pack was counted: the next one by this process is not.
    pub(super) fn counted(&mut self, tag: u64, earlier: u32) {
        if let Some(held) = self.held.get_mut(&tag) {
            held.known.counted = Some(earlier);
        }
    }

    /// Undoes a `take`: whoever asked is gone, or an error came up on the way.
    pub(super) fn put_back(&mut self, taken: Taken) {
        let Some(held) = self.held.remove(&taken.tag) else {
            return;
        };
        let key = (held.due, held.seq);
        match (held.known.queue, taken.bytes) {
            (Queue::Quarantine, _) => {
                self.apart_held = false;
                self.apart.insert(key, held.known);
            }
            (Queue::Ready, Some(bytes)) if !held.known.returned => {
                self.ready.put_back(held.seq, bytes);
            }
            (Queue::Waiting, Some(bytes)) if !held.known.returned => {
                self.waiting.put_back(key, bytes);
            }
            _ => {
                self.returned.insert(key, held.known);
            }
        }
    }

    pub(super) fn receipt(&self, taken: &Taken) -> Receipt {
        Receipt {
            generation: self.generation,
            queue: taken.queue.number(),
            tag: taken.tag,
        }
    }

    fn held(&self, receipt: &Receipt) -> Option<&Held> {
        let ours = receipt.generation == self.generation;
        self.held.get(&receipt.tag).filter(|_| ours)
    }

    /// What has to be deleted to settle these, as far as they are held: tags, rows, and those with a count.
    pub(super) fn settleable(&self, receipts: &[Receipt]) -> Settleable {
        let mut found = Settleable::default();
        for receipt in receipts {
            if let Some(held) = self.held(receipt) {
                found.tags.push(receipt.tag);
                found.rows.push((held.known.queue, held.seq));
                if held.seq <= self.born || held.known.queue == Queue::Quarantine {
                    found.counted.push(held.seq);
                }
            }
        }
        found
    }

    /// They are gone. Says whether that lets another one be leased: the next of the quarantine.
    pub(super) fn settled(&mut self, tags: &[u64]) -> bool {
        let held_before = self.apart_held;
        for tag in tags {
            self.release(*tag);
        }
        held_before && !self.apart_held && !self.apart.is_empty()
    }

    fn release(&mut self, tag: u64) -> Option<Held> {
        let held = self.held.remove(&tag)?;
        if held.known.queue == Queue::Quarantine {
            self.apart_held = false;
        }
        Some(held)
    }

    pub(super) fn give_back(&mut self, now: Timestamp, receipts: &[Receipt]) {
        let due = (now + RETURN_DELAY).as_millis();
        for receipt in receipts {
            if self.held(receipt).is_none() {
                continue;
            }
            let Some(held) = self.release(receipt.tag) else {
                continue;
            };
            let known = Known {
                returned: true,
                ..held.known
            };
            let place = match known.queue {
                Queue::Quarantine => &mut self.apart,
                Queue::Ready | Queue::Waiting => &mut self.returned,
            };
            place.insert((due, held.seq), known);
        }
    }

    /// Where a held pack lies in the file.
    pub(super) fn place_of(&self, receipt: &Receipt) -> Option<(Queue, Seq)> {
        self.held(receipt).map(|held| (held.known.queue, held.seq))
    }

    /// A held pack was moved to the quarantine, and is free to be leased from there.
    pub(super) fn set_apart(&mut self, tag: u64) {
        if let Some(held) = self.release(tag) {
            let known = Known {
                queue: Queue::Quarantine,
                returned: false,
                counted: None,
            };
            self.apart.insert((i64::MIN, held.seq), known);
        }
    }

    /// When the next pack becomes ready by the passing of time.
    pub(super) fn next_due(&self, now: i64) -> Option<Timestamp> {
        let returned = self.returned.keys().next().map(|key| key.0);
        let apart = self
            .apart
            .keys()
            .next()
            .map(|key| key.0)
            .filter(|due| *due > now);
        let next = earlier(earlier(self.waiting.next_due(), returned), apart);
        next.map(Timestamp::from_millis)
    }

    /// Whether another lease at `now` would yield something.
    pub(super) fn more(&self, now: i64) -> bool {
        let due = |next: Option<i64>| next.is_some_and(|next| next <= now);
        self.ready.len() > 0
            || self.ready.is_behind()
            || due(self.waiting.next_due())
            || due(self.returned.keys().next().map(|key| key.0))
            || (!self.apart_held && due(self.apart.keys().next().map(|key| key.0)))
    }

    pub(super) fn counts(&self, now: i64) -> Counts {
        let due = self.returned.range(..=(now, Seq::MAX)).count();
        let from_waiting = |known: &&Known| known.queue == Queue::Waiting;
        let held_due = self
            .held
            .values()
            .filter(|held| from_waiting(&&held.known))
            .count();
        let returned_due = self.returned.values().filter(from_waiting).count();
        Counts {
            ready: self.ready.len() as u64 + self.ready.unread() + due as u64,
            returned: (self.returned.len() - due) as u64,
            held: self.held.len() as u64,
            apart: self.apart.len() as u64,
            due_elsewhere: (held_due + returned_due) as u64,
        }
    }
}

/// See [`State::settleable`].
#[derive(Debug, Default)]
pub(super) struct Settleable {
    pub(super) tags: Vec<u64>,
    pub(super) rows: Vec<(Queue, Seq)>,
    pub(super) counted: Vec<Seq>,
}

/// What memory knows of the depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) ready: u64,
    pub(super) returned: u64,
    pub(super) held: u64,
    pub(super) apart: u64,
    /// Rows of `waiting` that are due and counted elsewhere already.
    pub(super) due_elsewhere: u64,
}

/// How long a hand-off waits from `now`; `None` is not at all.
pub(super) fn due_after(now: Timestamp, delay: Duration) -> Option<i64> {
    (!delay.is_zero()).then(|| (now + delay).as_millis())
}
