//! When attempts are made, and what becomes of a message in the end.

use std::time::Duration;

use postrider_core::attempt::Disposition;
use postrider_core::dead_letter::{DeadLetter, DeadReason};
use postrider_core::ladder::MAX_STRETCH;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{
    AttemptFilter, AttemptScope, DeadLetterFilter, DestinationStatus, EndpointKey,
};
use postrider_core::schedule::RetrySchedule;
use postrider_core::withdrawn;
use postrider_engine::testing::Play;
use tokio::time::advance;

use crate::world::{Settled, World};

pub(crate) fn page<K>() -> Page<K> {
    Page {
        cursor: Cursor::Start,
        limit: 250,
        order: Order::Ascending,
    }
}

pub(crate) async fn dead_letters(world: &World) -> Vec<DeadLetter> {
    let filter = DeadLetterFilter::default();
    world
        .ports
        .dead_letters
        .list(Some(world.app), &filter, page())
        .await
        .unwrap()
        .items
}

fn delay(settled: &Settled) -> Duration {
    match settled.next {
        Disposition::Retry(delay) | Disposition::RetryExactly(delay) => delay,
        other => panic!("no retry follows: {other:?}"),
    }
}

/// Passes the delay after an attempt: nothing happens before it has passed, and the next attempt is made before its
/// jitter has.
async fn pass(world: &mut World, failed: &Settled) -> Settled {
    let delay = delay(failed);
    world
        .until("the retry waits", |depth| {
            depth.waiting == 1 && depth.leased == 0
        })
        .await;
    world.nothing_until(delay).await;
    advance(delay.mul_f64(MAX_STRETCH - 1.0) + Duration::from_millis(2)).await;
    let next = world.settled().await;
    let waited = next.record.at.since(failed.record.at);
    assert!(waited >= delay, "waited {waited:?} instead of {delay:?}");
    next
}

#[tokio::test(start_paused = true)]
async fn the_whole_schedule_of_27_6_hours_and_then_a_dead_letter() {
    let mut world = World::new(|_, _| Play::Status(500)).await;
    world.endpoint().await;
    let message = world.event().await;
    let mut attempt = world.settled().await;
    for (number, delay) in (2..).zip(RetrySchedule::default().delays()) {
        assert_eq!(attempt.next, Disposition::Retry(*delay));
        attempt = pass(&mut world, &attempt).await;
        assert_eq!(attempt.record.attempt, number);
    }
    assert_eq!(attempt.record.attempt, 8);
    assert_eq!(attempt.next, Disposition::GiveUp(DeadReason::Exhausted));
    world.all_ended().await;
    let [DeadLetter::Delivery { event, note }] = &dead_letters(&world).await[..] else {
        panic!("not one dead letter")
    };
    assert_eq!(
        (event.message, note.attempts, note.last_status),
        (message, 8, 500)
    );
    assert_eq!(&event.payload[..], br#"{"order":1042}"#);

    let scope = AttemptScope::Message(message);
    let log = world
        .ports
        .log
        .attempts(world.app, scope, &AttemptFilter::default(), page())
        .await
        .unwrap();
    assert_eq!(log.items.len(), 8);
    let span = log.items[7].at.since(log.items[0].at);
    let least = RetrySchedule::default().span();
    assert!(
        span >= least && span <= least.mul_f64(MAX_STRETCH) + Duration::from_secs(1),
        "{span:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_comes_back_at_the_fifth_attempt_has_the_message() {
    let mut world = World::new(|before, _| Play::Status(if before < 4 { 503 } else { 200 })).await;
    world.endpoint().await;
    let message = world.event().await;
    let mut attempt = world.settled().await;
    while attempt.next != Disposition::Delivered {
        attempt = pass(&mut world, &attempt).await;
    }
    assert_eq!(attempt.record.attempt, 5);
    world.all_ended().await;
    assert!(dead_letters(&world).await.is_empty());
    let destinations = world
        .ports
        .log
        .destinations(world.app, message, page())
        .await
        .unwrap();
    assert_eq!(destinations.items[0].status, DestinationStatus::Delivered);
    let ids: Vec<_> = world
        .sender
        .requests()
        .iter()
        .map(|request| request.headers["webhook-id"].clone())
        .collect();
    assert!(
        ids.iter()
            .all(|id| id.to_str().unwrap() == message.to_string()),
        "{ids:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_schedule_goes_on_after_a_restart_and_is_not_early() {
    let mut world = World::new(|before, _| Play::Status(if before < 2 { 500 } else { 204 })).await;
    world.endpoint().await;
    world.event().await;
    let first = world.settled().await;
    let second = pass(&mut world, &first).await;
    let mut world = world.restart().await;
    let third = pass(&mut world, &second).await;
    assert_eq!(
        (third.record.attempt, third.next),
        (3, Disposition::Delivered)
    );
    world.all_ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_never_answers_is_given_its_deadline_and_no_more() {
    let mut world = World::new(|before, _| {
        if before == 0 {
            Play::Hang
        } else {
            Play::Status(200)
        }
    })
    .await;
    world.endpoint().await;
    world.event().await;
    world
        .until("the request is under way", |depth| depth.leased == 1)
        .await;
    while world.sender.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    advance(Duration::from_secs(15)).await;
    let timed_out = world.settled().await;
    assert_eq!(
        (timed_out.record.status_code, timed_out.record.duration_ms),
        (0, 15_000)
    );
    assert!(
        timed_out.record.response.contains("15000 ms"),
        "{}",
        timed_out.record.response
    );
    let second = pass(&mut world, &timed_out).await;
    assert_eq!(second.next, Disposition::Delivered);
}

#[tokio::test(start_paused = true)]
async fn retry_after_puts_the_next_attempt_off_exactly_and_uses_up_a_step() {
    let hour = Duration::from_secs(3600);
    let mut world = World::new(move |before, _| {
        if before == 0 {
            Play::Busy(hour)
        } else {
            Play::Status(200)
        }
    })
    .await;
    world.endpoint().await;
    world.event().await;
    let first = world.settled().await;
    assert_eq!(first.next, Disposition::RetryExactly(hour));
    world
        .until("the retry waits", |depth| {
            depth.waiting == 1 && depth.leased == 0
        })
        .await;
    world.nothing_until(hour).await;
    advance(world.ports.broker.capabilities().exact_within).await;
    let second = world.settled().await;
    assert_eq!(
        (second.record.attempt, second.next),
        (2, Disposition::Delivered)
    );
}

#[tokio::test(start_paused = true)]
async fn gone_disables_the_endpoint_and_cancels_what_waits_for_it() {
    let mut world = World::new(|before, _| Play::Status(if before == 0 { 500 } else { 410 })).await;
    let endpoint = world.endpoint().await;
    let waiting = world.event().await;
    let first = world.settled().await;
    world
        .until("the retry waits", |depth| {
            depth.waiting == 1 && depth.leased == 0
        })
        .await;
    world.event().await;
    let gone = world.settled().await;
    assert_eq!(gone.next, Disposition::GiveUp(DeadReason::Gone));
    let key = EndpointKey::Id(endpoint.id);
    assert!(
        world
            .ports
            .registry
            .endpoint(world.app, &key)
            .await
            .unwrap()
            .unwrap()
            .disabled
    );
    advance(delay(&first).mul_f64(MAX_STRETCH) + Duration::from_millis(2)).await;
    world.all_ended().await;
    assert_eq!(
        world.sender.requests().len(),
        2,
        "a disabled endpoint was called"
    );
    let destinations = world
        .ports
        .log
        .destinations(world.app, waiting, page())
        .await
        .unwrap();
    assert_eq!(destinations.items[0].status, DestinationStatus::Canceled);
    assert_eq!(dead_letters(&world).await.len(), 1);
}

/// A scheduled message that waits at the broker.
async fn scheduled(world: &World, after: Duration) -> std::sync::Arc<postrider_core::Event> {
    let mut item = world.item(postrider_core::Work::Match).await;
    world.endpoint().await;
    let mut event = (*item.event).clone();
    event.deliver_at = Some(world.clock.now() + after);
    event.registry_version += 1;
    item.event = std::sync::Arc::new(event);
    let event = std::sync::Arc::clone(&item.event);
    world.publish(vec![item]).await;
    world
        .until("it waits", |depth| {
            depth.waiting == 1 && depth.leased == 0 && depth.ready == 0
        })
        .await;
    event
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_is_matched_and_sent_when_it_is_due() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    let day = Duration::from_secs(24 * 3600);
    scheduled(&world, day).await;
    world.nothing_until(day).await;
    advance(world.ports.broker.capabilities().exact_within).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_that_is_taken_back_goes_nowhere_and_says_so() {
    let world = World::new(|_, _| Play::Status(200)).await;
    let day = Duration::from_secs(24 * 3600);
    let event = scheduled(&world, day).await;
    let documents = &*world.ports.documents;
    withdrawn::withdraw(documents, world.clock.now(), &event)
        .await
        .unwrap();
    advance(day + world.ports.broker.capabilities().exact_within).await;
    world.all_ended().await;
    assert!(world.sender.requests().is_empty());
    let destinations = world
        .ports
        .log
        .destinations(world.app, event.message, page())
        .await
        .unwrap();
    assert_eq!(destinations.items[0].status, DestinationStatus::Canceled);
}
