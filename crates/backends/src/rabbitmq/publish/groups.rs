//! Which items travel together: group commit without a clock.
//!
//! An item goes at once while fewer than [`OUTSTANDING`] packs of its destination are unconfirmed. What arrives meanwhile
//! waits, and leaves together with the next confirm, or when it fills a pack: the busier a destination, the larger its packs.
//! Over all destinations the session has a say, too: it keeps those of a busy process back for a moment.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use postrider_core::envelope::{MAX_ITEMS, MAX_PACK_BYTES};
use postrider_core::message::Item;
use tokio::time::Instant;

use super::super::routing::{Destination, Exchange, Key};

/// Packs of one destination that may be unconfirmed at once.
const OUTSTANDING: usize = 1;

/// A shard of which more wait keeps them to itself.
const FEW: usize = 16;

/// What is published.
#[derive(Debug)]
pub(super) enum Cargo {
    Item(Item),
    /// A pack as it is, not to be read. Travels alone.
    Raw {
        pack: Bytes,
        /// Somebody may have worked on it.
        held_before: bool,
    },
}

impl Cargo {
    /// Bytes of payload.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Item(item) => item.event.payload.len(),
            Self::Raw { pack, .. } => pack.len(),
        }
    }
}

/// Something that waits to be published, and for whom.
#[derive(Debug)]
pub(super) struct Piece<C> {
    pub(super) cargo: Cargo,
    pub(super) call: C,
    pub(super) since: Instant,
}

impl<C> Piece<C> {
    const fn is_raw(&self) -> bool {
        matches!(self.cargo, Cargo::Raw { .. })
    }
}

#[derive(Debug)]
pub(super) struct Groups<C> {
    destinations: HashMap<Destination, Queue<C>>,
    /// Destinations from which a pack may leave, the longest waiting first.
    ready: VecDeque<Destination>,
    waiting: usize,
}

#[derive(Debug)]
struct Queue<C> {
    pieces: VecDeque<Piece<C>>,
    /// Of all of them.
    bytes: usize,
    outstanding: usize,
    is_ready: bool,
}

impl<C> Queue<C> {
    const fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            outstanding: 0,
            is_ready: false,
        }
    }

    fn push(&mut self, piece: Piece<C>) {
        self.bytes += piece.cargo.len();
        self.pieces.push_back(piece);
    }

    fn take(&mut self, count: usize) -> Vec<Piece<C>> {
        let taken: Vec<Piece<C>> = self.pieces.drain(..count).collect();
        self.bytes -= taken.iter().map(|piece| piece.cargo.len()).sum::<usize>();
        taken
    }

    /// There is a pack that nothing could be added to.
    fn is_full(&self) -> bool {
        self.pieces.len() >= MAX_ITEMS || self.bytes >= MAX_PACK_BYTES
    }
}

impl<C> Groups<C> {
    pub(super) fn new() -> Self {
        Self {
            destinations: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Pieces that are not under way.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn push(&mut self, destination: Destination, piece: Piece<C>) {
        let queue = self
            .destinations
            .entry(destination)
            .or_insert_with(Queue::new);
        queue.push(piece);
        self.waiting += 1;
        self.look(destination);
    }

    /// The next pack that may leave. Its destination has one more outstanding until [`Self::landed`].
    pub(super) fn next(&mut self) -> Option<(Destination, Vec<Piece<C>>)> {
        while let Some(destination) = self.ready.pop_front() {
            let Some(queue) = self.destinations.get_mut(&destination) else {
                continue;
            };
            queue.is_ready = false;
            let mut pack = queue.take(pack_len(&queue.pieces));
            if pack.is_empty() {
                self.look(destination);
                continue;
            }
            queue.outstanding += 1;
            self.top_up(destination, &mut pack);
            self.waiting -= pack.len();
            self.look(destination);
            return Some((destination, pack));
        }
        None
    }

    /// Whether somewhere more waits than fits into a pack.
    pub(super) fn has_full(&self) -> bool {
        let queue = |ready: &Destination| self.destinations.get(ready);
        self.ready.iter().filter_map(queue).any(Queue::is_full)
    }

    /// Fills what room is left in a pack of new events with those of other shards that have few. Shards keep the many apart;
    /// where there are few of each, a pack for each would cost many times as much. Each event's later work has its own key again.
    fn top_up(&mut self, destination: Destination, pack: &mut Vec<Piece<C>>) {
        if !is_shared(destination) || pack.iter().any(|piece| piece.is_raw()) {
            return;
        }
        let mut bytes: usize = pack.iter().map(|piece| piece.cargo.len()).sum();
        for other in self.ready.iter().filter(|other| is_shared(**other)) {
            let Some(queue) = self.destinations.get_mut(other) else {
                continue;
            };
            let fits = pack.len() + queue.pieces.len() <= MAX_ITEMS
                && bytes + queue.bytes <= MAX_PACK_BYTES;
            let has_raw = || queue.pieces.iter().any(Piece::is_raw);
            if queue.pieces.len() <= FEW && fits && !has_raw() {
                bytes += queue.bytes;
                pack.extend(queue.take(queue.pieces.len()));
            }
        }
    }

    /// A pack of `destination` is not under way any more, however it ended.
    pub(super) fn landed(&mut self, destination: Destination) {
        if let Some(queue) = self.destinations.get_mut(&destination) {
            queue.outstanding -= 1;
        }
        self.look(destination);
    }

    /// Takes out what has waited since before `deadline`.
    pub(super) fn overdue(&mut self, deadline: Instant) -> Vec<Piece<C>> {
        let mut overdue = Vec::new();
        for queue in self.destinations.values_mut() {
            let is_overdue = |piece: &Piece<C>| piece.since < deadline;
            let count = queue.pieces.iter().take_while(|piece| is_overdue(piece));
            overdue.extend(queue.take(count.count()));
        }
        self.waiting -= overdue.len();
        overdue
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Piece<C>> {
        self.waiting = 0;
        let queues = self.destinations.values_mut();
        queues
            .flat_map(|queue| queue.take(queue.pieces.len()))
            .collect()
    }

    fn look(&mut self, destination: Destination) {
        let Some(queue) = self.destinations.get_mut(&destination) else {
            return;
        };
        if queue.pieces.is_empty() {
            if queue.outstanding == 0 {
                self.destinations.remove(&destination);
            }
            return;
        }
        let may_leave = queue.outstanding < OUTSTANDING || queue.is_full();
        if may_leave && !queue.is_ready {
            queue.is_ready = true;
            self.ready.push_back(destination);
        }
    }
}

/// Whether events of other shards may travel along.
const fn is_shared(destination: Destination) -> bool {
    matches!(
        destination,
        Destination {
            exchange: Exchange::Events,
            key: Key::Shard(_),
        }
    )
}

/// How long the longest row from the front is that makes a pack.
fn pack_len<C>(pieces: &VecDeque<Piece<C>>) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for piece in pieces {
        bytes += piece.cargo.len();
        let alone = piece.is_raw();
        if count > 0 && (alone || count == MAX_ITEMS || bytes > MAX_PACK_BYTES) {
            break;
        }
        count += 1;
        if alone {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests;
