//! Endpoints that hang: what they cost the others, and what becomes of their own messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use postrider_core::attempt::Disposition;
use postrider_core::message::Work;
use postrider_core::ports::Depth;
use postrider_core::schedule::RetrySchedule;
use postrider_core::{Endpoint, EventTypeName, Item};
use postrider_engine::testing::Play;
use postrider_engine::{EngineConfig, Outgoing};
use tokio::time::advance;

use crate::schedule::dead_letters;
use crate::world::World;

const DEADLINE: Duration = Duration::from_secs(15);

/// Time passes in steps, and what becomes due in each is worked on, until nothing is held but for requests.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..4 * seconds {
        advance(Duration::from_millis(250)).await;
        let is_worked_on = |depth: Depth| {
            let requests = world.gauge("postrider_requests_in_flight");
            depth.ready == 0 && depth.leased as f64 <= requests
        };
        world.until("what is due is worked on", is_worked_on).await;
    }
}

fn is_at(request: &Outgoing, host: &str) -> bool {
    request.to.url().host_str() == Some(host)
}

fn requests_at(world: &World, host: &str) -> usize {
    let requests = world.sender.requests();
    requests
        .iter()
        .filter(|request| is_at(request, host))
        .count()
}

/// How often each message was sent to a host.
fn attempts_at(world: &World, host: &str) -> Vec<usize> {
    let mut attempts: HashMap<String, usize> = HashMap::new();
    for request in world.sender.requests() {
        if is_at(&request, host) {
            let id = request.headers["webhook-id"].to_str().unwrap();
            *attempts.entry(id.to_owned()).or_default() += 1;
        }
    }
    attempts.into_values().collect()
}

#[tokio::test(start_paused = true)]
async fn who_hangs_gets_nothing_more_until_it_answers_and_loses_nothing() {
    let hangs = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&hangs);
    let mut world = World::new(move |_, request| {
        if is_at(request, "hanging.example") && still.load(Relaxed) {
            Play::Hang
        } else {
            Play::Status(200)
        }
    })
    .await;
    world.endpoint_at("https://hanging.example/", None).await;
    world.endpoint_at("https://healthy.example/", None).await;
    world.event().await;
    world.settled().await;
    pass(&world, 2).await;
    for _ in 0..10 {
        world.event().await;
        assert_eq!(world.settled().await.next, Disposition::Delivered);
    }
    world
        .until("its work waits", |depth| {
            depth.waiting == 10 && depth.leased == 1
        })
        .await;
    assert_eq!(requests_at(&world, "hanging.example"), 1);
    assert_eq!(world.gauge("postrider_suspect_endpoints"), 1.0);
    assert_eq!(world.counter("postrider_handed_off_total"), 10.0);
    hangs.store(false, Relaxed);
    pass(&world, 13).await;
    assert!(matches!(world.settled().await.next, Disposition::Retry(_)));
    assert_eq!(world.gauge("postrider_suspect_endpoints"), 0.0);
    // What was put off comes before its wait was stretched by half, and the retry after its 5 s.
    pass(&world, 8).await;
    for _ in 0..11 {
        assert_eq!(world.settled().await.next, Disposition::Delivered);
    }
    world.all_ended().await;
    let mut attempts = attempts_at(&world, "hanging.example");
    attempts.sort_unstable();
    assert_eq!(attempts, [[1; 10].as_slice(), &[2]].concat());
}

#[tokio::test(start_paused = true)]
async fn whoever_never_answers_is_tried_as_often_as_the_schedule_says() {
    let config = EngineConfig {
        schedule: RetrySchedule::new(vec![Duration::from_secs(2); 2]).unwrap(),
        ..EngineConfig::default()
    };
    let mut world = World::with(config, |_, _| Play::Hang).await;
    world.endpoint_at("https://hanging.example/", None).await;
    for _ in 0..60 {
        world.event().await;
        pass(&world, 1).await;
    }
    let mut most: f64 = 0.0;
    for _ in 0..600 {
        pass(&world, 1).await;
        most = most.max(world.gauge("postrider_requests_in_flight"));
        if world.depth().await == Depth::default() {
            break;
        }
    }
    world.all_ended().await;
    assert!(most <= 16.0, "{most} requests under way at once");
    assert_eq!(attempts_at(&world, "hanging.example"), [3; 60]);
    assert_eq!(dead_letters(&world).await.len(), 60);
    for _ in 0..180 {
        world.settled().await;
    }
}

/// Events of a type of its own for an endpoint of its own.
struct Pair {
    endpoint: Endpoint,
    event_type: EventTypeName,
}

async fn pairs(world: &World, count: usize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for number in 0..count {
        let event_type = EventTypeName::new(&format!("order.{number}")).unwrap();
        let only = Some(vec![event_type.clone()]);
        let url = format!("https://{number}.example/");
        pairs.push(Pair {
            endpoint: world.endpoint_at(&url, only).await,
            event_type,
        });
    }
    pairs
}

async fn event_for(world: &World, pair: &Pair) -> Item {
    let mut item = world.item(Work::Match).await;
    Arc::get_mut(&mut item.event).unwrap().event_type = pair.event_type.clone();
    world.publish(vec![item.clone()]).await;
    item
}

/// Eight packs may be held; six that hang are.
async fn six_hang(
    script: impl Fn(&Outgoing) -> Play + Send + Sync + 'static,
) -> (World, Vec<Pair>) {
    let config = EngineConfig {
        prefetch: 8,
        ..EngineConfig::default()
    };
    let world = World::with(config, move |_, request| script(request)).await;
    let pairs = pairs(&world, 7).await;
    for (before, pair) in pairs.iter().take(6).enumerate() {
        event_for(&world, pair).await;
        world
            .until("each is a pack", |depth| depth.leased == before as u64 + 1)
            .await;
    }
    world.requests_under_way(6).await;
    (world, pairs)
}

#[tokio::test(start_paused = true)]
async fn requests_that_pin_too_much_go_on_without_their_packs_and_end_once() {
    let hangs = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&hangs);
    let (mut world, pairs) = six_hang(move |request| match request.to.url().host_str() {
        Some("0.example") => Play::Slow(Duration::from_secs(10)),
        Some("6.example") => Play::Status(200),
        _ if still.load(Relaxed) => Play::Hang,
        _ => Play::Status(200),
    })
    .await;
    pass(&world, 2).await;
    world
        .until("half of what may be held is free", |depth| {
            depth.leased == 4 && depth.waiting == 2
        })
        .await;
    assert_eq!(world.counter("postrider_rehomed_packs_total"), 2.0);
    assert_eq!(world.counter("postrider_rehomed_targets_total"), 2.0);
    assert_eq!(world.gauge("postrider_requests_in_flight"), 6.0);
    event_for(&world, &pairs[6]).await;
    assert_eq!(world.settled().await.record.endpoint, pairs[6].endpoint.id);
    pass(&world, 8).await;
    let slow = world.settled().await;
    assert_eq!(
        (slow.record.endpoint, slow.next),
        (pairs[0].endpoint.id, Disposition::Delivered)
    );
    hangs.store(false, Relaxed);
    pass(&world, 5).await;
    for _ in 0..5 {
        assert!(matches!(world.settled().await.next, Disposition::Retry(_)));
    }
    pass(&world, 8).await;
    for _ in 0..5 {
        let retried = world.settled().await;
        assert_eq!(
            (retried.record.attempt, retried.next),
            (2, Disposition::Delivered)
        );
    }
    // The copies come after the deadline and 5 s, stretched by at most 1.42.
    pass(&world, 14).await;
    world.all_ended().await;
    assert_eq!(world.counter("postrider_claims_lost_total"), 2.0);
    assert_eq!(world.sender.requests().len(), 6 + 1 + 5);
    assert!(dead_letters(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_handed_off_keeps_its_pack() {
    let (mut world, _) = six_hang(|_| Play::Slow(Duration::from_secs(10))).await;
    world.broker.set(true);
    pass(&world, 5).await;
    assert_eq!(world.depth().await.leased, 6);
    assert_eq!(world.counter("postrider_rehomed_packs_total"), 0.0);
    world.broker.set(false);
    pass(&world, 1).await;
    world.until("half is free", |depth| depth.leased == 4).await;
    pass(&world, 5).await;
    for _ in 0..6 {
        assert_eq!(world.settled().await.next, Disposition::Delivered);
    }
    pass(&world, 30).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 6);
}

/// The retry cannot be handed off, and the pack is gone already: its copy makes the attempt again, nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_copy_whose_attempt_could_not_be_settled_repeats_it() {
    let (mut world, _) = six_hang(|_| Play::Hang).await;
    pass(&world, 2).await;
    world.until("half is free", |depth| depth.leased == 4).await;
    world.broker.set(true);
    pass(&world, DEADLINE.as_secs() - 2).await;
    world
        .until("the packs that were held are given back", |depth| {
            depth.leased == 0 && depth.waiting == 6
        })
        .await;
    world.broker.set(false);
    pass(&world, 13).await;
    world.requests_under_way(2).await;
    assert_eq!(world.sender.requests().len(), 6 + 2);
    pass(&world, DEADLINE.as_secs()).await;
    for _ in 0..2 {
        let repeated = world.settled().await;
        assert_eq!(repeated.record.attempt, 1);
        assert!(matches!(repeated.next, Disposition::Retry(_)));
    }
}
