//! The latest changes, for those who keep copies.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use postrider_core::id::{AppId, OrgId};
use postrider_core::ports::{ChangeCursor, Changes};
use tokio::sync::watch;

/// Changes that are remembered. Whoever is further behind reads everything again.
const CAPACITY: usize = 4_096;

#[derive(Debug)]
pub(super) struct ChangeRing {
    ring: Mutex<Ring>,
    /// The version of the latest change.
    latest: watch::Sender<u64>,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    App(AppId),
    /// The event types of an organisation.
    Types(OrgId),
}

#[derive(Debug)]
struct Ring {
    /// Changes after this one are all here.
    complete_from: u64,
    changes: VecDeque<(u64, Subject)>,
}

impl ChangeRing {
    pub(super) fn new(version: u64) -> Self {
        let ring = Ring {
            complete_from: version,
            changes: VecDeque::new(),
        };
        Self {
            ring: Mutex::new(ring),
            latest: watch::Sender::new(version),
        }
    }

    pub(super) fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Must be called in the order of versions.
    pub(super) fn push(&self, subject: Subject, version: u64) {
        let mut ring = self.ring.lock();
        ring.changes.push_back((version, subject));
        if ring.changes.len() > CAPACITY
            && let Some((forgotten, _)) = ring.changes.pop_front()
        {
            ring.complete_from = forgotten;
        }
        self.tell(&ring, version);
    }

    /// From `version` on everybody has to read everything again.
    pub(super) fn cut(&self, version: u64) {
        let mut ring = self.ring.lock();
        ring.complete_from = version;
        ring.changes.clear();
        self.tell(&ring, version);
    }

    /// Under the ring's lock: whoever found a change in the ring before it was told would come back with a position
    /// that seems to lie ahead.
    fn tell(&self, _held: &MutexGuard<'_, Ring>, version: u64) {
        self.latest.send_replace(version);
    }

    /// Completes once there is something after `since`.
    pub(super) async fn after(&self, since: ChangeCursor) -> Changes {
        let mut latest = self.latest.subscribe();
        // A position that lies ahead is none of ours: it is answered at once, with "anything may have changed".
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = latest.wait_for(|version| *version != since.0).await;
        self.ring.lock().after(since.0, self.latest())
    }
}

impl Ring {
    fn after(&self, since: u64, latest: u64) -> Changes {
        if since < self.complete_from || since > latest {
            return Changes {
                cursor: ChangeCursor(latest),
                apps: None,
                types: Vec::new(),
            };
        }
        let new = self
            .changes
            .iter()
            .skip_while(|(version, _)| *version <= since);
        let (mut apps, mut types) = (Vec::new(), Vec::new());
        for (version, subject) in new {
            match subject {
                Subject::App(app) => apps.push((*app, *version)),
                Subject::Types(org) => types.push(*org),
            }
        }
        Changes {
            cursor: ChangeCursor(latest),
            apps: Some(apps),
            types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId::MIN;

    #[tokio::test]
    async fn tells_what_came_after_and_waits_where_nothing_did() {
        let ring = ChangeRing::new(7);
        ring.push(Subject::App(APP), 9);
        let changes = ring.after(ChangeCursor(7)).await;
        assert_eq!(changes.apps, Some(vec![(APP, 9)]));
        assert_eq!(changes.cursor, ChangeCursor(9));
        let waiting = ring.after(changes.cursor);
        let pushing = async { ring.push(Subject::App(AppId::MAX), 10) };
        let (changes, ()) = tokio::join!(waiting, pushing);
        assert_eq!(changes.apps, Some(vec![(AppId::MAX, 10)]));
        ring.push(Subject::Types(OrgId::MAX), 11);
        let changes = ring.after(changes.cursor).await;
        assert_eq!(changes.apps, Some(Vec::new()));
        assert_eq!(changes.types, [OrgId::MAX]);
    }

    #[test]
    fn a_follower_never_goes_back_while_changes_are_pushed() {
        const LAST: u64 = 50_000;
        let ring = ChangeRing::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=LAST).for_each(|version| ring.push(Subject::App(APP), version)));
            let following = tokio::runtime::Builder::new_current_thread().build();
            following.unwrap().block_on(async {
                let mut cursor = ChangeCursor(0);
                while cursor.0 < LAST {
                    let next = ring.after(cursor).await.cursor;
                    assert!(next > cursor, "{next:?} after {cursor:?}");
                    cursor = next;
                }
            });
        });
    }

    #[tokio::test]
    async fn whoever_fell_behind_or_comes_from_elsewhere_reads_everything() {
        let ring = ChangeRing::new(7);
        for version in 8..=7 + 2 + CAPACITY as u64 {
            ring.push(Subject::App(APP), version);
        }
        assert_eq!(ring.after(ChangeCursor(8)).await.apps, None);
        assert_eq!(ring.after(ChangeCursor(6)).await.apps, None);
        assert_eq!(ring.after(ChangeCursor(1 << 40)).await.apps, None);
        let all = ring.after(ChangeCursor(9)).await.apps;
        assert_eq!(all.map(|apps| apps.len()), Some(CAPACITY));
        let latest = ChangeCursor(ring.latest());
        ring.cut(latest.0 + 1);
        assert_eq!(ring.after(latest).await.apps, None);
    }
}
