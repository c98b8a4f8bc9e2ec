//! Whatever is sent, the answer is JSON and no fault of ours.

use axum::body::Body;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Client, Server};

const APP: &str = "/api/v1/app/shop";

/// Every operation that reads a body, on things that exist.
const OPERATIONS: [(&str, &str); 32] = [
    ("POST", "/api/v1/app"),
    ("PUT", "/api/v1/app/shop"),
    ("PATCH", "/api/v1/app/shop"),
    ("PUT", "/api/v1/app/new"),
    ("POST", "/api/v1/app/shop/endpoint"),
    ("PUT", "/api/v1/app/shop/endpoint/main"),
    ("PATCH", "/api/v1/app/shop/endpoint/main"),
    ("PUT", "/api/v1/app/shop/endpoint/new"),
    ("PUT", "/api/v1/app/shop/endpoint/main/headers"),
    ("PATCH", "/api/v1/app/shop/endpoint/main/headers"),
    ("POST", "/api/v1/app/shop/endpoint/main/secret/rotate"),
    ("POST", "/api/v1/app/shop/msg"),
    ("POST", "/api/v1/app/shop/msg/event/endpoint/main/resend"),
    ("POST", "/api/v1/event-type"),
    ("PUT", "/api/v1/event-type/order.paid"),
    ("PATCH", "/api/v1/event-type/order.paid"),
    ("DELETE", "/api/v1/event-type/order.paid"),
    ("POST", "/api/v1/event-type/import/openapi"),
    ("POST", "/api/v1/app/shop/msg-batch"),
    ("POST", "/api/v1/app/shop/msg/precheck/active"),
    ("POST", "/api/v1/app/shop/endpoint/main/send-example"),
    ("POST", "/api/v1/app/shop/endpoint/main/recover"),
    ("POST", "/api/v1/app/shop/endpoint/main/replay-missing"),
    ("POST", "/api/v1/auth/app-portal-access/shop"),
    ("POST", "/api/v1/auth/app/shop/expire-all"),
    ("POST", "/api/v1/api-key"),
    ("POST", "/api/v1/stats/usage/app"),
    ("POST", "/api/v1/operational-webhook/endpoint"),
    ("PUT", "/api/v1/operational-webhook/endpoint/ops"),
    ("PATCH", "/api/v1/operational-webhook/endpoint/ops"),
    ("PUT", "/api/v1/operational-webhook/endpoint/ops/headers"),
    (
        "POST",
        "/api/v1/operational-webhook/endpoint/ops/secret/rotate",
    ),
];

/// Fields that some operation reads.
const FIELDS: [&str; 41] = [
    "name",
    "uid",
    "throttleRate",
    "rateLimit",
    "metadata",
    "url",
    "description",
    "eventTypes",
    "filterTypes",
    "channels",
    "disabled",
    "headers",
    "secret",
    "deleteHeaders",
    "key",
    "gracePeriodSeconds",
    "eventType",
    "eventId",
    "payload",
    "data",
    "tags",
    "deliverAt",
    "payloadRetentionPeriod",
    "payloadRetentionHours",
    "application",
    "transformationsParams",
    "schemas",
    "featureFlags",
    "archived",
    "messages",
    "idempotencyKey",
    "since",
    "until",
    "appIds",
    "appId",
    "expiry",
    "expiresAt",
    "readOnly",
    "spec",
    "specRaw",
    "webhooks",
];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn server() -> Server {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let body = json!({"name": "order.paid", "description": ""});
    client.post("/api/v1/event-type", &body).await.is(201);
    let body = json!({"url": "https://hooks.example.org/", "uid": "main"});
    client.post(&format!("{APP}/endpoint"), &body).await.is(201);
    let body = json!({"eventType": "a", "eventId": "event", "payload": {}});
    client.post(&format!("{APP}/msg"), &body).await.is(202);
    client.get(&format!("{APP}/msg/event")).await.is(200);
    server
}

/// Sends one body to every operation. The shape of errors is checked by the client itself.
async fn throw(client: &Client, body: &[u8]) {
    for (method, path) in OPERATIONS {
        let method: Method = method.parse().unwrap();
        let reply = client
            .send(method.clone(), path, &[], Body::from(body.to_vec()))
            .await;
        let text = String::from_utf8_lossy(body);
        assert!(reply.status < 500, "{method} {path} {text:?}: {reply:?}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z]{1,8}".prop_map(Value::from),
        "https?://[a-z0-9:.@#\\[\\]]{0,20}".prop_map(Value::from),
        "whsec_[A-Za-z0-9+/]{20,44}".prop_map(Value::from),
        Just(json!("2023-11-15T00:00:00Z")),
        Just(json!("9999-12-31T23:59:59Z")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z-]{1,6}", inner.clone(), 0..4)
                .prop_map(|map| map.into_iter().collect()),
            proptest::collection::btree_map(proptest::sample::select(&FIELDS[..]), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 8)) {
        runtime().block_on(async {
            let server = server().await;
            for body in bodies {
                throw(&server.operator(), &body).await;
            }
        });
    }

    #[test]
    fn any_json_in_known_fields_is_answered(
        bodies in proptest::collection::vec(
            proptest::collection::btree_map(proptest::sample::select(&FIELDS[..]), value(), 0..10), 8),
    ) {
        runtime().block_on(async {
            let server = server().await;
            for body in bodies {
                let body: Value = body.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                throw(&server.operator(), body.to_string().as_bytes()).await;
            }
        });
    }

    #[test]
    fn any_path_and_query_is_answered(
        targets in proptest::collection::vec(("[a-zA-Z0-9%/._~-]{0,24}", "[a-zA-Z0-9%&=\\[\\].,:+-]{0,40}"), 16),
    ) {
        runtime().block_on(async {
            let server = server().await;
            let client = server.operator();
            for (path, query) in targets {
                for base in ["/", "/api/v1/", "/api/v1/app/", "/api/v1/app/shop/", "/api/v1/app/shop/msg/event/"] {
                    let target = format!("{base}{path}?{query}");
                    if target.parse::<http::Uri>().is_err() {
                        continue;
                    }
                    let reply = client.get(&target).await;
                    prop_assert!(reply.status < 500, "{target}: {reply:?}");
                }
                for list in ["/api/v1/app", "/api/v1/event-type", "/api/v1/app/shop/msg", "/api/v1/app/shop/endpoint",
                    "/api/v1/app/shop/attempt/endpoint/main", "/api/v1/app/shop/dead-letter",
                    "/api/v1/app/shop/endpoint/main/msg", "/api/v1/app/shop/endpoint/main/stats",
                    "/api/v1/background-task", "/api/v1/api-key", "/api/v1/operational-webhook/endpoint"]
                {
                    let target = format!("{list}?{query}");
                    if target.parse::<http::Uri>().is_err() {
                        continue;
                    }
                    let reply = client.get(&target).await;
                    prop_assert!(reply.status < 500, "{target}: {reply:?}");
                }
            }
            Ok(())
        })?;
    }
}
