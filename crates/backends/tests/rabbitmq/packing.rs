//! Packs form by themselves where much is published at once, and only there.

use std::collections::HashSet;
use std::sync::Arc;

use postrider_backends::rabbitmq::{Options, RabbitMq};
use postrider_core::ports::Broker;

use super::support::{Place, wall_clock};
use super::work::{item, item_of, items, lease, messages, messages_in, take_all};

/// Publishes by as many tasks, each one item after the other. Returns how many items and packs came of it.
async fn publish_by(broker: &Arc<RabbitMq>, tasks: usize, each: usize) -> (usize, u64) {
    let publish = |_| {
        let broker = Arc::clone(broker);
        tokio::spawn(async move {
            for _ in 0..each {
                broker.publish(wall_clock(), vec![item()]).await.unwrap();
            }
        })
    };
    let running: Vec<_> = (0..tasks).map(publish).collect();
    for task in running {
        task.await.unwrap();
    }
    (
        tasks * each,
        broker.depth(wall_clock()).await.unwrap().ready,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_form_under_load() {
    let place = Place::new();
    let broker = place.process().await;
    let (items, packs) = publish_by(&broker, 64, 20).await;
    assert!(
        packs * 4 <= items as u64,
        "64 publishers on two shards share packs: {items} items in {packs}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_company() {
    let place = Place::new();
    let broker = place.process().await;
    let (items, packs) = publish_by(&broker, 1, 20).await;
    assert_eq!(
        packs, items as u64,
        "one after the other, each goes at once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_larger_than_all_room_is_published_and_others_wait_their_turn() {
    let place = Place::new();
    let options = Options {
        max_waiting_bytes: 64 * 1024,
        ..place.options()
    };
    let broker = Arc::new(RabbitMq::new(&place.url(), options).unwrap());
    broker.start();
    broker.up().await;
    let calls: Vec<_> = (0..8).map(|_| vec![item_of(2, 20_000); 1]).collect();
    let large: Vec<_> = (0..20).map(|_| item_of(2, 20_000)).collect();
    let mut wanted = messages(&large);
    wanted.extend(calls.iter().flat_map(|call| messages(call)));
    let publish = |call| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.publish(wall_clock(), call).await })
    };
    let running: Vec<_> = calls.into_iter().chain([large]).map(publish).collect();
    for task in running {
        task.await.unwrap().unwrap();
    }
    assert_eq!(take_all(&broker, &wanted).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_does_not_keep_others_waiting() {
    let place = Place::new();
    let broker = place.process().await;
    for _ in 0..300 {
        broker
            .publish(wall_clock(), vec![item_of(1, 10)])
            .await
            .unwrap();
    }
    // Some of these tenants share a shard with the one that floods, and some do not.
    let others: Vec<_> = (2..10).map(|app| item_of(app, 10)).collect();
    broker.publish(wall_clock(), others.clone()).await.unwrap();
    let held = lease(&broker, 1).await;
    super::work::eventually("everything to be fetched", async || {
        let depth = broker.depth(wall_clock()).await.unwrap();
        (depth.ready + depth.leased >= 301).then_some(())
    })
    .await;
    let mut found: HashSet<_> = held.iter().flat_map(messages_in).collect();
    let packs = broker.lease(wall_clock(), 24).await.unwrap().packs;
    found.extend(packs.iter().flat_map(messages_in));
    let came = messages(&others).intersection(&found).count();
    assert!(
        came >= 4,
        "{came} of 8 quiet tenants among the first 25 packs"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_many_items_goes_in_few_packs() {
    let place = Place::new();
    let broker = place.process().await;
    let items = items(1_000);
    broker.publish(wall_clock(), items.clone()).await.unwrap();
    let packs = broker.depth(wall_clock()).await.unwrap().ready;
    assert!(
        (16..=18).contains(&packs),
        "1,000 items of two shards in {packs} packs"
    );
    assert_eq!(take_all(&broker, &messages(&items)).await, messages(&items));
}
