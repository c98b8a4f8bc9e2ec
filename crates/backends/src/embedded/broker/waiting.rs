//! What waits for a time: in the file by due time, and in memory only once it is due.
//!
//! Rows are ordered by (due, seq). `read_to` says up to where they have been read into the window; of those
//! beyond only the earliest due time is kept, which is all that it takes to know when to look again.
//!
//! A hand-off may come with a due time before `read_to`: somebody else's `now` was ahead. Such a row is told to
//! the window directly, because no reading would find it. Which of the two brings a row is decided by numbers:
//! a reading takes the rows that were told before it began, telling takes the others. So no row comes twice, and
//! none is missed, whenever the commit, the reading and the telling happen.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Seq;

/// Due time in ms since the epoch, then the row's number.
pub(super) type Key = (i64, Seq);

#[derive(Debug)]
pub(super) struct WaitingWindow {
    packs: BTreeMap<Key, Bytes>,
    read_to: Key,
    /// The earliest due time beyond `read_to`.
    next: Option<i64>,
    told_to: Seq,
    /// What was told while a reading is under way, and may lie within it.
    late: Option<Vec<(Key, Bytes)>>,
}

/// What is read next: all rows after a key that are due by a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitingPlan {
    pub(super) after: Key,
    pub(super) due_by: i64,
    /// Rows with higher numbers are brought by telling.
    told_to: Seq,
}

/// What a reading found.
#[derive(Debug)]
pub(super) struct WaitingRows {
    pub(super) rows: Vec<(Key, Bytes)>,
    /// Not everything that is due was read.
    pub(super) cut: bool,
    /// The earliest due time beyond what was read.
    pub(super) next: Option<i64>,
}

impl WaitingWindow {
    /// The window of a file whose rows have numbers up to `last` and are due from `next` on.
    pub(super) fn new(last: Seq, next: Option<i64>) -> Self {
        Self {
            packs: BTreeMap::new(),
            read_to: (i64::MIN, 0),
            next,
            told_to: last,
            late: None,
        }
    }

    /// A pack was committed. Must be called in the order of numbers.
    pub(super) fn written(&mut self, key: Key, bytes: Bytes) {
        self.told_to = self.told_to.max(key.1);
        if key <= self.read_to {
            self.packs.insert(key, bytes);
            return;
        }
        self.next = earlier(self.next, Some(key.0));
        if let Some(late) = &mut self.late {
            late.push((key, bytes));
        }
    }

    pub(super) fn wants_reading(&self, now: i64, room: usize) -> bool {
        self.next.is_some_and(|next| next <= now) && self.due(now) < room
    }

    /// Begins a reading where more than the window holds is due, and less than `room` packs of the window are.
    /// It ends with `fill` or `abandon`; there is one at a time.
    pub(super) fn plan(&mut self, now: i64, room: usize) -> Option<WaitingPlan> {
        if !self.wants_reading(now, room) {
            return None;
        }
        self.late = Some(Vec::new());
        Some(WaitingPlan {
            after: self.read_to,
            due_by: now,
            told_to: self.told_to,
        })
    }

    pub(super) fn fill(&mut self, plan: WaitingPlan, found: WaitingRows) {
        let last = found.rows.last().map_or(plan.after, |(key, _)| *key);
        self.read_to = if found.cut {
            last
        } else {
            last.max((plan.due_by, Seq::MAX))
        };
        let told_before = |(key, _): &(Key, Bytes)| key.1 <= plan.told_to;
        self.packs
            .extend(found.rows.into_iter().filter(told_before));
        self.next = found.next;
        for (key, bytes) in self.late.take().unwrap_or_default() {
            if key <= self.read_to {
                self.packs.insert(key, bytes);
            } else {
                self.next = earlier(self.next, Some(key.0));
            }
        }
    }

    pub(super) fn abandon(&mut self) {
        self.late = None;
    }

    fn due(&self, now: i64) -> usize {
        self.packs.range(..=(now, Seq::MAX)).count()
    }

    /// Takes up to `room` packs that are due, earliest first.
    pub(super) fn take(&mut self, now: i64, room: usize) -> Vec<(Key, Bytes)> {
        let mut taken = Vec::new();
        while taken.len() < room {
            match self.packs.first_entry() {
                Some(first) if first.key().0 <= now => taken.push(first.remove_entry()),
                _ => break,
            }
        }
        taken
    }

    /// Undoes a `take`.
    pub(super) fn put_back(&mut self, key: Key, bytes: Bytes) {
        self.packs.insert(key, bytes);
    }

    /// When the next pack becomes due; not after `now` where one is due that was not taken.
    pub(super) fn next_due(&self) -> Option<i64> {
        earlier(self.packs.keys().next().map(|key| key.0), self.next)
    }
}

/// The earlier of two times, of which either may be missing.
pub(super) fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PORTION: usize = 3;

    #[derive(Default)]
    struct File {
        rows: BTreeSet<Key>,
        seq: Seq,
        told: Vec<Key>,
    }

    impl File {
        fn commit(&mut self, due: i64) {
            self.seq += 1;
            self.rows.insert((due, self.seq));
            self.told.push((due, self.seq));
        }

        fn read(&self, plan: WaitingPlan) -> WaitingRows {
            let due: Vec<Key> = self
                .rows
                .iter()
                .copied()
                .filter(|key| *key > plan.after && key.0 <= plan.due_by)
                .take(PORTION)
                .collect();
            let cut = due.len() == PORTION;
            let read_to = match (cut, due.last()) {
                (true, Some(last)) => *last,
                _ => (plan.due_by, Seq::MAX),
            };
            let next = self
                .rows
                .iter()
                .find(|key| **key > read_to)
                .map(|key| key.0);
            let rows = due.into_iter().map(|key| (key, Bytes::new())).collect();
            WaitingRows { rows, cut, next }
        }

        fn tell_one(&mut self, window: &mut WaitingWindow) {
            if !self.told.is_empty() {
                window.written(self.told.remove(0), Bytes::new());
            }
        }
    }

    proptest! {
        /// Commits, readings and tellings in any order, with clocks that disagree: each row is taken once, none
        /// before it is due, and `next_due` never oversleeps.
        #[test]
        fn takes_each_row_once(steps in proptest::collection::vec((0u8..7, 0i64..40), 1..150)) {
            let mut file = File::default();
            let mut window = WaitingWindow::new(0, None);
            let mut reading: Option<(WaitingPlan, WaitingRows)> = None;
            let mut taken = BTreeSet::new();
            let mut latest = 0;
            for (action, value) in steps {
                let now = (latest + value - 20).max(0);
                match action {
                    0 | 1 => file.commit(now + value),
                    2 => file.tell_one(&mut window),
                    3 if reading.is_none() => {
                        reading = window.plan(now, 2).map(|plan| (plan, file.read(plan)));
                    }
                    4 => match reading.take() {
                        Some((plan, rows)) if value > 5 => window.fill(plan, rows),
                        Some(_) => window.abandon(),
                        None => {}
                    },
                    _ => {
                        latest = latest.max(now);
                        for (key, _) in window.take(now, 2) {
                            prop_assert!(key.0 <= now, "early");
                            prop_assert!(taken.insert(key), "{key:?} twice");
                            file.rows.remove(&key);
                        }
                    }
                }
            }
            if let Some((plan, rows)) = reading.take() {
                window.fill(plan, rows);
            }
            while !file.told.is_empty() {
                file.tell_one(&mut window);
            }
            while let Some(due) = window.next_due() {
                prop_assert!(file.rows.first().is_some_and(|first| first.0 >= due), "overslept");
                if let Some(plan) = window.plan(due, 1) {
                    let rows = file.read(plan);
                    window.fill(plan, rows);
                }
                for (key, _) in window.take(due, 100) {
                    prop_assert!(taken.insert(key), "{key:?} twice");
                    file.rows.remove(&key);
                }
            }
            prop_assert!(file.rows.is_empty(), "left over: {:?}", file.rows);
        }
    }
}
