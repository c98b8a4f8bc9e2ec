use postrider_backends::embedded::{Embedded, Options};
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{AppKey, Broker, LogRecord, PortError};
use postrider_core::samples::{self, NOW};

use super::{item, messages};

fn cramped() -> Options {
    Options {
        max_bytes: Some(3 * 1024 * 1024),
        ..Options::small()
    }
}

async fn publish_until_full(broker: &dyn Broker) -> usize {
    for published in 0..10_000 {
        match broker.publish(NOW, vec![item(20_000)]).await {
            Ok(()) => {}
            Err(PortError::Full { .. }) => return published,
            Err(other) => panic!("a full disk is told as `Full`, not as: {other}"),
        }
    }
    panic!("it never got full");
}

/// Writes are refused, reads go on, nothing is lost, and once there is room everything is as before.
#[tokio::test]
async fn a_full_disk_refuses_writes_and_mends_itself() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), cramped()).unwrap();
    let ports = embedded.ports();
    let app = samples::application(samples::event().org, samples::event().app);
    let app = ports.registry.put_application(app, None).await.unwrap();
    let event = item(100).event;
    ports
        .log
        .record(vec![LogRecord::Message(event.into())])
        .await
        .unwrap();
    for round in 0..3 {
        let published = publish_until_full(&*ports.broker).await;
        assert!(published > 50, "round {round}: room for {published} packs");
        let full = ports.limits.probe().await.unwrap_err();
        assert!(
            matches!(full, PortError::Full { .. }),
            "the probe says so: {full}"
        );

        let found = ports
            .registry
            .application(app.org, &AppKey::Id(app.id))
            .await
            .unwrap();
        assert_eq!(found.as_ref(), Some(&app), "reads go on");
        let page = Page {
            cursor: Cursor::Start,
            limit: 10,
            order: Order::Ascending,
        };
        let log = ports
            .log
            .messages(app.id, &Default::default(), page)
            .await
            .unwrap();
        assert_eq!(log.items.len(), 1, "reads go on");

        let packs = ports.broker.lease(NOW, published + 1).await.unwrap().packs;
        assert_eq!(
            packs.iter().flat_map(messages).count(),
            published,
            "no refused pack shows up"
        );
        ports
            .broker
            .give_back(NOW, vec![packs[0].receipt])
            .await
            .expect("giving back writes nothing");
        let receipts = packs[1..].iter().map(|pack| pack.receipt);
        ports
            .broker
            .ack(receipts.collect())
            .await
            .expect("what frees room goes through");
        ports.broker.probe().await.expect("and there is room again");
    }
    let depth = ports.broker.depth(NOW).await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.waiting), (0, 0, 3));
}

/// Among those who share a transaction, one that does not fit takes no other with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_does_not_fit_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), cramped()).unwrap();
    let broker = embedded.ports().broker;
    let outcomes = super::together(40, |index| {
        let broker = std::sync::Arc::clone(&broker);
        let item = item(if index % 8 == 0 { 4 * 1024 * 1024 } else { 100 });
        async move { broker.publish(NOW, vec![item]).await }
    })
    .await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(PortError::Full { .. }) if index % 8 == 0 => {}
            Ok(()) if index % 8 != 0 => {}
            other => panic!("{index}: {other:?}"),
        }
    }
    assert_eq!(broker.depth(NOW).await.unwrap().ready, 35);
}
