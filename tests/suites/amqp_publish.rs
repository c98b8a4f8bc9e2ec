//! Messages that a backend publishes to RabbitMQ itself, instead of posting them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod publisher;

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_tests::{Answer, Api, Receiver, Role, Server, Settings, Shared, eventually, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use publisher::{Published, Publisher};

/// How often is looked for what nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An installation that takes messages over AMQP, an application with a subscriber, and a backend.
struct Stage {
    installation: Shared,
    settings: Settings,
    server: Server,
    api: Api,
    receiver: Receiver,
    backend: Publisher,
    /// Names the organisation.
    key: String,
}

impl Stage {
    async fn open() -> Self {
        let installation = Shared::new().await;
        let settings = installation.settings().env("AMQP_PUBLISH", "true");
        let server = Server::start(&settings).await;
        let api = Api::new(&server).await;
        let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
        let backend = Publisher::connect(&settings).await;
        let key = api
            .post("/api/v1/api-key", json!({"name": "backend"}))
            .await;
        let key = key["key"].as_str().unwrap().to_owned();
        Self {
            installation,
            settings,
            server,
            api,
            receiver,
            backend,
            key,
        }
    }

    async fn shop(&self, uid: &str) {
        let app = json!({"name": "Shop", "uid": uid});
        self.api.post("/api/v1/app", app).await;
        let endpoint = json!({"url": self.receiver.url_of(uid)});
        let path = format!("/api/v1/app/{uid}/endpoint");
        self.api.post(&path, endpoint).await;
    }

    async fn publish(&self, body: &Value) {
        let message = Published::new(body).with_key(&self.key);
        self.backend.publish(message).await;
    }

    async fn refused(&self) -> publisher::Refused {
        eventually("a refused message", || async {
            self.backend.try_refused().await.ok().flatten()
        })
        .await
    }

    /// How many messages an application has.
    async fn messages(&self, app: &str) -> usize {
        let path = format!("/api/v1/app/{app}/msg");
        self.api.list(&path).await.len()
    }

    async fn counted(&self, outcome: &str) -> f64 {
        let scrape = self.server.scrape().await;
        let label = format!("outcome=\"{outcome}\"");
        scrape.sum("postrider_amqp_messages_total", &label)
    }

    /// As many have been taken since the server was started, one way or the other.
    async fn taken(&self, count: usize) {
        eventually("messages to be taken", || async {
            let taken = self.counted("accepted").await + self.counted("refused").await;
            (taken >= count as f64).then_some(())
        })
        .await;
    }
}

fn order(number: usize) -> Value {
    json!({
        "application": "shop",
        "eventType": "order.paid",
        "eventId": format!("order-{number}"),
        "payload": {"order": number},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_delivered_like_what_is_posted() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let body = json!({
        "application": "shop",
        "eventType": "order.paid",
        "eventId": "order-1",
        "payload": {"order": 1, "price": 10.50},
        "tags": ["from-amqp"],
        "transformationsParams": {"headers": {"x-region": "eu"}},
    });
    stage.publish(&body).await;
    let received = stage.receiver.wait_for(1).await;
    assert_eq!(
        &received[0].body[..],
        body["payload"].to_string().as_bytes()
    );
    let message = stage.api.get("/api/v1/app/shop/msg/order-1").await;
    assert_eq!(message["tags"], json!(["from-amqp"]));
    assert_eq!(message["eventType"], "order.paid");
    // An application by its identifier, and one that does not exist yet.
    let shop = stage.api.get("/api/v1/app/shop").await;
    let by_id = json!({"application": shop["id"], "eventType": "a", "payload": {}});
    stage.publish(&by_id).await;
    stage.receiver.wait_for(2).await;
    let new =
        json!({"application": {"name": "New", "uid": "new"}, "eventType": "a", "payload": {}});
    stage.publish(&new).await;
    eventually("the new application", || async {
        let (status, _) = stage.api.call(Method::GET, "/api/v1/app/new", None).await;
        (status == 200).then_some(())
    })
    .await;
    stage.taken(3).await;
    assert_eq!(stage.counted("refused").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_twice_is_one_message() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    stage.publish(&order(1)).await;
    stage.publish(&order(1)).await;
    // Without an event id, the message's own name tells.
    let nameless = json!({"application": "shop", "eventType": "a", "payload": {}});
    for _ in 0..2 {
        let named = Published::new(&nameless)
            .with_key(&stage.key)
            .with_id("m-1");
        stage.backend.publish(named).await;
    }
    stage.publish(&order(2)).await;
    stage.receiver.wait_for(3).await;
    stage.taken(5).await;
    assert_eq!(stage.counted("refused").await, 0.0);
    eventually("the log to have them", || async {
        (stage.messages("shop").await == 3).then_some(())
    })
    .await;
    assert_eq!(stage.receiver.count(), 3);
    // Another body under the same event id is a mistake.
    let mut other = order(1);
    other["payload"] = json!({"order": "another"});
    stage.publish(&other).await;
    let refused = stage.refused().await;
    assert_eq!((refused.status, &*refused.code), (409, "conflict"));
    assert_eq!(refused.body, other.to_string().as_bytes());
    assert_eq!(stage.messages("shop").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_accepted_is_set_aside_with_the_reason_and_without_the_key() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let consumer = json!({"name": "consumer", "appId": "shop"});
    let (status, consumer) = stage
        .api
        .call(Method::POST, "/api/v1/api-key", Some(consumer))
        .await;
    assert_eq!(status, 201, "{consumer}");
    let good = order(1).to_string();
    let elsewhere = json!({"application": "nowhere", "eventType": "a", "payload": {}});
    let nowhere = json!({"eventType": "a", "payload": {}});
    let wrong = json!({"application": "shop", "eventType": "a", "payload": {}, "channels": []});
    let large =
        json!({"application": "shop", "eventType": "a", "payload": {"a": "x".repeat(2 << 20)}});
    let cases = [
        (good.clone(), None, 401, "authentication_failed"),
        (
            good.clone(),
            Some("sk_nonsense"),
            401,
            "authentication_failed",
        ),
        (good, consumer["key"].as_str(), 403, "insufficient_access"),
        ("no JSON".to_owned(), Some(&*stage.key), 422, "validation"),
        (elsewhere.to_string(), Some(&*stage.key), 404, "not_found"),
        (nowhere.to_string(), Some(&*stage.key), 422, "validation"),
        (wrong.to_string(), Some(&*stage.key), 422, "validation"),
        (
            large.to_string(),
            Some(&*stage.key),
            413,
            "payload_too_large",
        ),
    ];
    for (body, key, status, code) in cases {
        let mut message = Published::bytes(body.as_bytes()).with_id("m-1");
        message = message.with_header("trace", "abc");
        if let Some(key) = key {
            message = message.with_key(key);
        }
        stage.backend.publish(message).await;
        let refused = stage.refused().await;
        assert_eq!((refused.status, &*refused.code), (status, code));
        assert_eq!(refused.body, body.as_bytes());
        assert_eq!(refused.id.as_deref(), Some("m-1"));
        assert_eq!(refused.text("trace").as_deref(), Some("abc"));
        assert_eq!(refused.text("postrider-key"), None);
        assert!(!refused.detail.is_empty());
        if status == 422 {
            let detail: Value = serde_json::from_str(&refused.detail).unwrap();
            assert_eq!(detail[0]["loc"][0], "body", "{detail}");
        }
    }
    assert_eq!(stage.messages("shop").await, 0);
    // What is wrong with one does not keep others.
    stage.publish(&order(2)).await;
    stage.receiver.wait_for(1).await;
}

/// What `docs/API.md` shows, and what stands there.
const DOCUMENTED: &str = include_str!("publisher/documented.rs");
const DOCUMENT: &str = include_str!("../../docs/API.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_shows_publishes_a_message() {
    let shown: Vec<&str> = DOCUMENT
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|code| code.contains("postrider.publish"))
        .collect();
    assert_eq!(shown, [DOCUMENTED], "docs/API.md shows what is tried here");
    let stage = Stage::open().await;
    stage.shop("acme").await;
    let url = publisher::url(&stage.settings);
    for _ in 0..2 {
        let published = publisher::documented::publish(url, &stage.key).await;
        published.unwrap();
    }
    let received = stage.receiver.wait_for(1).await;
    assert_eq!(&received[0].body[..], br#"{"order":1042}"#);
    stage.taken(2).await;
    assert_eq!(stage.counted("refused").await, 0.0);
    assert_eq!(stage.receiver.count(), 1, "it is one event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messagepack_is_taken_as_the_json_that_says_the_same() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let published = |body: &[u8], kind: &str| {
        let message = Published::bytes(body).with_key(&stage.key);
        stage.backend.publish(message.with_type(kind))
    };
    let packed = rmp_serde::to_vec_named(&order(1)).unwrap();
    published(&packed, "application/msgpack").await;
    let received = stage.receiver.wait_for(1).await;
    let payload = order(1)["payload"].to_string();
    assert_eq!(&received[0].body[..], payload.as_bytes());
    // The same event, said otherwise.
    published(&packed, "application/x-msgpack").await;
    published(order(1).to_string().as_bytes(), "application/json").await;
    stage.taken(3).await;
    assert_eq!(stage.counted("refused").await, 0.0);
    let missing = rmp_serde::to_vec_named(&json!({"application": "shop", "payload": {}})).unwrap();
    published(&missing, "application/msgpack").await;
    let refused = stage.refused().await;
    assert_eq!((refused.status, &*refused.code), (422, "validation"));
    assert!(refused.detail.contains("eventType"), "{}", refused.detail);
    assert_eq!(refused.body, missing);
    for (body, kind, status, why) in [
        (&packed[..], "application/json", 422, "UTF-8"),
        (
            order(2).to_string().as_bytes(),
            "application/msgpack",
            422,
            "MessagePack",
        ),
        (&packed[..], "application/cbor", 415, "application/msgpack"),
    ] {
        published(body, kind).await;
        let refused = stage.refused().await;
        assert_eq!(refused.status, status, "{}", refused.detail);
        assert!(refused.detail.contains(why), "{}", refused.detail);
    }
    assert_eq!(stage.receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_opens_nothing_after_a_second() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    stage.publish(&order(0)).await;
    stage.receiver.wait_for(1).await;
    let keys = stage.api.list("/api/v1/api-key").await;
    let path = format!("/api/v1/api-key/{}", keys[0]["id"].as_str().unwrap());
    let (status, _) = stage.api.call(Method::DELETE, &path, None).await;
    assert_eq!(status, 204);
    let revoked = Instant::now();
    let mut number = 1;
    let took = loop {
        let published = Instant::now();
        stage.publish(&order(number)).await;
        number += 1;
        stage.taken(number).await;
        if stage.counted("refused").await > 0.0 {
            assert_eq!(stage.refused().await.status, 401);
            break published - revoked;
        }
        assert!(revoked.elapsed() < Duration::from_secs(30), "never refused");
    };
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_loses_nothing_and_repeats_nothing_accepted() {
    const EVENTS: usize = 2_000;
    let mut stage = Stage::open().await;
    stage.shop("shop").await;
    let worker = Server::start(&stage.settings.clone().role(Role::Worker)).await;
    let publishing = (0..EVENTS).map(order).collect::<Vec<_>>();
    let mut killed = 0;
    for (number, body) in publishing.iter().enumerate() {
        stage.publish(body).await;
        // In the middle of taking.
        if number % (EVENTS / 4) == EVENTS / 8 {
            let fresh = Server::launch(&stage.settings).await;
            std::mem::replace(&mut stage.server, fresh).kill().await;
            killed += 1;
        }
    }
    assert_eq!(killed, 4);
    let distinct = |receiver: &Receiver| {
        receiver.look(|requests| {
            let bodies = requests.iter().map(|request| request.body.clone());
            bodies.collect::<BTreeSet<_>>().len()
        })
    };
    until("all events to arrive", || {
        distinct(&stage.receiver) == EVENTS
    })
    .await;
    stage.backend.wait_until_empty("postrider.publish").await;
    // One event is one message, under one identifier, whatever happened meanwhile.
    let delivered: BTreeSet<String> = stage
        .receiver
        .look(|requests| requests.iter().map(|request| request.id.clone()).collect());
    assert_eq!(delivered.len(), EVENTS);
    assert!(stage.backend.refused().await.is_none());
    worker.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_nobody_is_there_waits_and_so_does_what_is_throttled() {
    const EVENTS: usize = 40;
    let Stage {
        installation: _installation,
        settings,
        server,
        api,
        receiver,
        backend,
        key,
    } = Stage::open().await;
    let app = json!({"name": "Shop", "uid": "shop", "throttleRate": 20});
    api.post("/api/v1/app", app).await;
    let endpoint = json!({"url": receiver.url_of("shop")});
    api.post("/api/v1/app/shop/endpoint", endpoint).await;
    let (status, _) = server.terminate().await;
    assert_eq!(status.code(), Some(0));
    for number in 0..EVENTS {
        let message = Published::new(&order(number)).with_key(&key);
        backend.publish(message).await;
    }
    let server = Server::start(&settings).await;
    receiver.wait_for(EVENTS).await;
    backend.wait_until_empty("postrider.publish.waiting").await;
    assert_eq!(receiver.count(), EVENTS);
    let waited = server.scrape().await;
    let waited = waited.sum("postrider_amqp_messages_total", "outcome=\"waited\"");
    assert!(waited > 0.0, "the rate was never exceeded");
    assert!(backend.refused().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_messages_wait() {
    const EVENTS: usize = 20;
    let mut stage = Stage::open().await;
    stage.shop("shop").await;
    stage.publish(&order(EVENTS)).await;
    stage.receiver.wait_for(1).await;
    stage.installation.redis.kill().await;
    for number in 0..EVENTS {
        stage.publish(&order(number)).await;
    }
    eventually("messages to wait", || async {
        (stage.counted("waited").await > 0.0).then_some(())
    })
    .await;
    assert_eq!(stage.counted("refused").await, 0.0);
    stage.installation.redis.start_again().await;
    stage.receiver.wait_for(EVENTS + 1).await;
    assert!(stage.backend.refused().await.is_none());
}

/// In the payload of the one.
const DEADLY: &str = "whoever takes this ends";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_whoever_takes_it_is_set_aside_and_nothing_that_is_beside_it() {
    const OTHERS: usize = 40;
    /// Five until it is suspected, three on trial; each count may miss one.
    const DEATHS: usize = 10;
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let Stage {
        settings,
        server,
        receiver,
        backend,
        key,
        ..
    } = stage;
    server.terminate().await;
    for number in 0..OTHERS {
        if number == OTHERS / 2 {
            let deadly =
                json!({"application": "shop", "eventType": "a", "payload": {"note": DEADLY}});
            let deadly = Published::new(&deadly).with_key(&key).with_id("deadly");
            backend.publish(deadly).await;
        }
        let message = Published::new(&order(number)).with_key(&key);
        backend.publish(message).await;
    }
    let settings = settings.env("TEST_ABORT_ON", DEADLY);
    let mut deaths = 0;
    let (server, refused) = 'lives: loop {
        assert!(deaths <= DEATHS, "it is never set aside");
        let Ok(mut server) = Server::try_launch(&settings).await else {
            deaths += 1;
            continue;
        };
        loop {
            if let Some(refused) = backend.refused().await {
                break 'lives (server, refused);
            }
            if server.has_ended() {
                deaths += 1;
                continue 'lives;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    assert_eq!((refused.status, &*refused.code), (500, "poison"));
    assert_eq!(refused.id.as_deref(), Some("deadly"));
    assert!(deaths >= 3, "only trials condemn: {deaths}");
    receiver.wait_for(OTHERS).await;
    backend.wait_until_empty("postrider.publish").await;
    assert!(backend.refused().await.is_none());
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_without_end_while_the_store_is_away_condemn_nothing() {
    const EVENTS: usize = 20;
    const RESTARTS: usize = 12;
    let mut stage = Stage::open().await;
    stage.shop("shop").await;
    stage.installation.redis.kill().await;
    for number in 0..EVENTS {
        stage.publish(&order(number)).await;
    }
    for round in 0..RESTARTS {
        eventually("messages to be held", || async {
            (stage.counted("waited").await > 0.0).then_some(())
        })
        .await;
        let fresh = Server::launch(&stage.settings).await;
        let old = std::mem::replace(&mut stage.server, fresh);
        // In order, and not.
        if round % 2 == 0 {
            old.terminate().await;
        } else {
            old.kill().await;
        }
    }
    stage.installation.redis.start_again().await;
    stage.receiver.wait_for(EVENTS).await;
    stage.backend.wait_until_empty("postrider.publish").await;
    assert!(stage.backend.refused().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_somebody_deletes_are_made_anew() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let management = stage.installation.management();
    for queue in ["postrider.publish.refused", "postrider.publish"] {
        management.delete_queue(queue).await;
    }
    let has = async |name: &str| management.queues().await.iter().any(|queue| queue == name);
    // A queue is there a moment before it is bound.
    eventually("the queue to take messages", || async {
        let message = Published::new(&json!({"application": "shop"})).with_key(&stage.key);
        stage.backend.is_queued(message).await.then_some(())
    })
    .await;
    assert_eq!(stage.refused().await.status, 422);
    management.delete_queue("postrider.publish.refused").await;
    stage.publish(&json!({"application": "shop"})).await;
    eventually("the queue to be back", || async {
        has("postrider.publish.refused").await.then_some(())
    })
    .await;
    assert_eq!(stage.refused().await.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_declared_where_it_is_not_switched_on() {
    let installation = Shared::new().await;
    let server = Server::start(&installation.settings()).await;
    let queues = installation.management().queues().await;
    assert!(
        queues.iter().all(|queue| queue.starts_with("pr.v1.")),
        "{queues:?}"
    );
    server.terminate().await;
    let settings = installation.settings().env("AMQP_PUBLISH", "true");
    let (good, said) = Server::run(&settings, &["check"]).await;
    assert!(good && said.contains("postrider.publish"), "{said}");
    let server = Server::start(&settings).await;
    let (good, said) = eventually("the queues", || async {
        let (good, said) = Server::run(&settings, &["check"]).await;
        said.contains("all queues are there")
            .then_some((good, said))
    })
    .await;
    assert!(good, "{said}");
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_its_schema_does_not_allow_is_set_aside_with_the_places() {
    let stage = Stage::open().await;
    stage.shop("shop").await;
    let schema = json!({"properties": {"order": {"type": "integer"}}, "required": ["order"]});
    let kind = json!({
        "name": "order.paid", "description": "", "schemas": {"1": schema}, "validatePayload": true,
    });
    stage.api.post("/api/v1/event-type", kind).await;
    let mut wrong = order(1);
    wrong["payload"] = json!({"order": "one"});
    stage.publish(&wrong).await;
    let refused = stage.refused().await;
    assert_eq!((refused.status, &*refused.code), (422, "validation"));
    assert_eq!(refused.body, wrong.to_string().as_bytes());
    let detail: Value = serde_json::from_str(&refused.detail).unwrap();
    assert_eq!(detail[0]["loc"], json!(["body", "payload", "order"]));
    // Neither kept nor taken: the same event is accepted once it is right.
    stage.publish(&order(1)).await;
    let received = stage.receiver.wait_for(1).await;
    assert_eq!(&received[0].body[..], br#"{"order":1}"#);
}
