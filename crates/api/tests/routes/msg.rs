use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use postrider_core::message::{Item, Work};
use postrider_core::{Clock, envelope};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{START, Server, message};

const MSGS: &str = "/api/v1/app/shop/msg";
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn server() -> Server {
    let server = Server::start();
    server.app("shop").await;
    server
}

async fn published(server: &Server) -> Vec<Item> {
    let now = server.clock.now();
    let leased = server.ports.broker.lease(now, 100).await.unwrap();
    let packs = leased.packs.iter();
    packs
        .flat_map(|pack| envelope::decode(&pack.bytes).unwrap())
        .collect()
}

async fn post_raw(server: &Server, body: impl Into<Body>) -> crate::support::Reply {
    let client = server.operator();
    client.send(Method::POST, MSGS, &[], body.into()).await
}

#[tokio::test]
async fn what_is_accepted_is_published_and_can_be_read() {
    let server = server().await;
    let client = server.operator();
    let body = json!({
        "eventType": "order.paid", "eventId": "e-1", "channels": ["eu", "eu"], "tags": ["vip"],
        "payload": {"order": 1042}, "payloadRetentionPeriod": 5,
        "transformationsParams": {"headers": {"x-trace": "abc"}},
    });
    let accepted = client.post(MSGS, &body).await.is(202);
    let id = accepted["id"].as_str().unwrap();
    assert!(id.starts_with("msg_"));
    for (field, value) in [
        ("eventType", json!("order.paid")),
        ("eventId", json!("e-1")),
        ("channels", json!(["eu"])),
        ("tags", json!(["vip"])),
        ("payload", json!({"order": 1042})),
        ("data", json!({"order": 1042})),
        ("timestamp", json!("2023-11-14T22:13:20.000Z")),
    ] {
        assert_eq!(accepted[field], value, "{field}");
    }
    for key in [id, "e-1"] {
        assert_eq!(client.get(&format!("{MSGS}/{key}")).await.is(200), accepted);
    }
    let items = published(&server).await;
    let event = &items[0].event;
    assert_eq!(items.len(), 1);
    assert!(matches!(items[0].work, Work::Match) && !items[0].maybe_dup);
    assert_eq!(event.message.to_string(), id);
    assert_eq!(event.headers["x-trace"], "abc");
    assert_eq!(event.payload_until, START + 5 * DAY);
    assert!(event.registry_version > 0);
}

#[tokio::test]
async fn a_message_carries_the_version_at_which_its_endpoints_exist() {
    let server = server().await;
    let app = server.operator().get("/api/v1/app/shop").await.is(200);
    let endpoint = server.endpoint("shop").await;
    server.message("shop").await;
    let app = app["id"].as_str().unwrap().parse().unwrap();
    let snapshot = server.ports.registry.snapshot(app).await.unwrap().unwrap();
    let endpoint = snapshot.endpoint(endpoint.parse().unwrap()).unwrap();
    let item = &published(&server).await[0];
    assert_eq!(item.event.registry_version, snapshot.version());
    assert!(postrider_core::matching::matches(endpoint, &item.event));
}

#[tokio::test]
async fn the_payload_is_kept_to_the_byte() {
    let server = server().await;
    let payload = "{ \"b\":1.10,\n\t\"a\" : \"\\u00fc\\/\", \"a\": 1e400 , \"z\":[ ] }";
    let body = format!(r#" {{"payload" :  {payload} , "eventType":"a"}} "#);
    let reply = post_raw(&server, body).await;
    assert_eq!(reply.status, 202);
    assert!(String::from_utf8_lossy(&reply.body).contains(payload));
    assert_eq!(
        published(&server).await[0].event.payload,
        payload.as_bytes()
    );
    let large = format!(r#"{{"x":  "{}"}}"#, "y".repeat(100_000));
    let body = format!(r#"{{"eventType":"a","payload":{large}}}"#);
    assert_eq!(post_raw(&server, body).await.status, 202);
    assert_eq!(published(&server).await[0].event.payload, large.as_bytes());
}

#[tokio::test]
async fn content_can_be_left_out() {
    let server = server().await;
    let client = server.operator();
    let accepted = client
        .post(&format!("{MSGS}?with_content=false"), &message())
        .await
        .is(202);
    assert_eq!(accepted["payload"], json!({}));
    let path = format!("{MSGS}/{}", accepted["id"].as_str().unwrap());
    assert_eq!(
        client.get(&path).await.is(200)["payload"],
        json!({"order": 1042})
    );
    let without = client
        .get(&format!("{path}?with_content=false"))
        .await
        .is(200);
    assert_eq!(
        (&without["payload"], &without["data"]),
        (&json!({}), &json!({}))
    );
    let list = client
        .get(&format!("{MSGS}?with_content=false"))
        .await
        .is(200);
    assert_eq!(list["data"][0]["payload"], json!({}));
}

#[tokio::test]
async fn an_expired_payload_says_so() {
    let server = server().await;
    let client = server.operator();
    let body = json!({"eventType": "a", "payload": {"x": 1}, "payloadRetentionHours": 1});
    let accepted = client.post(MSGS, &body).await.is(202);
    let path = format!("{MSGS}/{}", accepted["id"].as_str().unwrap());
    client.get(&path).await.is(200);
    server.clock.pass(DAY);
    let now = server.clock.now();
    while server.ports.log.retain(now, START - DAY).await.unwrap() > 0 {}
    assert_eq!(
        client.get(&path).await.is(200)["payload"],
        json!({"expired": true})
    );
}

#[tokio::test]
async fn payloads_are_kept_as_long_as_the_message_says_or_else_the_application() {
    let server = server().await;
    let client = server.operator();
    client
        .patch("/api/v1/app/shop", &json!({"payloadRetentionHours": 1}))
        .await
        .is(200);
    let short = client.post(MSGS, &message()).await.is(202);
    let mut body = message();
    body["payloadRetentionHours"] = json!(48);
    let long = client.post(MSGS, &body).await.is(202);
    let path = |accepted: &Value| format!("{MSGS}/{}", accepted["id"].as_str().unwrap());
    for accepted in [&short, &long] {
        client.get(&path(accepted)).await.is(200);
    }
    server.clock.pass(DAY);
    let now = server.clock.now();
    while server.ports.log.retain(now, START - DAY).await.unwrap() > 0 {}
    let payload = async |accepted| client.get(&path(accepted)).await.is(200)["payload"].clone();
    assert_eq!(payload(&short).await, json!({"expired": true}));
    assert_eq!(payload(&long).await, message()["payload"]);
}

#[tokio::test]
async fn a_payload_in_a_string_is_taken_for_what_it_holds() {
    let server = server().await;
    let client = server.operator();
    let text = r#"{"order": 1042, "name": "Zoë"}"#;
    for body in [
        json!({"eventType": "a", "payload": text}),
        json!({"eventType": "a", "payload": {}, "transformationsParams": {"rawPayload": text}}),
    ] {
        client.post(MSGS, &body).await.is(202);
        let sent = published(&server).await;
        assert_eq!(sent[0].event.payload, text.as_bytes(), "{body}");
    }
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(64), "]".repeat(64));
    for text in ["", "x", "1", "[]", r#"{"a": }"#, " {}", deep.as_str()] {
        let body = json!({"eventType": "a", "payload": text});
        assert_eq!(
            client.post(MSGS, &body).await.blames(),
            "body.payload",
            "{text}"
        );
    }
}

#[tokio::test]
async fn data_is_another_word_for_payload() {
    let server = server().await;
    let client = server.operator();
    let accepted = client
        .post(MSGS, &json!({"eventType": "a", "data": {"x": 1}}))
        .await
        .is(202);
    assert_eq!(accepted["payload"], json!({"x": 1}));
    let both = json!({"eventType": "a", "data": {"x": 1}, "payload": {"x": 2}});
    assert_eq!(
        client.post(MSGS, &both).await.is(202)["payload"],
        json!({"x": 2})
    );
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = server().await;
    let client = server.operator();
    let late = (START + 7 * DAY + Duration::from_secs(1)).to_rfc3339();
    let tags: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    for (field, value) in [
        ("eventType", json!(null)),
        ("eventType", json!("a b")),
        ("eventType", json!(1)),
        ("payload", json!(null)),
        ("payload", json!([])),
        ("payload", json!("[]")),
        ("eventId", json!("a b")),
        ("eventId", json!("msg_x")),
        ("eventId", json!("x".repeat(257))),
        ("channels", json!([])),
        ("channels", json!(["a", "b", "c", "d", "e", "f"])),
        ("channels", json!(["a b"])),
        ("channels", json!("a")),
        ("tags", json!([""])),
        ("tags", json!(tags)),
        ("tags", json!(["x".repeat(257)])),
        ("payloadRetentionPeriod", json!(4)),
        ("payloadRetentionPeriod", json!(91)),
        ("payloadRetentionPeriod", json!(5.5)),
        ("payloadRetentionHours", json!(0)),
        ("payloadRetentionHours", json!(2161)),
        ("deliverAt", json!("tomorrow")),
        ("deliverAt", json!(late)),
        ("application", json!("shop")),
        ("transformationsParams", json!([])),
    ] {
        let mut body = message();
        body[field] = value;
        assert_eq!(
            client.post(MSGS, &body).await.blames(),
            format!("body.{field}"),
            "{body}"
        );
    }
    for (body, place) in [
        (json!({"application": {}}), "body.application.name"),
        (
            json!({"application": {"name": "x"}}),
            "body.application.uid",
        ),
        (
            json!({"application": {"name": "x", "uid": "other"}}),
            "body.application.uid",
        ),
        (
            json!({"transformationsParams": {"headers": {"host": "x"}}}),
            "body.transformationsParams.headers",
        ),
        (
            json!({"transformationsParams": {"rawPayload": "[1]"}}),
            "body.transformationsParams.rawPayload",
        ),
        (
            json!({"payloadRetentionPeriod": 5, "payloadRetentionHours": 5}),
            "body.payloadRetentionHours",
        ),
    ] {
        let mut merged = message();
        merged
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        assert_eq!(client.post(MSGS, &merged).await.blames(), place, "{merged}");
    }
    assert_eq!(
        client.post(MSGS, &json!({"eventType": "a"})).await.blames(),
        "body.payload"
    );
    let twice = r#"{"eventType":"a","eventType":"b","payload":{}}"#;
    assert_eq!(post_raw(&server, twice).await.blames(), "body");
    assert!(published(&server).await.is_empty());
}

#[tokio::test]
async fn an_event_id_is_used_once() {
    let server = server().await;
    server.app("other").await;
    let client = server.operator();
    let body = json!({"eventType": "a", "eventId": "e-1", "payload": {}});
    let first = client.post(MSGS, &body).await.is(202);
    assert_eq!(client.post(MSGS, &body).await.fails(409), "conflict");
    assert_eq!(
        client.post_keyed(MSGS, "k", &body).await.fails(409),
        "conflict"
    );
    let different = json!({"eventType": "b", "eventId": "e-1", "payload": {"x": 1}});
    assert_eq!(client.post(MSGS, &different).await.fails(409), "conflict");
    client.post("/api/v1/app/other/msg", &body).await.is(202);
    let keyed = json!({"eventType": "a", "eventId": "e-2", "payload": {}});
    let once = client.post_keyed(MSGS, "k2", &keyed).await.is(202);
    assert_eq!(client.post_keyed(MSGS, "k2", &keyed).await.is(202), once);
    assert_eq!(client.post(MSGS, &keyed).await.fails(409), "conflict");
    assert_eq!(
        client.get(&format!("{MSGS}/e-1")).await.is(200)["id"],
        first["id"]
    );
}

#[tokio::test]
async fn a_message_can_be_put_off() {
    let server = server().await;
    let client = server.operator();
    let at = START + Duration::from_secs(3600);
    let body = json!({"eventType": "a", "payload": {}, "deliverAt": at.to_rfc3339()});
    let accepted = client.post(MSGS, &body).await.is(202);
    assert_eq!(accepted["deliverAt"], at.to_rfc3339());
    let depth = server.ports.broker.depth(START).await.unwrap();
    assert_eq!((depth.ready, depth.waiting), (0, 1));
    assert!(published(&server).await.is_empty());
    server.clock.pass(Duration::from_secs(3601));
    assert_eq!(published(&server).await[0].event.deliver_at, Some(at));

    let past = json!({"eventType": "a", "payload": {}, "deliverAt": START.to_rfc3339()});
    let accepted = client.post(MSGS, &past).await.is(202);
    assert_eq!(accepted.get("deliverAt"), None);
    assert_eq!(published(&server).await.len(), 1);
}

#[tokio::test]
async fn the_application_can_be_created_on_the_way() {
    let server = Server::start();
    let client = server.operator();
    let mut body = message();
    body["application"] = json!({"name": "New", "uid": "new", "metadata": {"a": "b"}});
    let path = "/api/v1/app/new/msg";
    client.post(path, &body).await.is(202);
    let app = client.get("/api/v1/app/new").await.is(200);
    assert_eq!(
        (&app["name"], &app["metadata"]),
        (&json!("New"), &json!({"a": "b"}))
    );
    body["application"]["name"] = json!("Newer");
    client.post(path, &body).await.is(202);
    assert_eq!(
        client.get("/api/v1/app/new").await.is(200),
        app,
        "it is not changed"
    );
    let by_id = format!("/api/v1/app/{}/msg", app["id"].as_str().unwrap());
    client.post(&by_id, &body).await.is(202);
    assert_eq!(
        client
            .post("/api/v1/app/else/msg", &message())
            .await
            .fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn concurrent_messages_create_one_application() {
    let server = Server::start();
    let client = server.operator();
    let mut body = message();
    body["application"] = json!({"name": "New", "uid": "new"});
    let posts = (0..8).map(|_| client.post("/api/v1/app/new/msg", &body));
    for reply in futures_util::future::join_all(posts).await {
        reply.is(202);
    }
    let list = client.get("/api/v1/app").await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_application_above_its_rate_is_429() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "slow", "uid": "slow", "throttleRate": 2});
    client.post("/api/v1/app", &body).await.is(201);
    let path = "/api/v1/app/slow/msg";
    client.post(path, &message()).await.is(202);
    client.post(path, &message()).await.is(202);
    assert_eq!(
        client.post(path, &message()).await.fails(429),
        "rate_limited"
    );
    server.clock.pass(Duration::from_millis(500));
    client.post(path, &message()).await.is(202);
}

#[tokio::test]
async fn lists_filter() {
    let server = server().await;
    let client = server.operator();
    for (kind, channel, tag) in [("a", "eu", "x"), ("b", "us", "y"), ("c", "eu", "y")] {
        let body = json!({"eventType": kind, "channels": [channel], "tags": [tag], "payload": {}});
        let id = client.post(MSGS, &body).await.is(202)["id"].clone();
        client
            .get(&format!("{MSGS}/{}", id.as_str().unwrap()))
            .await
            .is(200);
        server.clock.pass(Duration::from_secs(1));
    }
    let after = (START + Duration::from_millis(500)).to_rfc3339();
    for (query, kinds) in [
        (String::new(), vec!["c", "b", "a"]),
        ("event_types=a,c".to_owned(), vec!["c", "a"]),
        ("event_types[]=b".to_owned(), vec!["b"]),
        ("channel=eu".to_owned(), vec!["c", "a"]),
        ("tag=y".to_owned(), vec!["c", "b"]),
        (format!("before={after}"), vec!["a"]),
        (format!("after={after}&channel=eu"), vec!["c"]),
        ("limit=1".to_owned(), vec!["c"]),
    ] {
        let list = client.get(&format!("{MSGS}?{query}")).await.is(200);
        let rows = list["data"].as_array().unwrap().iter();
        let found: Vec<&str> = rows.map(|row| row["eventType"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{query}");
    }
}

#[tokio::test]
async fn an_old_message_that_is_unknown_is_404_at_once() {
    let server = server().await;
    let unknown = postrider_core::MessageId::new(START - DAY, [1; 15]);
    let reply = server.operator().get(&format!("{MSGS}/{unknown}")).await;
    assert_eq!(reply.fails(404), "not_found");
}

/// Reads a payload back as it must have been sent.
fn sent(body: &str) -> Option<Value> {
    let parsed: Value = serde_json::from_str(body).ok()?;
    parsed
        .get("payload")
        .filter(|payload| payload.is_object())
        .cloned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_object_is_delivered_as_it_was_written(
        keys in proptest::collection::vec("\\PC{0,8}", 0..4), space in "[ \\n\\t]{0,3}", number: f64,
    ) {
        let mut payload = format!("{{{space}");
        for (n, key) in keys.iter().enumerate() {
            let key = serde_json::to_string(&format!("{n}{key}")).unwrap();
            payload += &format!("{key}{space}:{space}{number:?},");
        }
        payload += &format!("\"end\"{space}:[{space}]}}");
        let body = format!("{{\"eventType\":\"a\",{space}\"payload\":{space}{payload}{space}}}");
        let valid = sent(&body).is_some();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server().await;
            let reply = post_raw(&server, Bytes::from(body.clone())).await;
            assert_eq!(reply.status == 202, valid, "{body}");
            if valid {
                assert_eq!(published(&server).await[0].event.payload, payload.as_bytes());
            }
        });
    }
}
