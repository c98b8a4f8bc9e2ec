//! Several nodes are named, and some of them are out of order. Each is the same server, behind a network of its own.

use std::time::Duration;

use postrider_backends::rabbitmq::{Options, RabbitMq};
use postrider_core::ports::{Broker, Probe};
use tokio::time::{Instant, timeout};

use super::proxy::Proxy;
use super::support::{Place, wall_clock};
use super::work::{PATIENCE, eventually, item, publish_again};

/// Deadlines of a network that is near.
fn options(place: &Place) -> Options {
    Options {
        confirm_timeout: Duration::from_millis(500),
        heartbeat: Duration::from_secs(1),
        ..place.options()
    }
}

fn named(place: &Place, nodes: &[Proxy]) -> String {
    let urls: Vec<String> = nodes.iter().map(|node| node.url(place)).collect();
    urls.join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_refuses_or_is_silent_is_passed_over_at_once() {
    let place = Place::new();
    let nodes = [
        Proxy::start().await,
        Proxy::start().await,
        Proxy::start().await,
    ];
    nodes[0].refuse().await;
    nodes[1].freeze();
    for _ in 0..6 {
        let broker = RabbitMq::new(&named(&place, &nodes), options(&place)).unwrap();
        let began = Instant::now();
        assert!(broker.is_new_installation().await.is_ok());
        let took = began.elapsed();
        assert!(took < Duration::from_secs(6), "connected after {took:?}");
    }
    let broker = RabbitMq::new(&named(&place, &nodes), options(&place)).unwrap();
    let report = broker.check().await.unwrap();
    assert_eq!(report.node, nodes[2].node());
    assert!(report.strangers.is_empty(), "{:?}", report.strangers);
    assert_eq!(report.away.len(), 2, "{:?}", report.away);
    assert!(report.away[0].starts_with(&nodes[0].node()));
    assert!(report.away[1].starts_with(&nodes[1].node()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_node_fails_another_one_takes_over() {
    let place = Place::new();
    let nodes = [Proxy::start().await, Proxy::start().await];
    let broker = RabbitMq::new(&named(&place, &nodes), options(&place)).unwrap();
    broker.start();
    timeout(PATIENCE, broker.up()).await.unwrap();
    for round in 0..4 {
        let failing = &nodes[round % 2];
        if round < 2 {
            failing.refuse().await;
        } else {
            failing.freeze();
        }
        let failed = Instant::now();
        publish_again(&broker).await;
        eventually("the other node", async || broker.probe().await.ok()).await;
        let took = failed.elapsed();
        assert!(took < Duration::from_secs(15), "round {round}: {took:?}");
        failing.forward().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_node_answers_each_is_told_with_its_cause() {
    let place = Place::new();
    let nodes = [Proxy::start().await, Proxy::start().await];
    nodes[0].refuse().await;
    nodes[1].freeze();
    let options = Options {
        connect_timeout: Duration::from_secs(1),
        ..options(&place)
    };
    let broker = RabbitMq::new(&named(&place, &nodes), options).unwrap();
    broker.start();
    let cause = eventually("the causes", async || {
        let error = broker.probe().await.unwrap_err().to_string();
        error.contains(&nodes[0].node()).then_some(error)
    })
    .await;
    assert!(cause.contains("refused") && cause.contains("no answer within"));
    assert!(cause.contains(&nodes[1].node()) && !cause.contains("guest"));
    let refused = broker.publish(wall_clock(), vec![item()]).await;
    assert!(refused.unwrap_err().changed_nothing());
    nodes[1].forward().await;
    publish_again(&broker).await;
}
