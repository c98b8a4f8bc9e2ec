//! Which items travel together, and when: group commit without a clock.
//!
//! An item goes at once while fewer than [`OUTSTANDING`] packs of its destination are unconfirmed. What arrives meanwhile
//! waits, and leaves together with the next confirm: the busier a destination, the larger its packs, and nobody ever waits
//! for company.

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
    outstanding: usize,
    is_ready: bool,
}

impl<C> Queue<C> {
    const fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            outstanding: 0,
            is_ready: false,
        }
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
        queue.pieces.push_back(piece);
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
            let mut pack = take_pack(&mut queue.pieces);
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
            let more: usize = queue.pieces.iter().map(|piece| piece.cargo.len()).sum();
            let fits =
                pack.len() + queue.pieces.len() <= MAX_ITEMS && bytes + more <= MAX_PACK_BYTES;
            let has_raw = || queue.pieces.iter().any(Piece::is_raw);
            if queue.pieces.len() <= FEW && fits && !has_raw() {
                bytes += more;
                pack.extend(queue.pieces.drain(..));
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
            while queue
                .pieces
                .front()
                .is_some_and(|piece| piece.since < deadline)
            {
                overdue.extend(queue.pieces.pop_front());
            }
        }
        self.waiting -= overdue.len();
        overdue
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Piece<C>> {
        self.waiting = 0;
        let queues = self.destinations.values_mut();
        queues.flat_map(|queue| queue.pieces.drain(..)).collect()
    }

    fn look(&mut self, destination: Destination) {
        let Some(queue) = self.destinations.get_mut(&destination) else {
            return;
        };
        if queue.pieces.is_empty() {
            if queue.outstanding == 0 {
                self.destinations.remove(&destination);
            }
        } else if queue.outstanding < OUTSTANDING && !queue.is_ready {
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

/// The longest row from the front that makes a pack.
fn take_pack<C>(pieces: &mut VecDeque<Piece<C>>) -> Vec<Piece<C>> {
    let (mut count, mut bytes) = (0, 0);
    for piece in &*pieces {
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
    pieces.drain(..count).collect()
}

#[cfg(test)]
mod tests;
