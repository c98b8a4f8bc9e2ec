//! Quarantine, where it is a matter of queues.

use std::time::Duration;

use postrider_core::ports::{Broker, RETURN_DELAY, Source};
use tokio::time::{Instant, sleep};

use super::support::{Place, wall_clock};
use super::work::{eventually, item_of, lease, messages_in};

/// Two payloads of this size do not share a pack, and are not large.
const HALF: usize = 32 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_from_quarantine_comes_again_from_quarantine() {
    let place = Place::new();
    let broker = place.process().await;
    let item = item_of(2, 10);
    broker
        .publish(wall_clock(), vec![item.clone()])
        .await
        .unwrap();
    let pack = lease(&broker, 1).await.remove(0);
    broker.quarantine(wall_clock(), &pack).await.unwrap();
    for round in 0..2 {
        let asked = Instant::now();
        let pack = lease(&broker, 1).await.remove(0);
        assert_eq!(pack.source, Source::Quarantine);
        assert_eq!(messages_in(&pack), [item.event.message]);
        assert_eq!(pack.returned, round > 0);
        assert_eq!(pack.earlier_deliveries, 0);
        if round > 0 {
            let took = asked.elapsed();
            assert!(
                took > RETURN_DELAY - Duration::from_secs(3),
                "came after {took:?}"
            );
        }
        broker
            .give_back(wall_clock(), vec![pack.receipt])
            .await
            .unwrap();
        eventually("it waits", async || {
            let depth = broker.depth(wall_clock()).await.unwrap();
            (depth.waiting == 1 && depth.leased == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_leasing_keeps_the_quarantined_pack_it_holds_the_only_one() {
    let place = Place::new();
    let (first, second) = (place.process().await, place.process().await);
    for _ in 0..2 {
        let item = item_of(2, HALF);
        first.publish(wall_clock(), vec![item]).await.unwrap();
    }
    let packs = [lease(&first, 1).await, lease(&first, 1).await].concat();
    for pack in &packs {
        first.quarantine(wall_clock(), pack).await.unwrap();
    }
    let held = lease(&first, 1).await.remove(0);
    assert_eq!(held.source, Source::Quarantine);
    first.stop_leasing().await;
    // Long enough for the server to give the next to whoever consumes.
    for _ in 0..10 {
        let other = second.lease(wall_clock(), 10).await.unwrap().packs;
        assert!(other.is_empty(), "one at a time over all processes");
        sleep(Duration::from_millis(100)).await;
    }
    first.ack(vec![held.receipt]).await.unwrap();
    let next = lease(&second, 1).await.remove(0);
    assert_eq!(next.source, Source::Quarantine);
    assert_eq!(
        next.earlier_deliveries, 0,
        "the one that was leaving never had it"
    );
    second.ack(vec![next.receipt]).await.unwrap();
    first.close().await;
    eventually("nothing is left", async || {
        let depth = second.depth(wall_clock()).await.unwrap();
        (depth == postrider_core::ports::Depth::default()).then_some(())
    })
    .await;
}
