//! What is to be done with work, decided without doing any of it.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::application::AppSnapshot;
use postrider_core::endpoint::Endpoint;
use postrider_core::matching;
use postrider_core::message::{Event, Item, Target, Trigger, Work};
use postrider_core::pair::ChainId;
use postrider_core::ports::{HandOff, Until};
use postrider_core::time::Timestamp;

/// An event for more endpoints than this is split into chunks, each settled by itself.
pub(crate) const CHUNK: usize = 256;
/// Work that cannot be judged yet because a part of ours is away is looked at again after this long at least.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Work that goes on without its pack comes again this long after its requests must have ended: they are settled then.
const BEHIND: Duration = Duration::from_secs(5);

/// The first attempts of an event.
pub(crate) fn first_targets(event: &Event, app: &AppSnapshot, now: Timestamp) -> Vec<Target> {
    let wanted = app
        .endpoints
        .iter()
        .filter(|endpoint| matching::matches(endpoint, event));
    wanted.map(|endpoint| first_target(endpoint, now)).collect()
}

pub(crate) fn first_target(endpoint: &Endpoint, now: Timestamp) -> Target {
    Target {
        endpoint: endpoint.id,
        era: endpoint.era,
        chain: ChainId::FIRST,
        attempt: 1,
        due: now,
        trigger: Trigger::Scheduled,
    }
}

/// What may happen to a target now.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    Go(Arc<Endpoint>),
    /// The endpoint was disabled since the work was made.
    Canceled,
    /// The endpoint is not there, or as it was before the work was made: it is gone, or this knowledge is older than the
    /// work. Where it is the registry's own, it is canceled.
    Unknown,
}

pub(crate) fn standing(target: &Target, app: Option<&AppSnapshot>) -> Standing {
    match app.and_then(|app| app.endpoint(target.endpoint)) {
        Some(endpoint) if endpoint.era > target.era => Standing::Canceled,
        Some(endpoint) if endpoint.era == target.era && !endpoint.disabled => {
            Standing::Go(Arc::clone(endpoint))
        }
        _ => Standing::Unknown,
    }
}

/// Splits targets into chunks by endpoint: the same targets always land in the same chunks.
pub(crate) fn chunks(item: &Item, mut targets: Vec<Target>) -> Vec<HandOff> {
    targets.sort_by_key(|target| target.endpoint);
    let chunk = |targets: &[Target]| again(item, Work::Targets(targets.to_vec()), Until::Now);
    targets.chunks(CHUNK).map(chunk).collect()
}

/// Work for the same event once more. Flagged, because whoever takes it cannot know what was done before.
pub(crate) fn again(item: &Item, work: Work, until: Until) -> HandOff {
    HandOff {
        item: Item {
            event: Arc::clone(&item.event),
            work,
            maybe_dup: true,
        },
        until,
    }
}

/// Work that goes on without its pack comes again when its requests must have ended, `ends` at the latest: it finds what came
/// of them, and repeats only what has no outcome. An approach to the exact time would cost a ladder of delays several hops.
pub(crate) fn behind(mut item: Item, ends: Timestamp, now: Timestamp) -> HandOff {
    item.maybe_dup = true;
    HandOff {
        item,
        until: Until::After(ends.since(now) + BEHIND),
    }
}

/// How long to wait for an endpoint that seems to hang: until what is under way there has ended, and longer the longer it
/// has been waited for, so that a backlog costs few hops, and at most about half as long again when it answers again.
pub(crate) fn after_hanging(due: Timestamp, ends: Timestamp, now: Timestamp) -> Until {
    let longer = (now.since(due) / 2).min(LONGEST_PAUSE);
    Until::After((ends.since(now) + LEAST_PAUSE).max(longer))
}

/// How long to put off work that waits for a part of ours: as long as it is overdue already, which doubles the
/// pause each time without anybody having to count.
pub(crate) fn pause(due: Timestamp, now: Timestamp) -> Until {
    Until::After(now.since(due).clamp(LEAST_PAUSE, LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::application::Application;
    use postrider_core::id::EndpointId;
    use postrider_core::samples::{self, NOW};

    fn app(endpoints: Vec<Endpoint>) -> AppSnapshot {
        let event = samples::event();
        let app = Application {
            id: event.app,
            org: event.org,
            uid: None,
            name: "Shop".to_owned(),
            throttle_rate: None,
            payload_retention_hours: None,
            metadata: std::collections::BTreeMap::new(),
            created_at: NOW,
            updated_at: NOW,
            version: event.registry_version,
        };
        AppSnapshot {
            app,
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
        }
    }

    #[test]
    fn an_event_is_tried_first_at_every_endpoint_that_wants_it() {
        let mut off = samples::endpoint();
        off.id = EndpointId::from_bytes([9; 20]);
        off.disable();
        let targets = first_targets(&samples::event(), &app(vec![samples::endpoint(), off]), NOW);
        assert_eq!(targets, vec![samples::target(1, NOW)]);
    }

    #[test]
    fn only_an_endpoint_that_was_disabled_since_cancels_a_target_by_itself() {
        let target = samples::target(2, NOW);
        let with = |change: fn(&mut Endpoint)| {
            let mut endpoint = samples::endpoint();
            change(&mut endpoint);
            standing(&target, Some(&app(vec![endpoint])))
        };
        assert!(matches!(with(|_| {}), Standing::Go(_)));
        assert!(matches!(with(Endpoint::disable), Standing::Canceled));
        let enabled_again = |endpoint: &mut Endpoint| {
            endpoint.disable();
            endpoint.disabled = false;
        };
        assert!(matches!(with(enabled_again), Standing::Canceled));
    }

    #[test]
    fn what_may_be_older_than_a_target_does_not_cancel_it() {
        let mut target = samples::target(2, NOW);
        let unknown = |target: &Target, app: Option<&AppSnapshot>| {
            matches!(standing(target, app), Standing::Unknown)
        };
        assert!(unknown(&target, None));
        assert!(unknown(&target, Some(&app(vec![]))));
        let mut not_yet_enabled = samples::endpoint();
        not_yet_enabled.disabled = true;
        assert!(unknown(&target, Some(&app(vec![not_yet_enabled]))));
        target.era += 1;
        assert!(unknown(&target, Some(&app(vec![samples::endpoint()]))));
    }

    #[test]
    fn a_large_fan_out_is_split_without_losing_a_target() {
        let target = |n: u16| {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&n.to_be_bytes());
            Target {
                endpoint: EndpointId::from_bytes(id),
                ..samples::target(1, NOW)
            }
        };
        let targets: Vec<Target> = (0..600).rev().map(target).collect();
        let chunks = chunks(&samples::item(Work::Match), targets);
        let sizes: Vec<usize> = chunks
            .iter()
            .map(|chunk| match &chunk.item.work {
                Work::Targets(targets) => targets.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes, [256, 256, 88]);
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.item.maybe_dup && chunk.until == Until::Now)
        );
    }

    #[test]
    fn an_endpoint_that_hangs_is_waited_for_until_its_requests_have_ended_and_longer_with_each_time()
     {
        let now = NOW + Duration::from_secs(100);
        let wait = |overdue, left| {
            let due = now - Duration::from_secs(overdue);
            match after_hanging(due, now + Duration::from_secs(left), now) {
                Until::After(pause) => pause.as_secs(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(0, 14), 15);
        assert_eq!(wait(20, 0), 10);
        assert_eq!(wait(20, 14), 15);
        assert_eq!(wait(90_000, 14), 300);
    }

    #[test]
    fn pauses_double_within_bounds() {
        let after = |seconds| pause(NOW, NOW + Duration::from_secs(seconds));
        assert_eq!(after(0), Until::After(LEAST_PAUSE));
        assert_eq!(after(7), Until::After(Duration::from_secs(7)));
        assert_eq!(after(9_000), Until::After(LONGEST_PAUSE));
    }
}
