//! Repeated POSTs, by the example of applications and messages.

use std::time::Duration;

use postrider_core::envelope;
use serde_json::json;

use crate::faults::{Fault, with_faulty_broker};
use crate::support::{Server, message};

const APPS: &str = "/api/v1/app";

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "a"});
    let first = client.post_keyed(APPS, "auto_1", &body).await;
    let second = client.post_keyed(APPS, "auto_1", &body).await;
    first.is(201);
    assert_eq!((second.status, &second.body), (201, &first.body));
    let other = client.post_keyed(APPS, "auto_2", &body).await;
    assert_ne!(other.is(201)["id"], first.is(201)["id"]);
    let list = client.get(APPS).await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_with_another_body_is_409() {
    let server = Server::start();
    let client = server.operator();
    client
        .post_keyed(APPS, "k", &json!({"name": "a"}))
        .await
        .is(201);
    let other = client.post_keyed(APPS, "k", &json!({"name": "b"})).await;
    assert_eq!(other.fails(409), "conflict");
    server.app("shop").await;
    let path = "/api/v1/app/shop/msg";
    client.post_keyed(path, "k", &message()).await.is(202);
    let changed = json!({"eventType": "order.paid", "payload": {"order": 1043}});
    assert_eq!(
        client.post_keyed(path, "k", &changed).await.fails(409),
        "conflict"
    );
}

#[tokio::test]
async fn a_key_is_free_again_after_an_error() {
    let server = Server::start();
    let client = server.operator();
    server.app("taken").await;
    let body = json!({"name": "a", "uid": "taken"});
    assert_eq!(
        client.post_keyed(APPS, "k", &body).await.fails(409),
        "conflict"
    );
    client.delete("/api/v1/app/taken").await.is(204);
    client.post_keyed(APPS, "k", &body).await.is(201);
}

#[tokio::test]
async fn keys_belong_to_whoever_asks_and_to_the_path() {
    let server = Server::start();
    let client = server.operator();
    let (a, b) = (server.app("a").await, server.app("b").await);
    let body = json!({"url": "https://hooks.example.org/"});
    let mut ids = Vec::new();
    for (client, path) in [
        (&client, format!("{APPS}/{a}/endpoint")),
        (&client, format!("{APPS}/{b}/endpoint")),
        (&server.consumer(&a), format!("{APPS}/{a}/endpoint")),
    ] {
        ids.push(client.post_keyed(&path, "k", &body).await.is(201)["id"].clone());
    }
    assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    let slash = client
        .post_keyed(&format!("{APPS}/{a}/endpoint/"), "k", &body)
        .await;
    assert_eq!(
        slash.is(201)["id"],
        ids[0],
        "a slash at the end is no other path"
    );
}

#[tokio::test]
async fn automatic_keys_are_forgotten_after_ten_minutes_and_chosen_ones_after_twelve_hours() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "a"});
    let automatic = client.post_keyed(APPS, "auto_1", &body).await.is(201);
    let chosen = client.post_keyed(APPS, "chosen", &body).await.is(201);
    server.clock.pass(Duration::from_secs(601));
    assert_ne!(
        client.post_keyed(APPS, "auto_1", &body).await.is(201),
        automatic
    );
    assert_eq!(
        client.post_keyed(APPS, "chosen", &body).await.is(201),
        chosen
    );
    server.clock.pass(Duration::from_secs(12 * 3600));
    assert_ne!(
        client.post_keyed(APPS, "chosen", &body).await.is(201),
        chosen
    );
}

#[tokio::test]
async fn a_repeated_message_is_published_once_and_answered_alike() {
    let server = Server::start();
    let client = server.operator();
    server.app("shop").await;
    let path = "/api/v1/app/shop/msg";
    let first = client.post_keyed(path, "auto_m", &message()).await;
    server.clock.pass(Duration::from_secs(5));
    let second = client.post_keyed(path, "auto_m", &message()).await;
    first.is(202);
    assert_eq!((second.status, second.body), (202, first.body));
    let depth = server
        .ports
        .broker
        .depth(crate::support::START)
        .await
        .unwrap();
    assert_eq!(depth.ready, 1);
}

#[tokio::test]
async fn a_twin_waits_for_the_first_and_gets_its_answer() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let post = || {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .post_keyed("/api/v1/app/shop/msg", "k", &message())
                .await
        })
    };
    let first = post();
    broker.arrived.acquire().await.unwrap().forget();
    let twins = [post(), post()];
    broker.gate.add_permits(1);
    let first = first.await.unwrap();
    first.is(202);
    for twin in twins {
        let twin = twin.await.unwrap();
        assert_eq!((twin.status, &twin.body), (202, &first.body));
    }
    assert_eq!(
        broker.arrived.available_permits(),
        0,
        "nobody else published"
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_what_was_begun() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let body = json!({"eventType": "a", "eventId": "e-1", "payload": {}});
    let hanging = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { client.post_keyed("/api/v1/app/shop/msg", "k", &body).await }
    });
    broker.arrived.acquire().await.unwrap().forget();
    hanging.abort();
    broker.gate.add_permits(1);
    let found = client.get("/api/v1/app/shop/msg/e-1").await.is(200);
    let repeated = client
        .post_keyed("/api/v1/app/shop/msg", "k", &body)
        .await
        .is(202);
    assert_eq!(repeated["id"], found["id"]);
    assert_eq!(
        broker.arrived.available_permits(),
        0,
        "it was published once"
    );
}

/// The outcome of a publish that nobody heard of is not known; a repetition goes on where the first one stopped.
#[tokio::test]
async fn a_message_of_unknown_fate_is_published_again_under_its_first_id() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    let client = server.operator();
    broker.set(Fault::DoneButUnknown);
    let first = client
        .post_keyed("/api/v1/app/shop/msg", "k", &message())
        .await;
    assert_eq!(first.fails(503), "unavailable");
    broker.set(Fault::None);
    server.clock.pass(Duration::from_secs(2));
    let second = client
        .post_keyed("/api/v1/app/shop/msg", "k", &message())
        .await
        .is(202);

    let lease = async || {
        let now = postrider_core::Clock::now(&*server.clock);
        let leased = server.ports.broker.lease(now, 10).await.unwrap();
        let packs = leased.packs.iter();
        packs
            .flat_map(|pack| envelope::decode(&pack.bytes).unwrap())
            .collect::<Vec<_>>()
    };
    let mut items = lease().await;
    assert_eq!(items.len(), 1, "the second copy leaves the first some time");
    server.clock.pass(Duration::from_secs(2));
    items.extend(lease().await);
    assert_eq!(items.len(), 2);
    let ids: Vec<String> = items
        .iter()
        .map(|item| item.event.message.to_string())
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(second["id"], ids[0]);
    assert!(!items[0].maybe_dup && items[1].maybe_dup);
    assert_eq!(
        items[0].event.registry_version,
        items[1].event.registry_version
    );
}
