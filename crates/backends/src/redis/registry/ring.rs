//! The latest changes as this process has been told, for those who keep copies.
//!
//! Positions are versions that were taken when a change was *ended*, not when it was begun: of two changes at once the
//! one with the lower version may end later, and must not be skipped by whoever has heard of the other.

use std::collections::VecDeque;

use postrider_core::id::AppId;
use postrider_core::ports::{ChangeCursor, Changes};

/// Changes that are remembered. Whoever is further behind reads everything again.
pub(super) const CAPACITY: usize = 4_096;

/// A change that was told: its position, the application, and the version that it has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) position: u64,
    pub(super) app: AppId,
    pub(super) version: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Changes behind this position are all here; `None` before the first look.
    complete_from: Option<u64>,
    /// How far the stream has been read.
    position: u64,
    changes: VecDeque<Told>,
    /// The last change that was told since the last cut: as long as nothing is lost, Redis has it.
    last: Option<Told>,
}

impl Ring {
    /// From where on to read; `None` before the first look.
    pub(super) fn position(&self) -> Option<u64> {
        self.complete_from.map(|_| self.position)
    }

    /// Everything before `position` is to be read again by everybody.
    pub(super) fn cut(&mut self, position: u64) {
        self.position = self.position.max(position);
        self.complete_from = Some(self.position);
        self.changes.clear();
        self.last = None;
    }

    pub(super) fn last(&self) -> Option<Told> {
        self.last
    }

    /// Takes in what was read up to `position` from where this ring stood at some time. Returns what is new.
    pub(super) fn merge(&mut self, told: Vec<Told>, position: u64) -> Vec<Told> {
        let before = self.position;
        let new: Vec<Told> = told
            .into_iter()
            .filter(|told| told.position > before)
            .collect();
        self.last = new.last().copied().or(self.last);
        self.changes.extend(&new);
        self.position = before.max(position);
        while self.changes.len() > CAPACITY
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.complete_from = Some(forgotten.position);
        }
        new
    }

    /// What came behind `since`; `None` where nothing did.
    pub(super) fn after(&self, since: ChangeCursor) -> Option<Changes> {
        let complete = self.complete_from.is_some_and(|from| from <= since.0);
        if !complete || since.0 > self.position {
            return Some(Changes {
                cursor: ChangeCursor(self.position),
                apps: None,
            });
        }
        let new = self
            .changes
            .iter()
            .skip_while(|told| told.position <= since.0);
        let apps: Vec<_> = new.map(|told| (told.app, told.version)).collect();
        (!apps.is_empty()).then_some(Changes {
            cursor: ChangeCursor(self.position),
            apps: Some(apps),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(position: u64) -> Told {
        Told {
            position,
            app: AppId::MIN,
            version: position - 1,
        }
    }

    fn apps(ring: &Ring, since: u64) -> Option<Option<usize>> {
        let changes = ring.after(ChangeCursor(since))?;
        assert_eq!(changes.cursor.0, ring.position);
        Some(changes.apps.map(|apps| apps.len()))
    }

    #[test]
    fn tells_what_came_after_whatever_order_answers_come_in() {
        let mut ring = Ring::default();
        assert_eq!(ring.position(), None);
        ring.cut(10);
        assert_eq!(apps(&ring, 10), None);
        assert_eq!(ring.merge(vec![told(12), told(15)], 16).len(), 2);
        assert_eq!(ring.merge(vec![told(12)], 13), [], "it was overtaken");
        assert_eq!(ring.position(), Some(16));
        assert_eq!(apps(&ring, 10), Some(Some(2)));
        assert_eq!(apps(&ring, 12), Some(Some(1)));
        assert_eq!(apps(&ring, 15), None, "that nothing happened is no news");
        assert_eq!(apps(&ring, 9), Some(None));
        assert_eq!(apps(&ring, 17), Some(None));
        ring.cut(20);
        assert_eq!(apps(&ring, 16), Some(None));
    }

    #[test]
    fn whoever_fell_behind_reads_everything() {
        let mut ring = Ring::default();
        ring.cut(0);
        for position in 1..=CAPACITY as u64 + 2 {
            ring.merge(vec![told(position)], position);
        }
        assert_eq!(apps(&ring, 1), Some(None));
        assert_eq!(apps(&ring, 2), Some(Some(CAPACITY)));
    }
}
