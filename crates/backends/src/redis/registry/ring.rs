//! The latest changes as this process has been told, for those who keep copies.
//!
//! Positions are versions that were taken when a change was *ended*, not when it was begun: of two changes at once the
//! one with the lower version may end later, and must not be skipped by whoever has heard of the other.

use std::collections::{HashMap, VecDeque};

use postrider_core::id::{AppId, OrgId};
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
    /// Organisations whose event types have changed, and the position of the last change.
    types: HashMap<OrgId, u64>,
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
        self.types.clear();
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

    /// Takes in whose event types have changed, as [`Self::merge`] does. Whether there is anything new.
    pub(super) fn merge_types(&mut self, told: &[(OrgId, u64)]) -> bool {
        let mut is_new = false;
        for (org, position) in told {
            let known = self.types.entry(*org).or_default();
            is_new |= *known < *position;
            *known = (*position).max(*known);
        }
        if self.types.len() > CAPACITY {
            // Whoever has not heard of them by now reads everything again.
            self.complete_from = Some(self.position);
            self.changes.clear();
            self.types.clear();
        }
        is_new
    }

    /// What came behind `since`; `None` where nothing did.
    pub(super) fn after(&self, since: ChangeCursor) -> Option<Changes> {
        let complete = self.complete_from.is_some_and(|from| from <= since.0);
        if !complete || since.0 > self.position {
            return Some(Changes {
                cursor: ChangeCursor(self.position),
                apps: None,
                types: Vec::new(),
            });
        }
        let new = self
            .changes
            .iter()
            .skip_while(|told| told.position <= since.0);
        let apps: Vec<_> = new.map(|told| (told.app, told.version)).collect();
        let new = self.types.iter().filter(|(_, at)| **at > since.0);
        let types: Vec<_> = new.map(|(org, _)| *org).collect();
        (!apps.is_empty() || !types.is_empty()).then_some(Changes {
            cursor: ChangeCursor(self.position),
            apps: Some(apps),
            types,
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
    fn tells_whose_event_types_have_changed() {
        let mut ring = Ring::default();
        let types =
            |ring: &Ring, since| ring.after(ChangeCursor(since)).map(|changes| changes.types);
        ring.cut(10);
        assert!(ring.merge_types(&[(OrgId::MIN, 11)]));
        ring.merge(Vec::new(), 12);
        assert_eq!(types(&ring, 10), Some(vec![OrgId::MIN]));
        assert_eq!(types(&ring, 11), None);
        assert!(!ring.merge_types(&[(OrgId::MIN, 11)]), "it was told");
        assert!(ring.merge_types(&[(OrgId::MIN, 13), (OrgId::MAX, 14)]));
        ring.merge(Vec::new(), 15);
        assert_eq!(types(&ring, 13), Some(vec![OrgId::MAX]));
        ring.cut(20);
        assert_eq!(
            types(&ring, 10),
            Some(Vec::new()),
            "and no application is named"
        );
        assert_eq!(ring.after(ChangeCursor(10)).unwrap().apps, None);
    }

    #[test]
    fn of_too_many_organisations_nothing_is_remembered() {
        let mut ring = Ring::default();
        ring.cut(0);
        for position in 1..=CAPACITY as u64 + 1 {
            let mut id = [0; 20];
            id[..8].copy_from_slice(&position.to_be_bytes());
            ring.merge(Vec::new(), position);
            ring.merge_types(&[(OrgId::from_bytes(id), position)]);
        }
        assert!(ring.types.is_empty());
        assert_eq!(apps(&ring, 1), Some(None));
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
