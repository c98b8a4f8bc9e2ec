//! Somebody deletes queues and exchanges while everything runs: they are made anew by whoever notices, what was in them is
//! reported once, and what workers had fetched of it is not lost.

use std::sync::Arc;

use postrider_backends::rabbitmq::RabbitMq;
use postrider_core::ports::{Broker, HandOff, Probe, Until};

use super::api;
use super::support::{Place, wall_clock};
use super::work::{eventually, item, lease, messages, messages_in, publish_again, take_all};

fn delete(what: &str) {
    api::must("DELETE", &format!("/api/{what}"), None);
}

fn queue(place: &Place, name: &str) -> String {
    format!("queues/{}/{name}", place.vhost)
}

fn exchange(place: &Place, name: &str) -> String {
    format!("exchanges/{}/{name}", place.vhost)
}

fn exists(what: &str) -> bool {
    api::ask("GET", &format!("/api/{what}"), None).0 == 200
}

async fn counted(broker: &RabbitMq) {
    eventually("a count", async || broker.depth(wall_clock()).await.ok()).await;
}

fn made_anew(brokers: &[Arc<RabbitMq>], kind: &str) -> u64 {
    let of = |broker: &Arc<RabbitMq>| broker.losses().queues[kind];
    brokers.iter().map(of).sum()
}

/// Nobody consumes, so that what was published waits on the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_in_a_deleted_queue_is_counted_as_lost_by_one_process() {
    let place = Place::new();
    let brokers = [place.process().await, place.process().await];
    for _ in 0..5 {
        publish_again(&brokers[0]).await;
    }
    for broker in &brokers {
        counted(broker).await;
    }
    for shard in 0..8 {
        delete(&queue(&place, &format!("pr.v1.events.{shard}")));
    }
    // Both look, at the same time.
    let _ = tokio::join!(
        brokers[0].depth(wall_clock()),
        brokers[1].depth(wall_clock())
    );
    for broker in &brokers {
        counted(broker).await;
        broker.probe().await.unwrap();
    }
    assert_eq!(made_anew(&brokers, "events"), 8);
    let lost = |broker: &Arc<RabbitMq>| broker.losses().packs["events"];
    assert_eq!(brokers.iter().map(lost).sum::<u64>(), 5);
    let item = publish_again(&brokers[1]).await;
    take_all(&brokers[0], &messages(&[item])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_had_of_a_deleted_queue_comes_again_unless_it_is_done() {
    let place = Place::new();
    let broker = place.process().await;
    let first = publish_again(&broker).await;
    let done = lease(&broker, 1).await.remove(0);
    let second = publish_again(&broker).await;
    let given_back = lease(&broker, 1).await.remove(0);
    let third = publish_again(&broker).await;
    // Its consumer has it when the server has none that is ready.
    eventually("everything is fetched", async || {
        let depth = broker.depth(wall_clock()).await.ok()?;
        (depth.leased == 2 && depth.ready == 1).then_some(())
    })
    .await;
    for shard in 0..8 {
        delete(&queue(&place, &format!("pr.v1.events.{shard}")));
    }
    eventually("all is made anew", async || {
        let _ = broker.depth(wall_clock()).await;
        let all = (0..8).all(|shard| exists(&queue(&place, &format!("pr.v1.events.{shard}"))));
        all.then_some(())
    })
    .await;

    let again = lease(&broker, 1).await.remove(0);
    assert_eq!(messages_in(&again), [third.event.message]);
    assert!(again.redelivered, "it is not known what became of it");
    broker.ack(vec![again.receipt, done.receipt]).await.unwrap();
    assert_eq!(messages_in(&done), [first.event.message]);
    broker
        .give_back(wall_clock(), vec![given_back.receipt])
        .await
        .unwrap();
    let found = take_all(&broker, &messages(std::slice::from_ref(&second))).await;
    assert_eq!(found, messages(&[second]), "and nothing else comes");
    assert_eq!(broker.losses().packs["events"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queue_that_is_deleted_is_made_anew_without_being_used() {
    let place = Place::new();
    let broker = place.process().await;
    counted(&broker).await;
    let names = [
        "pr.v1.delay.3",
        "pr.v1.retry.l1",
        "pr.v1.returned",
        "pr.v1.dead",
        "pr.v1.quarantine",
        "pr.v1.quarantine.returned",
    ];
    for name in names {
        delete(&queue(&place, name));
    }
    delete(&exchange(&place, "pr.v1.returned"));
    counted(&broker).await;
    for name in names {
        assert!(exists(&queue(&place, name)), "{name}");
    }
    assert!(exists(&exchange(&place, "pr.v1.returned")));
    let recreated = broker.losses().queues;
    let recreated: u64 = recreated.values().sum();
    assert_eq!(recreated, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_ladder_that_is_missing_is_made_anew_by_a_hand_off() {
    let place = Place::new();
    let broker = place.process().await;
    for step in 0..8 {
        delete(&queue(&place, &format!("pr.v1.delay.{step}")));
        delete(&exchange(&place, &format!("pr.v1.delay.{step}")));
    }
    let item = item();
    eventually("a hand-off", async || {
        let hand_off = HandOff {
            item: item.clone(),
            until: Until::After(std::time::Duration::from_secs(1)),
        };
        broker.hand_off(wall_clock(), vec![hand_off]).await.ok()
    })
    .await;
    take_all(&broker, &messages(&[item])).await;
}

/// Who may declare nothing cannot mend anything either, and says so until he may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_for_as_long_as_it_is() {
    let place = Place::new();
    let broker = place.process().await;
    counted(&broker).await;
    delete(&queue(&place, "pr.v1.retry.4"));
    permit(&place, "");
    broker.depth(wall_clock()).await.unwrap_err();
    let told = broker.probe().await.unwrap_err().to_string();
    assert!(
        told.contains("missing on the server: pr.v1.retry.4"),
        "{told}"
    );
    publish_again(&broker).await;

    permit(&place, ".*");
    counted(&broker).await;
    broker.probe().await.unwrap();
    assert_eq!(broker.losses().queues["retry"], 1);
}

/// What the user of the tests may declare and delete.
fn permit(place: &Place, configure: &str) {
    let url = super::support::variable("POSTRIDER_TEST_AMQP");
    let user = url.split("//").nth(1).unwrap().split(':').next().unwrap();
    let path = format!("/api/permissions/{}/{user}", place.vhost);
    let permissions = serde_json::json!({"configure": configure, "write": ".*", "read": ".*"});
    api::must("PUT", &path, Some(&permissions));
}
