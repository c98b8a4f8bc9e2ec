//! What this process has to see to after it was written: a Redis that is restarted may come back without its last second.
//!
//! Changes of one's own are remembered until a look some seconds later has found them; if they are gone, they are put back.
//! Changes of others that were told are looked at later still: whoever made them may be gone, and then nobody
//! can put them back, but caches and events wait for the version that was told. The application is given a
//! higher one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::EventTypeName;
use tokio::time::Instant;

use super::ring::Told;

/// Redis writes its log out every second: what is still there after this long stays.
const DURABLE_AFTER: Duration = Duration::from_secs(5);
/// By then every process that lives has put its own changes back.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Changes that are remembered. Only a burst within seconds has more, and loses the protection of its oldest.
const CAPACITY: usize = 10_000;

/// A change that this process made.
#[derive(Debug, Clone)]
pub(super) enum Own {
    App(Application),
    NoApp(OrgId),
    Endpoint(Endpoint),
    NoEndpoint(EndpointId),
}

/// A change of an event type; `None`: it was deleted.
#[derive(Debug, Clone)]
pub(super) struct OwnType {
    pub(super) org: OrgId,
    pub(super) name: EventTypeName,
    /// As of a change of an application.
    pub(super) made: u64,
    pub(super) stored: u64,
    pub(super) event_type: Option<EventType>,
}

impl OwnType {
    pub(super) const fn new(
        org: OrgId,
        name: EventTypeName,
        version: u64,
        event_type: Option<EventType>,
    ) -> Self {
        Self {
            org,
            name,
            made: version,
            stored: version,
            event_type,
        }
    }
}

/// A change that this process made of an application.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// When it was made: of two changes of one record the later one stays, whoever puts them back first.
    pub(super) made: u64,
    /// What the application came to by it, or when it was put back last.
    pub(super) stored: u64,
    pub(super) own: Own,
    /// Since when it has been waiting for its application to be put back.
    pub(super) waiting: Option<Instant>,
}

/// Something that was noted at some time.
#[derive(Debug, Clone)]
pub(super) struct Noted<T> {
    at: Instant,
    pub(super) what: T,
}

impl<T> Noted<T> {
    pub(super) fn now(what: T) -> Self {
        let at = Instant::now();
        Self { at, what }
    }

    /// Whether it may still be lost by a restart.
    pub(super) fn is_young(&self) -> bool {
        self.at.elapsed() < DURABLE_AFTER
    }
}

/// Changes of one's own that may still be lost.
#[derive(Debug, Default)]
pub(super) struct Recent {
    apps: VecDeque<Noted<(AppId, Made)>>,
    types: VecDeque<Noted<OwnType>>,
}

impl Recent {
    pub(super) fn note(&mut self, app: AppId, version: u64, own: Own) {
        let made = Made {
            made: version,
            stored: version,
            own,
            waiting: None,
        };
        push(&mut self.apps, Noted::now((app, made)));
    }

    pub(super) fn note_type(&mut self, own: OwnType) {
        push(&mut self.types, Noted::now(own));
    }

    /// Notes again what was taken out and is to be looked for once more.
    pub(super) fn keep(&mut self, app: AppId, changes: Vec<Noted<Made>>) {
        for Noted { at, what } in changes {
            let what = (app, what);
            push(&mut self.apps, Noted { at, what });
        }
    }

    pub(super) fn keep_type(&mut self, own: Noted<OwnType>) {
        push(&mut self.types, own);
    }

    /// Takes out the changes that it is time to look for, or all: by application, in the order they were made in.
    pub(super) fn due(&mut self, all: bool) -> HashMap<AppId, Vec<Noted<Made>>> {
        let mut due: HashMap<_, Vec<_>> = HashMap::new();
        for Noted { at, what } in take(&mut self.apps, all) {
            let (app, what) = what;
            due.entry(app).or_default().push(Noted { at, what });
        }
        for changes in due.values_mut() {
            changes.sort_by_key(|change| change.what.made);
        }
        due
    }

    pub(super) fn due_types(&mut self, all: bool) -> Vec<Noted<OwnType>> {
        let mut due = take(&mut self.types, all);
        due.sort_by_key(|own| own.what.made);
        due
    }
}

fn push<T>(queue: &mut VecDeque<Noted<T>>, noted: Noted<T>) {
    if queue.len() == CAPACITY {
        queue.pop_front();
    }
    // What is noted again may be older than what was noted meanwhile.
    let place = queue.partition_point(|other| other.at <= noted.at);
    queue.insert(place, noted);
}

fn take<T>(queue: &mut VecDeque<Noted<T>>, all: bool) -> Vec<Noted<T>> {
    let due = queue.partition_point(|noted| all || !noted.is_young());
    queue.drain(..due).collect()
}

/// Versions that were told, to be looked at once everything has settled.
#[derive(Debug, Default)]
pub(super) struct Watched {
    apps: HashMap<AppId, (u64, Instant)>,
    /// Since when Redis has been answering.
    steady_since: Option<Instant>,
}

impl Watched {
    pub(super) fn extend(&mut self, told: &[Told]) {
        let now = Instant::now();
        for told in told {
            if self.apps.len() < CAPACITY || self.apps.contains_key(&told.app) {
                self.apps.insert(told.app, (told.version, now));
            }
        }
    }

    /// Somebody waits for a version that the registry has not reached.
    pub(super) fn expect(&mut self, app: AppId, version: u64) {
        let known = self.apps.get(&app);
        let room = self.apps.len() < CAPACITY || known.is_some();
        // Asking again does not make it wait longer.
        if room && known.is_none_or(|(known, _)| *known < version) {
            self.apps.insert(app, (version, Instant::now()));
        }
    }

    pub(super) fn steady(&mut self) {
        self.steady_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn unsteady(&mut self) {
        self.steady_since = None;
    }

    /// Takes out what it is time to look at, `most` at the most.
    pub(super) fn due(&mut self, most: usize) -> Vec<(AppId, u64)> {
        let settled = |since: Instant| since.elapsed() >= SETTLED_AFTER;
        if !self.steady_since.is_some_and(settled) {
            return Vec::new();
        }
        let due = self.apps.iter().filter(|(_, (_, told))| settled(*told));
        let due: Vec<_> = due
            .map(|(app, (version, _))| (*app, *version))
            .take(most)
            .collect();
        for (app, _) in &due {
            self.apps.remove(app);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_due_once_it_ought_to_be_durable() {
        let mut recent = Recent::default();
        recent.note(AppId::MIN, 1, Own::NoEndpoint(EndpointId::MIN));
        tokio::time::advance(DURABLE_AFTER / 2).await;
        recent.note(AppId::MIN, 2, Own::NoEndpoint(EndpointId::MIN));
        assert!(recent.due(false).is_empty());
        tokio::time::advance(DURABLE_AFTER / 2).await;
        assert_eq!(recent.due(false)[&AppId::MIN].len(), 1);
        assert_eq!(recent.due(true)[&AppId::MIN].len(), 1);
        assert!(recent.due(true).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_is_looked_at_once_redis_is_steady() {
        let mut watched = Watched::default();
        let told = |version| Told {
            position: version,
            app: AppId::MIN,
            version,
        };
        watched.extend(&[told(1), told(2)]);
        tokio::time::advance(SETTLED_AFTER).await;
        assert!(watched.due(9).is_empty(), "Redis may be away");
        watched.steady();
        tokio::time::advance(SETTLED_AFTER / 2).await;
        watched.steady();
        assert!(watched.due(9).is_empty(), "others may be putting back");
        tokio::time::advance(SETTLED_AFTER / 2).await;
        assert!(watched.due(0).is_empty());
        assert_eq!(watched.due(9), [(AppId::MIN, 2)]);
        assert!(watched.due(9).is_empty());
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let mut recent = Recent::default();
        for version in 0..=CAPACITY as u64 {
            recent.note(AppId::MIN, version, Own::NoApp(OrgId::MIN));
        }
        let due = &recent.due(true)[&AppId::MIN];
        assert_eq!((due.len(), due[0].what.made), (CAPACITY, 1));
    }
}
