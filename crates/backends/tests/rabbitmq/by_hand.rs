//! What somebody publishes to a queue by hand, as the management interface does it: its routing key is the queue's name.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_core::ports::{Broker, Depth, Source};
use tokio::time::timeout;

use super::api;
use super::support::{Place, wall_clock};
use super::work::eventually;

/// The delay of what is returned, twice, and as much again.
const PATIENCE: Duration = Duration::from_secs(120);

impl Place {
    fn publish_by_hand(&self, queue: &str, payload: &str) {
        let path = format!("/api/exchanges/{}/amq.default/publish", self.vhost);
        let message = serde_json::json!({
            "properties": { "delivery_mode": 2 },
            "routing_key": queue,
            "payload": payload,
            "payload_encoding": "string",
        });
        let routed = api::must("POST", &path, Some(&message));
        assert_eq!(routed["routed"], true, "{queue} takes it");
    }
}

/// Each is leased, given back, and leased again: nothing is stranded on its way, whatever its routing key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_on_a_queue_by_hand_finds_its_way() {
    let place = Place::new();
    let broker = place.process().await;
    let queues = [
        "pr.v1.events.0",
        "pr.v1.events.l0",
        "pr.v1.retry.3",
        "pr.v1.retry.l3",
        "pr.v1.dead",
        "pr.v1.delay.0",
        "pr.v1.delay.7",
        "pr.v1.returned",
        "pr.v1.quarantine",
        "pr.v1.quarantine.returned",
    ];
    for queue in queues {
        place.publish_by_hand(queue, queue);
    }
    for round in 0..2 {
        let mut seen = BTreeSet::new();
        let all = timeout(PATIENCE, async {
            while seen.len() < queues.len() {
                for pack in broker.lease(wall_clock(), 64).await.unwrap().packs {
                    let from = String::from_utf8(pack.bytes.to_vec()).unwrap();
                    let apart = from.contains("quarantine");
                    assert_eq!(pack.source == Source::Quarantine, apart, "{from}");
                    seen.insert(from);
                    let receipts = vec![pack.receipt];
                    match round {
                        0 => broker.give_back(wall_clock(), receipts).await.unwrap(),
                        _ => broker.ack(receipts).await.unwrap(),
                    }
                }
                let _ = timeout(Duration::from_millis(100), broker.wait()).await;
            }
        });
        assert!(
            all.await.is_ok(),
            "in round {round} only these came: {seen:?}"
        );
    }
    eventually("nothing is left", async || {
        let depth = broker.depth(wall_clock()).await.unwrap();
        (depth == Depth::default()).then_some(())
    })
    .await;
}
