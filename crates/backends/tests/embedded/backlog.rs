use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_backends::embedded::{Embedded, Options};
use postrider_core::ports::{Broker, HandOff, Until};
use postrider_core::samples::NOW;

use super::{drain, item, together};

/// Windows far smaller than the backlog.
fn narrow() -> Options {
    Options {
        window_packs: 50,
        window_bytes: 20_000,
        ..Options::small()
    }
}

async fn publish(broker: &Arc<dyn Broker>, producers: usize, each: usize) {
    together(producers, |_| {
        let broker = Arc::clone(broker);
        async move {
            for _ in 0..each {
                broker.publish(NOW, vec![item(100)]).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_comes_back_whole_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), narrow()).unwrap();
    let broker = embedded.ports().broker;
    publish(&broker, 64, 300).await;
    assert_eq!(broker.depth(NOW).await.unwrap().ready, 19_200);
    drop(broker);
    embedded.abandon().await;
    drop(embedded);

    let embedded = Embedded::open(dir.path(), narrow()).unwrap();
    let broker = embedded.ports().broker;
    assert_eq!(
        broker.depth(NOW).await.unwrap().ready,
        19_200,
        "a backlog is counted without being read"
    );
    // New work arrives while the old is worked off.
    let producing = publish(&broker, 8, 200);
    let draining = drain(&*broker, 64);
    let ((), mut found) = tokio::join!(producing, draining);
    found.extend(drain(&*broker, 64).await);
    let unique: HashSet<_> = found.iter().collect();
    assert_eq!((found.len(), unique.len()), (20_800, 20_800));
    let depth = broker.depth(NOW).await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.waiting), (0, 0, 0));
}

/// Many packs that are due at the very same time, more than are read at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_at_the_same_time_comes_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), narrow()).unwrap();
    let broker = embedded.ports().broker;
    let due = NOW + Duration::from_secs(5);
    let hand_offs = |count| {
        let hand_off = |_| HandOff {
            item: item(10),
            until: Until::Exactly(due),
        };
        (0..count).map(hand_off).collect::<Vec<_>>()
    };
    broker.hand_off(NOW, hand_offs(5_000)).await.unwrap();
    assert_eq!(broker.depth(NOW).await.unwrap().waiting, 5_000);
    let leased = broker.lease(NOW, 10).await.unwrap();
    assert!(leased.packs.is_empty());
    assert_eq!(leased.next_due, Some(due));
    let mut found = HashSet::new();
    let mut held = 0;
    while held < 5_100 {
        let packs = broker.lease(due, 64).await.unwrap().packs;
        assert!(!packs.is_empty(), "{held} of 5,100 came");
        if held == 0 {
            // By somebody whose clock is behind: due before what was read already.
            broker.hand_off(NOW, hand_offs(100)).await.unwrap();
        }
        held += packs.len();
        found.extend(packs.iter().flat_map(super::messages));
    }
    assert_eq!(found.len(), 5_100);
    let end = broker.lease(due, 64).await.unwrap();
    assert!(end.packs.is_empty());
    assert_eq!(end.next_due, None);
    assert_eq!(broker.depth(due).await.unwrap().leased, 5_100);
}
