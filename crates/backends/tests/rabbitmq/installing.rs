//! What is declared, when, and what is said where something is in the way.

use postrider_backends::rabbitmq::RabbitMq;
use postrider_core::ports::{Broker, PortError, Probe};
use serde_json::json;

use super::api;
use super::support::{Place, wall_clock};
use super::work::{eventually, item, publish_again};

fn process(place: &Place) -> RabbitMq {
    RabbitMq::new(&place.url(), place.options()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_begins_when_the_first_process_starts() {
    let place = Place::new();
    let first = process(&place);
    assert!(first.is_new_installation().await.unwrap());
    let report = first.check().await.unwrap();
    assert!(report.is_new && report.missing.is_empty() && report.different.is_empty());
    assert!(report.server.starts_with("RabbitMQ "), "{}", report.server);
    assert!(
        first.is_new_installation().await.unwrap(),
        "whoever asks declares nothing"
    );
    let early = first.publish(wall_clock(), vec![item()]).await;
    assert!(
        matches!(early, Err(PortError::Unavailable { .. })),
        "{early:?}"
    );

    first.start();
    first.start();
    first.up().await;
    assert!(!process(&place).is_new_installation().await.unwrap());
    let report = first.check().await.unwrap();
    assert!(!report.is_new);
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    assert!(report.different.is_empty(), "{:?}", report.different);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_again_declares_the_same_once_more() {
    let place = Place::new();
    for _ in 0..3 {
        let broker = place.process().await;
        broker.probe().await.unwrap();
        broker.publish(wall_clock(), vec![item()]).await.unwrap();
        broker.close().await;
    }
    let last = place.process().await;
    assert_eq!(last.depth(wall_clock()).await.unwrap().ready, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_another_shape_is_named_and_waited_for() {
    let place = Place::new();
    let name = "pr.v1.delay.3";
    let path = format!("/api/queues/{}/{name}", place.vhost);
    let arguments = json!({"x-queue-type": "quorum", "x-message-ttl": 17});
    let strange = json!({"durable": true, "arguments": arguments});
    api::must("PUT", &path, Some(&strange));
    let broker = process(&place);
    broker.start();
    let cause = eventually("the reason why nothing can be published", async || {
        let error = broker.probe().await.unwrap_err().to_string();
        error.contains(name).then_some(error)
    })
    .await;
    assert!(cause.contains("delete it"), "says what to do: {cause}");
    assert!(
        cause.contains("x-message-ttl") || cause.contains("x-dead-letter"),
        "{cause}"
    );
    let refused = broker
        .publish(wall_clock(), vec![item()])
        .await
        .unwrap_err();
    assert!(refused.changed_nothing() && refused.to_string().contains(name));

    api::must("DELETE", &path, None);
    publish_again(&broker).await;
    broker.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checking_finds_what_is_missing_and_what_is_different_and_changes_nothing() {
    let place = Place::new();
    place.process().await.close().await;
    let queue = |name: &str| format!("/api/queues/{}/{name}", place.vhost);
    api::must("DELETE", &queue("pr.v1.retry.l2"), None);
    api::must("DELETE", &queue("pr.v1.delay.40"), None);
    let strange = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
    api::must("PUT", &queue("pr.v1.delay.40"), Some(&strange));
    for _ in 0..2 {
        let report = process(&place).check().await.unwrap();
        assert!(!report.is_new);
        assert_eq!(report.missing, ["pr.v1.retry.l2"]);
        assert_eq!(report.different.len(), 1);
        assert!(report.different[0].contains("pr.v1.delay.40"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_or_virtual_host_is_told_without_the_password() {
    let place = Place::new();
    let url = place.url();
    let (_, rest) = url.split_once('@').unwrap();
    for wrong in [format!("amqp://guest:sesame@{rest}"), format!("{url}-none")] {
        let broker = RabbitMq::new(&wrong, place.options()).unwrap();
        broker.start();
        let cause = eventually("the reason", async || {
            let error = broker.probe().await.unwrap_err().to_string();
            error.contains("the server says").then_some(error)
        })
        .await;
        assert!(!cause.contains("sesame"), "{cause}");
        assert!(broker.is_new_installation().await.is_err());
        assert!(broker.check().await.is_err());
        broker.close().await;
    }
}
