//! That a delivery is not made twice, whatever comes twice.

use std::time::Duration;

use postrider_core::attempt::Disposition;
use postrider_core::dead_letter::{DeadNote, DeadReason};
use postrider_core::message::Work;
use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairState};
use postrider_core::ports::{DestinationStatus, Settlement};
use postrider_core::{DeadLetterId, Item, Target, Trigger};
use postrider_engine::testing::Play;

use crate::schedule::{dead_letters, page};
use crate::world::World;

fn again(item: &Item) -> Item {
    Item {
        maybe_dup: true,
        ..item.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_published_twice_is_delivered_once() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    world.publish(vec![item.clone()]).await;
    world.settled().await;
    world.publish(vec![again(&item)]).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_carrier_of_an_attempt_dies_at_its_claim() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    let endpoint = world.endpoint().await;
    let target = Target {
        endpoint: endpoint.id,
        era: 0,
        chain: ChainId::FIRST,
        attempt: 3,
        due: world.clock.now(),
        trigger: Trigger::Scheduled,
    };
    let item = world.item(Work::Targets(vec![target])).await;
    world.publish(vec![item.clone()]).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    world.publish(vec![again(&item), again(&item)]).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_stored_and_not_logged_is_logged_when_the_work_comes_again() {
    let world = World::new(|_, _| Play::Status(200)).await;
    let endpoint = world.endpoint().await;
    let item = world.item(Work::Match).await;
    let (app, message) = (item.event.app, item.event.message);
    let now = world.clock.now();
    // What a process leaves that dies between the two.
    let settlement = Settlement {
        pair: PairKey {
            app,
            message,
            endpoint: endpoint.id,
        },
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: PairOutcome::Ended(PairState::Delivered),
        keep_until: now + Duration::from_secs(600),
    };
    let limits = &world.ports.limits;
    limits.settle(now, vec![settlement]).await.unwrap();
    world.publish(vec![again(&item)]).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 0);
    let log = &world.ports.log;
    let ends = log.destinations(app, message, page()).await.unwrap();
    let ends: Vec<_> = ends.items.iter().map(|end| end.status).collect();
    assert_eq!(ends, [DestinationStatus::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn while_one_carrier_is_at_it_the_other_waits_and_then_finds_it_done() {
    let mut world = World::new(|_, _| Play::Slow(Duration::from_secs(10))).await;
    let endpoint = world.endpoint().await;
    let target = Target {
        endpoint: endpoint.id,
        era: 0,
        chain: ChainId::FIRST,
        attempt: 2,
        due: world.clock.now(),
        trigger: Trigger::Scheduled,
    };
    let item = world.item(Work::Targets(vec![target])).await;
    world.publish(vec![item.clone()]).await;
    while world.sender.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    world.publish(vec![again(&item)]).await;
    world
        .until("the second waits", |depth| {
            depth.waiting == 1 && depth.leased == 1
        })
        .await;
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    tokio::time::advance(Duration::from_secs(11)).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_fan_out_reaches_every_endpoint_once() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    for _ in 0..600 {
        world.endpoint().await;
    }
    let message = world.event().await;
    for _ in 0..600 {
        world.settled().await;
    }
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 600);
    let snapshot = world
        .ports
        .registry
        .snapshot(world.app)
        .await
        .unwrap()
        .unwrap();
    for endpoint in &snapshot.endpoints {
        let pair = PairKey {
            app: world.app,
            message,
            endpoint: endpoint.id,
        };
        let record = world
            .ports
            .limits
            .pair(world.clock.now(), pair)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(record.state, PairState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_came_later_does_not_get_the_event() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    let later = world.endpoint().await;
    world.publish(vec![item]).await;
    let settled = world.settled().await;
    assert_ne!(settled.record.endpoint, later.id);
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_under_way_and_keeps_the_rest() {
    let mut world = World::new(|_, _| Play::Slow(Duration::from_secs(10))).await;
    world.endpoint().await;
    world.event().await;
    while world.sender.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let (clean, ()) = tokio::join!(world.drain(), tokio::time::advance(Duration::from_secs(10)));
    assert!(clean);
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    world.event().await;
    assert_eq!(
        world.depth().await.ready,
        1,
        "a drained engine takes no work"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_runs_out_of_time_hands_over_what_it_cuts_off() {
    let world = World::new(|before, _| {
        if before == 0 {
            Play::Hang
        } else {
            Play::Status(200)
        }
    })
    .await;
    world.endpoint().await;
    world.event().await;
    while world.sender.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // The deadline of the request lies at 15 s, the grace ends before.
    let short = Duration::from_secs(8);
    let (clean, ()) = tokio::join!(world.drain_within(short), tokio::time::advance(short));
    assert!(clean, "what was cut off must have been handed over");
    let mut world = world.restart().await;
    let settled = world.settled().await;
    assert_eq!(
        (settled.record.attempt, settled.next),
        (1, Disposition::Delivered)
    );
    assert_eq!(world.sender.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_not_filed_for_what_was_delivered_after_all() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    let endpoint = world.endpoint().await;
    let item = world.item(Work::Match).await;
    world.publish(vec![item.clone()]).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    world.all_ended().await;
    let note = |chain| DeadNote {
        id: DeadLetterId::new(world.clock.now(), rand::random()),
        endpoint: endpoint.id,
        chain,
        reason: DeadReason::Exhausted,
        attempts: 8,
        last_status: 500,
        last_response: String::new(),
        died_at: world.clock.now(),
    };
    // Of the chain that was delivered, and of one that another has taken over from.
    for chain in [ChainId::FIRST, ChainId(7)] {
        let work = Work::Dead(note(chain));
        world
            .publish(vec![Item {
                work,
                ..again(&item)
            }])
            .await;
        world.all_ended().await;
    }
    assert!(dead_letters(&world).await.is_empty());
}

/// Nobody tells this engine of changes: it has what it read for the first event.
#[tokio::test(start_paused = true)]
async fn a_registry_in_memory_that_is_behind_cancels_nothing() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    let old = world.endpoint().await;
    let before = world.item(Work::Match).await;
    world.publish(vec![before.clone()]).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);

    let new = world.endpoint().await;
    let target = |endpoint, era| Target {
        endpoint,
        era,
        chain: ChainId(7),
        attempt: 1,
        due: world.clock.now(),
        trigger: Trigger::Manual,
    };
    // Asked for by hand, for an event that is older than the endpoint.
    let to_new = Item {
        work: Work::Targets(vec![target(new.id, new.era)]),
        ..before.clone()
    };
    let mut changed = old.clone();
    changed.disable();
    changed.disabled = false;
    let registry = &world.ports.registry;
    let version = registry
        .snapshot(world.app)
        .await
        .unwrap()
        .unwrap()
        .version();
    registry
        .put_endpoint(changed.clone(), Some(version))
        .await
        .unwrap();
    let to_enabled_again = Item {
        work: Work::Targets(vec![target(old.id, changed.era)]),
        ..world.item(Work::Match).await
    };
    let of_an_older_era = Item {
        work: Work::Targets(vec![target(old.id, old.era)]),
        ..world.item(Work::Match).await
    };
    world
        .publish(vec![to_new, to_enabled_again, of_an_older_era])
        .await;
    for _ in 0..2 {
        assert_eq!(world.settled().await.next, Disposition::Delivered);
    }
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 3);
    assert!((world.counter("postrider_canceled_total") - 1.0).abs() < f64::EPSILON);
}
