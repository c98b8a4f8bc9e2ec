//! What is answered, and what is kept, while a part is away.

use std::time::Duration;

use serde_json::json;

use crate::faults::{Fault, FaultyBroker, ShutLog, with_faulty_broker};
use crate::support::{START, Server, message};

const MSGS: &str = "/api/v1/app/shop/msg";

#[tokio::test]
async fn without_the_broker_a_message_is_503_and_its_key_free() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    let client = server.operator();
    let body = json!({"eventType": "a", "eventId": "e-1", "payload": {}});
    for fault in [Fault::Unavailable, Fault::Full] {
        broker.set(fault);
        assert_eq!(
            client.post_keyed(MSGS, "k", &body).await.fails(503),
            "unavailable"
        );
        assert_eq!(client.post(MSGS, &body).await.fails(503), "unavailable");
    }
    broker.set(Fault::None);
    client.post_keyed(MSGS, "k", &body).await.is(202);
    let depth = server.ports.broker.depth(START).await.unwrap();
    assert_eq!(depth.ready, 1, "nothing of the failed tries is left");
}

#[tokio::test]
async fn a_broker_that_does_not_confirm_in_time_is_503_and_the_reservation_stands() {
    let (server, broker) =
        with_faulty_broker(|config| config.publish_timeout = Duration::from_secs(10));
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.post_keyed(MSGS, "k", &message()).await }
    });
    broker.arrived.acquire().await.unwrap().forget();
    // From here on nothing but timers is waited for, or nothing with a timer beside it.
    tokio::time::pause();
    let first = first.await.unwrap();
    assert_eq!(first.fails(503), "unavailable");
    let detail = first.is(503)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("not known"), "{detail}");
    let twin = client.post_keyed(MSGS, "k", &message()).await;
    assert_eq!(twin.fails(503), "unavailable");
    assert_eq!(
        twin.header("retry-after"),
        Some("30"),
        "until the lease ends"
    );
    tokio::time::resume();
    broker.set(Fault::None);
    server.clock.pass(Duration::from_secs(30));
    client.post_keyed(MSGS, "k", &message()).await.is(202);
}

#[tokio::test]
async fn a_confirm_that_comes_late_ends_the_reservation() {
    let (server, broker) =
        with_faulty_broker(|config| config.publish_timeout = Duration::from_millis(1));
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let first = client.post_keyed(MSGS, "k", &message()).await;
    assert_eq!(first.fails(503), "unavailable");
    broker.gate.add_permits(1);
    // The clock stands still: no lease ends.
    let twin = client.post_keyed(MSGS, "k", &message()).await;
    twin.is(202);
    let depth = server.ports.broker.depth(START).await.unwrap();
    assert_eq!(depth.ready, 1, "it is the first one");
}

#[tokio::test]
async fn the_answer_does_not_tell_what_our_parts_say() {
    let mut faulty = None;
    let server = Server::with(
        |mut ports| {
            let broker = FaultyBroker::new(ports.broker);
            faulty = Some(broker.clone());
            ports.broker = broker;
            ports
        },
        |_| {},
    );
    server.app("shop").await;
    faulty.unwrap().set(Fault::Unavailable);
    let reply = server.operator().post(MSGS, &message()).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("a test said so"));
}

#[tokio::test]
async fn a_message_is_waited_for_while_its_record_is_on_its_way() {
    let mut shut = None;
    let server = Server::with(
        |mut ports| {
            let log = ShutLog::new(ports.log);
            shut = Some(log.clone());
            ports.log = log;
            ports
        },
        |_| {},
    );
    let log = shut.unwrap();
    server.app("shop").await;
    let client = server.operator();
    let accepted = client.post(MSGS, &message()).await.is(202);
    let path = format!("{MSGS}/{}", accepted["id"].as_str().unwrap());
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.get(&path).await }
    });
    log.asked.acquire().await.unwrap().forget();
    log.open();
    assert_eq!(asking.await.unwrap().is(200), accepted);
}

#[tokio::test]
async fn closing_writes_what_is_batched() {
    let mut shut = None;
    let server = Server::with(
        |mut ports| {
            let log = ShutLog::new(ports.log);
            shut = Some(log.clone());
            ports.log = log;
            ports
        },
        |_| {},
    );
    let log = shut.unwrap();
    let app = server.app("shop").await.parse().unwrap();
    let client = server.operator();
    for _ in 0..5 {
        client.post(MSGS, &message()).await.is(202);
    }
    log.refused.acquire().await.unwrap().forget();
    log.open();
    server.api.close().await;
    server.api.close().await;
    let page = postrider_core::page::Page {
        cursor: postrider_core::page::Cursor::Start,
        limit: 10,
        order: postrider_core::page::Order::Descending,
    };
    let filter = postrider_core::ports::MessageFilter::default();
    let messages = server.ports.log.messages(app, &filter, page).await.unwrap();
    assert_eq!(messages.items.len(), 5);
}

#[tokio::test]
async fn records_beyond_the_bound_are_dropped_and_counted_the_oldest_first() {
    let mut shut = None;
    let server = Server::with(
        |mut ports| {
            let log = ShutLog::new(ports.log);
            shut = Some(log.clone());
            ports.log = log;
            ports
        },
        |config| config.max_batch_bytes = 5000,
    );
    let log = shut.unwrap();
    let app = server.app("shop").await.parse().unwrap();
    let client = server.operator();
    for n in 0..10 {
        let body = json!({"eventType": "a", "payload": {"n": n, "pad": "x".repeat(1000)}});
        client.post(MSGS, &body).await.is(202);
        server.clock.pass(Duration::from_millis(4));
    }
    log.open();
    server.api.close().await;
    let page = postrider_core::page::Page {
        cursor: postrider_core::page::Cursor::Start,
        limit: 20,
        order: postrider_core::page::Order::Descending,
    };
    let filter = postrider_core::ports::MessageFilter::default();
    let kept = server.ports.log.messages(app, &filter, page).await.unwrap();
    assert_eq!(kept.items.len(), 3);
    assert!(kept.items[0].event.payload.starts_with(b"{\"n\":9"));
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&server.metrics.gather())
        .unwrap();
    let line = r#"postrider_api_batch_records_dropped_total{batch="log"} 7"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn closing_does_not_wait_for_a_store_that_stays_away() {
    let server = Server::with(
        |mut ports| {
            ports.log = ShutLog::new(ports.log);
            ports
        },
        |config| config.close_grace = Duration::from_secs(5),
    );
    server.app("shop").await;
    server.operator().post(MSGS, &message()).await.is(202);
    tokio::time::pause();
    server.api.close().await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&server.metrics.gather())
        .unwrap();
    let line = r#"postrider_api_batch_records_dropped_total{batch="log"} 1"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn closing_waits_for_what_a_client_has_left_behind() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let body = json!({"eventType": "a", "eventId": "e-1", "payload": {}});
    let hanging = tokio::spawn(async move { client.post(MSGS, &body).await });
    broker.arrived.acquire().await.unwrap().forget();
    hanging.abort();
    tokio::join!(server.api.close(), async { broker.gate.add_permits(1) });
    let app = server.ports.registry.applications(
        server.org,
        postrider_core::page::Page {
            cursor: postrider_core::page::Cursor::Start,
            limit: 1,
            order: postrider_core::page::Order::Ascending,
        },
    );
    let app = app.await.unwrap().items.remove(0).id;
    let event = postrider_core::Uid::new("e-1").unwrap();
    let key = postrider_core::ports::MessageKey::EventId(event);
    let found = server.ports.log.message(app, &key).await.unwrap();
    assert!(found.is_some(), "its record was written");
    let late = server.operator().get("/api/v1/app").await;
    assert_eq!(late.fails(503), "unavailable");
}
