use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_backends::embedded::{Embedded, Options};
use postrider_core::samples::NOW;

use super::{drain, item, together};

/// 64 producers are cut off in the middle of what they do: each publish that returned is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
        let broker = embedded.ports().broker;
        let answered = Arc::new(Mutex::new(HashSet::new()));
        let enough = Arc::new(tokio::sync::Notify::new());
        let producing = together(64, |_| {
            let (broker, answered, enough) = (
                Arc::clone(&broker),
                Arc::clone(&answered),
                Arc::clone(&enough),
            );
            async move {
                loop {
                    let item = item(500);
                    let message = item.event.message;
                    if broker.publish(NOW, vec![item]).await.is_err() {
                        return;
                    }
                    let mut answered = answered.lock();
                    answered.insert(message);
                    if answered.len() == 2_000 {
                        enough.notify_one();
                    }
                }
            }
        });
        let killing = async {
            enough.notified().await;
            embedded.abandon().await;
        };
        tokio::join!(producing, killing);
        drop(broker);
        drop(embedded);
        let next = Embedded::open(dir.path(), Options::small()).unwrap();
        let found = drain(&*next.ports().broker, 100).await;
        let unique: HashSet<_> = found.iter().copied().collect();
        assert_eq!(unique.len(), found.len(), "each comes once");
        assert!(
            answered.lock().is_subset(&unique),
            "what was answered is there"
        );
        next.close().await;
    }
}

/// A lease that is dropped in the middle holds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_dropped_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let broker = embedded.ports().broker;
    for _ in 0..50 {
        broker.publish(NOW, vec![item(10)]).await.unwrap();
    }
    drop(broker);
    embedded.abandon().await;
    drop(embedded);
    // Packs of an earlier process are read and counted before they are handed out, so there is a middle.
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let broker = embedded.ports().broker;
    for polls in 0..6 {
        let mut lease = broker.lease(NOW, 20);
        for _ in 0..polls {
            let cut = std::future::poll_fn(|context| {
                let polled = lease.as_mut().poll(context);
                std::task::Poll::Ready(polled.is_ready())
            });
            if cut.await {
                panic!("a lease that reads and writes is not done at once");
            }
            tokio::task::yield_now().await;
            if polls > 1 {
                break;
            }
        }
    }
    assert_eq!(broker.depth(NOW).await.unwrap().leased, 0);
    assert_eq!(drain(&*broker, 20).await.len(), 50);
}
