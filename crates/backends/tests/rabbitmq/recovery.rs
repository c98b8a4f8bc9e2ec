//! Whatever happens between this process and the server: nothing that was reported as published is lost, nothing that was
//! reported as not published is there, and everything goes on by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_backends::rabbitmq::{Options, RabbitMq};
use postrider_core::id::MessageId;
use postrider_core::ports::{Broker, PortError, Probe};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::api;
use super::proxy::Proxy;
use super::support::{Place, wall_clock};
use super::work::{
    PATIENCE, eventually, item, lease, messages, messages_in, publish_again, take_all,
};

/// What publishers were told.
#[derive(Debug, Default)]
struct Ledger {
    published: HashSet<MessageId>,
    perhaps: HashSet<MessageId>,
    not: HashSet<MessageId>,
}

impl Ledger {
    fn merge(&mut self, other: Self) {
        self.published.extend(other.published);
        self.perhaps.extend(other.perhaps);
        self.not.extend(other.not);
    }
}

/// Publishes without a pause until `enough` is told.
async fn publish_on(broker: Arc<RabbitMq>, enough: Arc<Notify>) -> Ledger {
    let mut ledger = Ledger::default();
    let stop = enough.notified();
    tokio::pin!(stop);
    loop {
        let calls = [item(), item(), item()];
        let ids = messages(&calls);
        let published = tokio::select! {
            biased;
            published = broker.publish(wall_clock(), calls.to_vec()) => published,
            () = &mut stop => {
                ledger.perhaps.extend(ids);
                return ledger;
            }
        };
        match published {
            Ok(()) => ledger.published.extend(ids),
            Err(error) if error.changed_nothing() => {
                ledger.not.extend(ids);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(_) => ledger.perhaps.extend(ids),
        }
    }
}

/// Cuts every connection of a virtual host.
fn cut_all(place: &Place) -> usize {
    let connections = place.connections();
    for (name, _) in &connections {
        let name = name
            .replace(' ', "%20")
            .replace('>', "%3E")
            .replace(':', "%3A");
        // It may have gone meanwhile.
        let _ = api::ask("DELETE", &format!("/api/connections/{name}"), None);
    }
    connections.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_under_load_lose_nothing() {
    let place = Place::new();
    let broker = place.process().await;
    let enough = Arc::new(Notify::new());
    let publish = |_| tokio::spawn(publish_on(Arc::clone(&broker), Arc::clone(&enough)));
    let publishers: Vec<_> = (0..16).map(publish).collect();
    let mut found = HashSet::new();
    let mut cut = 0;
    while cut < 10 {
        // The server sees a connection in its list a moment after it was made; work must have flowed in between.
        let some = lease(&broker, 64).await;
        found.extend(some.iter().flat_map(messages_in));
        let receipts = some.iter().map(|pack| pack.receipt).collect();
        broker.ack(receipts).await.unwrap();
        cut += cut_all(&place);
    }
    enough.notify_waiters();
    let mut ledger = Ledger::default();
    for publisher in publishers {
        ledger.merge(publisher.await.unwrap());
    }
    let missing: HashSet<_> = ledger.published.difference(&found).copied().collect();
    found.extend(take_all(&broker, &missing).await);
    let Ledger {
        published,
        perhaps,
        not,
    } = &ledger;
    assert!(published.is_subset(&found), "published means: comes");
    assert!(found.is_disjoint(not), "not published means: never comes");
    let known: HashSet<_> = published.union(perhaps).copied().collect();
    assert!(
        found.is_subset(&known),
        "nothing comes that nobody published"
    );
    assert!(
        published.len() > 100,
        "much was published: {}",
        published.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_deleted_are_made_anew_and_consumed() {
    let place = Place::new();
    let broker = place.process().await;
    let first = item();
    broker
        .publish(wall_clock(), vec![first.clone()])
        .await
        .unwrap();
    assert_eq!(
        take_all(&broker, &messages(std::slice::from_ref(&first))).await,
        messages(&[first])
    );
    for shard in 0..8 {
        api::must(
            "DELETE",
            &format!("/api/queues/{}/pr.v1.events.{shard}", place.vhost),
            None,
        );
    }
    // A question about a queue that is missing closes the channel it is asked on.
    let _ = broker.depth(wall_clock()).await;
    for _ in 0..3 {
        let item = publish_again(&broker).await;
        take_all(&broker, &messages(&[item])).await;
    }
    let depth = eventually("depth", async || broker.depth(wall_clock()).await.ok()).await;
    assert_eq!((depth.ready, depth.leased), (0, 0));
    broker.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_queue_is_never_reported_as_published() {
    let place = Place::new();
    let broker = place.process().await;
    for round in 0..4 {
        // Two ways for a publish to go nowhere: it is returned, or the server closes the channel.
        let gone = ["queues", "exchanges"][round % 2];
        let names: Vec<String> = match gone {
            "queues" => (0..8)
                .map(|shard| format!("pr.v1.events.{shard}"))
                .collect(),
            _ => vec!["pr.v1.events".to_owned()],
        };
        for name in names {
            api::must(
                "DELETE",
                &format!("/api/{gone}/{}/{name}", place.vhost),
                None,
            );
        }
        let item = item();
        let refused = broker.publish(wall_clock(), vec![item]).await.unwrap_err();
        assert!(
            matches!(refused, PortError::Unavailable { .. }),
            "{gone}: {refused}"
        );
        let item = publish_again(&broker).await;
        take_all(&broker, &messages(&[item])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_without_a_server_and_finds_it_when_it_comes() {
    let place = Place::new();
    let proxy = Proxy::start().await;
    proxy.refuse().await;
    let broker = RabbitMq::new(&proxy.url(&place), place.options()).unwrap();
    broker.start();
    assert!(
        broker
            .lease(wall_clock(), 10)
            .await
            .unwrap()
            .packs
            .is_empty()
    );
    for _ in 0..3 {
        let asked = Instant::now();
        let refused = broker
            .publish(wall_clock(), vec![item()])
            .await
            .unwrap_err();
        assert!(refused.changed_nothing(), "{refused}");
        assert!(asked.elapsed() < Duration::from_secs(1), "it fails at once");
        assert!(broker.probe().await.is_err());
    }
    proxy.forward().await;
    let back = Instant::now();
    let item = publish_again(&broker).await;
    let took = back.elapsed();
    assert!(took < Duration::from_secs(6), "back after {took:?}");
    take_all(&broker, &messages(&[item])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_noticed_and_what_was_under_way_is_unknown() {
    let place = Place::new();
    let proxy = Proxy::start().await;
    let options = Options {
        confirm_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_secs(2),
        heartbeat: Duration::from_secs(1),
        ..place.options()
    };
    let broker = RabbitMq::new(&proxy.url(&place), options).unwrap();
    broker.start();
    broker.up().await;
    let held = publish_again(&broker).await;
    let pack = lease(&broker, 1).await.remove(0);
    assert_eq!(messages_in(&pack), [held.event.message]);

    proxy.freeze();
    let answer = timeout(PATIENCE, broker.publish(wall_clock(), vec![item()])).await;
    let answer = answer.unwrap().unwrap_err();
    assert!(matches!(answer, PortError::Unknown { .. }), "{answer}");
    eventually("the silence to be noticed", async || {
        let refused = broker
            .publish(wall_clock(), vec![item()])
            .await
            .unwrap_err();
        refused.changed_nothing().then_some(())
    })
    .await;
    assert!(broker.probe().await.is_err());

    proxy.forward().await;
    let item = publish_again(&broker).await;
    let found = take_all(&broker, &messages(&[item, held])).await;
    assert!(
        !found.is_empty(),
        "what was leased on the lost connection comes again"
    );
    broker.ack(vec![pack.receipt]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_in_time_whether_or_not_the_server_answers() {
    let place = Place::new();
    let proxy = Proxy::start().await;
    let broker = RabbitMq::new(&proxy.url(&place), place.options()).unwrap();
    broker.start();
    broker.up().await;
    publish_again(&broker).await;
    let pack = lease(&broker, 1).await.remove(0);
    proxy.freeze();
    broker.ack(vec![pack.receipt]).await.unwrap();
    let asked = Instant::now();
    timeout(PATIENCE, broker.close()).await.unwrap();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(20), "closed after {took:?}");
}
