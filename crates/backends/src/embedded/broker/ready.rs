//! The front of the queue of ready packs, in memory.
//!
//! Numbers are given out by the one writer, so a row with a higher number is committed later, and a reader sees
//! all rows up to some number. That makes one number, `read_to`, enough to say which rows this window has had:
//!
//! ```text
//!  seq:   gone or leased      the window              in the file only
//!        ─────────────────┬─────────────────────┬──────────────────────────▶
//!                                            read_to                  written_to
//! ```
//!
//! While the two are equal, a pack that was just written goes straight into the window and is never read from
//! the file. When the window is full it stops at `read_to`; packs are then read back in portions as the window
//! empties, until it has caught up. So memory is bounded whatever the backlog, and a backlog from before a
//! restart is the same case: the window starts empty, at zero.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Seq;

/// How much the window holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) packs: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct ReadyWindow {
    bounds: Bounds,
    packs: VecDeque<(Seq, Bytes)>,
    bytes: usize,
    read_to: Seq,
    written_to: Seq,
    unread: Unread,
}

/// How many rows lie between `read_to` and `written_to`. Those from before this process are told apart, because
/// there are as many as there are, and counting them takes its time.
#[derive(Debug)]
struct Unread {
    /// The last row from before this process.
    born: Seq,
    /// How many there were, once somebody has counted them.
    old: Option<u64>,
    old_read: u64,
    new: u64,
}

/// What a portion is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadyPlan {
    pub(super) after: Seq,
    /// Every row up to here is visible to a reader that starts now.
    visible_to: Seq,
}

impl ReadyWindow {
    /// The window of a file whose last row has number `last`; 0 where there is none.
    pub(super) fn new(bounds: Bounds, last: Seq) -> Self {
        Self {
            bounds,
            packs: VecDeque::new(),
            bytes: 0,
            read_to: 0,
            written_to: last,
            unread: Unread {
                born: last,
                old: None,
                old_read: 0,
                new: 0,
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.packs.len()
    }

    /// Whether the file holds packs that the window has not had.
    pub(super) fn is_behind(&self) -> bool {
        self.read_to < self.written_to
    }

    /// Packs that the window has not had, as far as they were counted.
    pub(super) fn unread(&self) -> u64 {
        if !self.is_behind() {
            return 0;
        }
        let old = self.unread.old.unwrap_or(0);
        old.saturating_sub(self.unread.old_read) + self.unread.new
    }

    /// Which rows somebody should count: those in this range, of which none goes before it was read.
    pub(super) fn uncounted(&self) -> Option<(Seq, Seq)> {
        let some = self.unread.old.is_none() && self.read_to < self.unread.born;
        some.then_some((self.read_to, self.unread.born))
    }

    /// There are `rows` in the range that began at `after`; some may have been read meanwhile.
    pub(super) fn counted(&mut self, rows: u64, read_before: u64) {
        self.unread.old = Some(rows + read_before);
    }

    /// Rows from before this process that were read.
    pub(super) fn old_read(&self) -> u64 {
        self.unread.old_read
    }

    /// A pack was committed. Must be called in the order of numbers.
    pub(super) fn written(&mut self, seq: Seq, bytes: Bytes) {
        let caught_up = !self.is_behind();
        self.written_to = self.written_to.max(seq);
        if seq <= self.read_to {
            // A portion that was read between the commit and this call had it.
        } else if caught_up && self.has_room(bytes.len()) {
            self.read_to = seq;
            self.push(seq, bytes);
        } else {
            self.unread.new += 1;
        }
    }

    fn has_room(&self, more: usize) -> bool {
        self.packs.is_empty()
            || (self.packs.len() < self.bounds.packs && self.bytes + more <= self.bounds.bytes)
    }

    fn push(&mut self, seq: Seq, bytes: Bytes) {
        self.bytes += bytes.len();
        self.packs.push_back((seq, bytes));
    }

    /// What to read so that `room` packs can be taken; `None` where that would yield nothing more.
    pub(super) fn plan(&self, room: usize) -> Option<ReadyPlan> {
        let wanted = self.is_behind() && self.packs.len() < room;
        wanted.then_some(ReadyPlan {
            after: self.read_to,
            visible_to: self.written_to,
        })
    }

    /// Takes in what was read by `plan`, in order; `cut` says that rows beyond the last one may be left. Must not
    /// overlap with another plan.
    pub(super) fn fill(&mut self, plan: ReadyPlan, rows: Vec<(Seq, Bytes)>, cut: bool) {
        let last = rows.last().map_or(plan.after, |(seq, _)| *seq);
        for (seq, bytes) in rows {
            if seq <= self.unread.born {
                self.unread.old_read += 1;
            } else {
                self.unread.new = self.unread.new.saturating_sub(1);
            }
            self.push(seq, bytes);
        }
        self.read_to = if cut { last } else { last.max(plan.visible_to) };
        if !self.is_behind() {
            self.unread.new = 0;
        }
    }

    pub(super) fn take(&mut self, room: usize) -> Vec<(Seq, Bytes)> {
        let taken: Vec<_> = self.packs.drain(..room.min(self.packs.len())).collect();
        self.bytes -= taken.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        taken
    }

    /// Undoes a `take`.
    pub(super) fn put_back(&mut self, seq: Seq, bytes: Bytes) {
        self.bytes += bytes.len();
        self.packs.push_front((seq, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const BOUNDS: Bounds = Bounds {
        packs: 4,
        bytes: 40,
    };

    fn pack(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn what_is_written_is_taken_without_reading() {
        let mut window = ReadyWindow::new(BOUNDS, 0);
        window.written(1, pack(10));
        window.written(2, pack(10));
        assert_eq!(window.plan(10), None);
        assert_eq!(window.take(10).len(), 2);
    }

    #[test]
    fn a_pack_larger_than_the_window_goes_through_an_empty_one() {
        let mut window = ReadyWindow::new(BOUNDS, 0);
        window.written(1, pack(1_000));
        assert!(!window.is_behind());
        window.written(2, pack(1));
        assert!(window.is_behind());
    }

    proptest! {
        /// Against a file that commits, is read at any moment and told of late: each pack is taken once, and the
        /// window never grows beyond a portion above its bounds.
        #[test]
        fn takes_each_pack_once(backlog in 0i64..12, steps in proptest::collection::vec((0u8..5, 1usize..4), 1..120)) {
            let mut file: BTreeSet<Seq> = (1..=backlog).collect();
            let mut committed = backlog;
            let mut told = backlog;
            let mut window = ReadyWindow::new(BOUNDS, backlog);
            let mut reading: Option<(ReadyPlan, Vec<Seq>, usize)> = None;
            let mut taken = BTreeSet::new();
            for (action, amount) in steps {
                match action {
                    0 => {
                        committed += 1;
                        file.insert(committed);
                    }
                    1 if told < committed => {
                        told += 1;
                        window.written(told, pack(5 * amount));
                    }
                    2 if reading.is_none() => {
                        reading = window.plan(amount).map(|plan| {
                            let seen = file.iter().copied().filter(|seq| *seq > plan.after).take(3).collect();
                            (plan, seen, 3)
                        });
                    }
                    3 => if let Some((plan, seen, limit)) = reading.take() {
                        let cut = seen.len() == limit;
                        window.fill(plan, seen.into_iter().map(|seq| (seq, pack(5))).collect(), cut);
                    },
                    _ => for (seq, _) in window.take(amount) {
                        prop_assert!(taken.insert(seq), "{seq} twice");
                        file.remove(&seq);
                    },
                }
                prop_assert!(window.len() <= BOUNDS.packs + 3);
            }
            if let Some((plan, seen, limit)) = reading.take() {
                let cut = seen.len() == limit;
                window.fill(plan, seen.into_iter().map(|seq| (seq, pack(5))).collect(), cut);
            }
            while told < committed {
                told += 1;
                window.written(told, pack(5));
            }
            loop {
                for (seq, _) in window.take(100) {
                    prop_assert!(taken.insert(seq), "{seq} twice");
                    file.remove(&seq);
                }
                let Some(plan) = window.plan(1) else { break };
                let seen: Vec<_> = file.iter().copied().filter(|seq| *seq > plan.after).take(3).collect();
                let cut = seen.len() == 3;
                window.fill(plan, seen.into_iter().map(|seq| (seq, pack(5))).collect(), cut);
            }
            prop_assert!(file.is_empty(), "left over: {file:?}");
            prop_assert_eq!(taken.len() as i64, committed);
        }
    }
}
