//! What goes wrong on our side costs nobody a delivery, and nobody gets one twice because of it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use postrider_core::attempt::Disposition;
use postrider_core::message::Work;
use postrider_core::pair::ChainId;
use postrider_core::{Endpoint, Item, Target, Trigger};
use postrider_engine::EngineConfig;
use postrider_engine::testing::Play;
use tokio::time::advance;

use crate::world::World;

fn target(world: &World, endpoint: &Endpoint, attempt: u16) -> Target {
    Target {
        endpoint: endpoint.id,
        era: 0,
        chain: ChainId::FIRST,
        attempt,
        due: world.clock.now(),
        trigger: Trigger::Scheduled,
    }
}

fn again(item: &Item) -> Item {
    Item {
        maybe_dup: true,
        ..item.clone()
    }
}

fn is_for(request: &postrider_engine::Outgoing, item: &Item) -> bool {
    request.headers["webhook-id"].to_str().unwrap() == item.event.message.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_outcome_is_stored_does_not_count_as_unguarded() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    world.endpoint().await;
    world.event().await;
    world.settled().await;
    assert_eq!(world.counter("postrider_unguarded_total"), 0.0);
    world.store.set(true);
    world.event().await;
    world.settled().await;
    assert_eq!(world.counter("postrider_unguarded_total"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_does_not_lapse_while_its_holder_waits_for_a_slot() {
    let one_slot = EngineConfig {
        slots: 1,
        ..EngineConfig::default()
    };
    let mut world = World::with(one_slot, |_, _| Play::Slow(Duration::from_secs(10))).await;
    let endpoint = world.endpoint().await;
    let item = world
        .item(Work::Targets(vec![target(&world, &endpoint, 2)]))
        .await;
    for before in 1..=2 {
        world.event().await;
        world
            .until("it is held", |depth| depth.leased == before)
            .await;
    }
    // Two carriers of one attempt, behind 20 s of other requests.
    world.publish(vec![item.clone()]).await;
    world.until("it is held", |depth| depth.leased == 3).await;
    world.publish(vec![again(&item)]).await;
    world
        .until("both wait", |depth| depth.leased + depth.waiting == 4)
        .await;
    for _ in 0..3 {
        world.requests_under_way(1).await;
        advance(Duration::from_secs(10)).await;
        world.settled().await;
    }
    advance(Duration::from_secs(30)).await;
    world.all_ended().await;
    let requests = world.sender.requests();
    let made = requests.iter().filter(|request| is_for(request, &item));
    assert_eq!(made.count(), 1, "an attempt was made twice");
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_delivery_leaves_the_others_of_its_pack_alone() {
    let calls = AtomicUsize::new(0);
    let mut world = World::new(move |_, _| match calls.fetch_add(1, Relaxed) {
        0 => Play::Slow(Duration::from_secs(1)),
        1 => panic!("a test says so"),
        _ => Play::Status(200),
    })
    .await;
    world.endpoint().await;
    let pack = vec![
        world.item(Work::Match).await,
        world.item(Work::Match).await,
        world.item(Work::Match).await,
    ];
    world.publish(pack.clone()).await;
    world.settled().await;
    advance(Duration::from_secs(1)).await;
    world.settled().await;
    world
        .until("the pack was given back", |depth| {
            depth.leased == 0 && depth.waiting == 1
        })
        .await;
    advance(Duration::from_secs(33)).await;
    assert_eq!(world.settled().await.record.attempt, 1);
    world.all_ended().await;
    let requests = world.sender.requests();
    let made = |item| {
        requests
            .iter()
            .filter(|request| is_for(request, item))
            .count()
    };
    assert_eq!(pack.iter().map(made).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_had_to_wait_for_the_store_is_remembered_from_then_on() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    world.store.set(true);
    world.publish(vec![item.clone()]).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    advance(Duration::from_secs(3600)).await;
    // The store is there again, and so is the pack, before the outcome could be stored.
    world.store.set(false);
    world.publish(vec![again(&item)]).await;
    world.until("it was taken", |depth| depth.ready == 0).await;
    for _ in 0..4 {
        advance(Duration::from_secs(1)).await;
        world
            .until("nothing is held", |depth| depth.leased == 0)
            .await;
    }
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_leaves_outcomes_unstored_is_not_clean() {
    let mut world = World::new(|_, _| Play::Status(200)).await;
    world.endpoint().await;
    world.store.set(true);
    world.event().await;
    world.settled().await;
    assert!(!world.drain().await, "an outcome was lost with the process");
}
