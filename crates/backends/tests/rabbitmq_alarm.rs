//! What goes on while the server has an alarm, and what does not.
//!
//! An alarm is the whole server's, so this is a program of its own, which Cargo runs when no other test of this crate runs.
//! `POSTRIDER_TEST_RABBITMQCTL` names the command that raises it; `./scripts/test` sets it.
#![cfg(all(feature = "rabbitmq", feature = "embedded"))]
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

#[allow(dead_code, reason = "another program of tests needs the rest")]
#[path = "rabbitmq/api.rs"]
mod api;
#[allow(dead_code, reason = "another program of tests needs the rest")]
#[path = "rabbitmq/support.rs"]
mod support;
#[allow(dead_code, reason = "another program of tests needs the rest")]
#[path = "rabbitmq/work.rs"]
mod work;

use std::process::Command;
use std::time::Duration;

use postrider_backends::rabbitmq::{Options, RabbitMq};
use postrider_core::ports::{Broker, HandOff, Probe, Until};
use tokio::time::Instant;

use self::support::{Place, variable, wall_clock};
use self::work::{eventually, item, lease, messages, messages_in, publish_again, take_all};

/// An alarm that is over when this is dropped, however the test ends.
struct Alarm {
    usual: String,
}

impl Alarm {
    fn raise() -> Self {
        let nodes = api::must("GET", "/api/nodes", None);
        let usual = nodes[0]["mem_limit"].as_u64().unwrap();
        control(&["set_vm_memory_high_watermark", "absolute", "1"]);
        let usual = usual.to_string();
        Self { usual }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        control(&["set_vm_memory_high_watermark", "absolute", &self.usual]);
    }
}

fn control(arguments: &[&str]) {
    let done = Command::new(variable("POSTRIDER_TEST_RABBITMQCTL"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stops_publishing_at_once_and_nothing_else() {
    let place = Place::new();
    let options = Options {
        confirm_timeout: Duration::from_secs(1),
        ..place.options()
    };
    let broker = RabbitMq::new(&place.url(), options).unwrap();
    broker.start();
    broker.up().await;
    let mut published = Vec::new();
    let mut packs = Vec::new();
    for _ in 0..3 {
        published.push(publish_again(&broker).await);
        packs.extend(lease(&broker, 1).await);
    }

    let alarm = Alarm::raise();
    // One publish makes the server look; that one may hang until it counts as unknown.
    let refused = eventually("a publish that fails for certain", async || {
        let item = item();
        match broker.publish(wall_clock(), vec![item.clone()]).await {
            Ok(()) => {
                published.push(item);
                None
            }
            Err(error) => error.changed_nothing().then_some(error),
        }
    })
    .await;
    assert!(
        refused.to_string().contains("blocked publishing"),
        "{refused}"
    );
    let asked = Instant::now();
    let hand_off = HandOff {
        item: item(),
        until: Until::After(Duration::from_secs(60)),
    };
    let refused = broker
        .hand_off(wall_clock(), vec![hand_off])
        .await
        .unwrap_err();
    assert!(refused.changed_nothing(), "{refused}");
    let refused = broker
        .quarantine(wall_clock(), &packs[2])
        .await
        .unwrap_err();
    assert!(refused.changed_nothing(), "{refused}");
    let well = broker.probe().await.unwrap_err();
    assert!(well.to_string().contains("blocked publishing"), "{well}");
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "all of it fails at once"
    );

    broker
        .give_back(wall_clock(), vec![packs[0].receipt])
        .await
        .unwrap();
    broker.ack(vec![packs[1].receipt]).await.unwrap();
    eventually("one pack waits, one is held", async || {
        let depth = broker.depth(wall_clock()).await.unwrap();
        (depth.waiting == 1 && depth.leased == 1).then_some(())
    })
    .await;
    drop(alarm);

    let back = Instant::now();
    published.push(publish_again(&broker).await);
    assert!(
        back.elapsed() < Duration::from_secs(3),
        "and goes on when it is over"
    );
    broker.probe().await.unwrap();
    let left = &published[3..];
    let found = take_all(&broker, &messages(left)).await;
    assert!(messages(left).is_subset(&found));
    let returned = loop {
        let pack = lease(&broker, 1).await.remove(0);
        if pack.returned {
            break pack;
        }
        broker.ack(vec![pack.receipt]).await.unwrap();
    };
    assert_eq!(messages_in(&returned), messages_in(&packs[0]));
}
