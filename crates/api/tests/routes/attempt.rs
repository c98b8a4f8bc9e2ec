use std::time::Duration;

use axum::body::Body;
use http::Method;
use postrider_core::attempt::AttemptRecord;
use postrider_core::message::{Trigger, Work};
use postrider_core::ports::{Destination, DestinationStatus, LogRecord};
use postrider_core::{
    AppId, AttemptId, ChainId, Clock, EndpointId, EventTypeName, MessageId, PairKey, envelope,
};
use serde_json::{Value, json};

use crate::support::{START, Server};

struct Scene {
    server: Server,
    app: AppId,
    endpoint: EndpointId,
    message: MessageId,
}

/// An application with an endpoint and a message.
async fn scene() -> Scene {
    let server = Server::start();
    let app = server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    let message = server.message("shop").await;
    Scene {
        app: app.parse().unwrap(),
        endpoint: endpoint.parse().unwrap(),
        message: message.parse().unwrap(),
        server,
    }
}

impl Scene {
    fn attempt(&self, number: u16, status_code: u16) -> AttemptRecord {
        let at = START + Duration::from_secs(u64::from(number));
        AttemptRecord {
            id: AttemptId::new(at, [number as u8; 15]),
            app: self.app,
            message: self.message,
            endpoint: self.endpoint,
            chain: ChainId::FIRST,
            attempt: number,
            trigger: if number == 3 {
                Trigger::Manual
            } else {
                Trigger::Scheduled
            },
            at,
            url: "https://hooks.example.org/in".to_owned(),
            succeeded: (200..300).contains(&status_code),
            status_code,
            response: "thanks".to_owned(),
            duration_ms: 42,
            event_type: EventTypeName::new("order.paid").unwrap(),
            channels: Vec::new(),
        }
    }

    /// Attempts 1 to 3: no answer, 503, 200.
    async fn with_attempts(self) -> Self {
        let attempts = [(1, 0), (2, 503), (3, 200)]
            .map(|(number, status)| LogRecord::Attempt(self.attempt(number, status)));
        self.server.ports.log.record(attempts.into()).await.unwrap();
        self
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/api/v1/app/shop/{path}");
        self.server.operator().get(&path).await.is(200)
    }

    fn resend_path(&self) -> String {
        format!(
            "/api/v1/app/shop/msg/{}/endpoint/{}/resend",
            self.message, self.endpoint
        )
    }
}

fn codes(list: &Value) -> Vec<u64> {
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| row["responseStatusCode"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn an_attempt_has_all_fields_that_clients_require() {
    let scene = scene().await.with_attempts().await;
    let list = scene.get(&format!("attempt/msg/{}", scene.message)).await;
    let newest = &list["data"][0];
    let expected = json!({
        "id": scene.attempt(3, 200).id.to_string(),
        "msgId": scene.message.to_string(),
        "endpointId": scene.endpoint.to_string(),
        "url": "https://hooks.example.org/in",
        "response": "thanks",
        "responseStatusCode": 200,
        "responseDurationMs": 42,
        "status": 0,
        "statusText": "success",
        "triggerType": 1,
        "timestamp": "2023-11-14T22:13:23.000Z",
        "attemptNumber": 3,
    });
    assert_eq!(*newest, expected);
    let oldest = &list["data"][2];
    assert_eq!(
        (&oldest["status"], &oldest["statusText"]),
        (&json!(2), &json!("fail"))
    );
    let id = newest["id"].as_str().unwrap();
    let one = scene
        .get(&format!("msg/{}/attempt/{id}", scene.message))
        .await;
    assert_eq!(one, expected);
}

#[tokio::test]
async fn lists_filter() {
    let scene = scene().await.with_attempts().await;
    let after = (START + Duration::from_millis(1500)).to_rfc3339();
    let first = scene.attempt(1, 0).id;
    for scope in [
        format!("endpoint/{}", scene.endpoint),
        format!("msg/{}", scene.message),
    ] {
        for (query, expected) in [
            (String::new(), vec![200, 503, 0]),
            ("status=0".to_owned(), vec![200]),
            ("status=2".to_owned(), vec![503, 0]),
            ("status=1".to_owned(), vec![]),
            ("status=3".to_owned(), vec![]),
            ("status_code_class=200".to_owned(), vec![200]),
            ("status_code_class=500".to_owned(), vec![503]),
            ("status_code_class=0".to_owned(), vec![0]),
            ("status_code_class=100".to_owned(), vec![]),
            (format!("after={after}"), vec![200, 503]),
            (format!("before={after}&status=2"), vec![0]),
            ("event_types=order.paid".to_owned(), vec![200, 503, 0]),
            ("event_types=other".to_owned(), vec![]),
            ("channel=eu".to_owned(), vec![]),
            ("limit=2".to_owned(), vec![200, 503]),
            (format!("iterator=-{first}"), vec![200, 503]),
        ] {
            let list = scene.get(&format!("attempt/{scope}?{query}")).await;
            assert_eq!(codes(&list), expected, "{scope} {query}");
        }
        for query in [
            "status=4",
            "status=success",
            "status_code_class=250",
            "status_code_class=600",
        ] {
            let path = format!("/api/v1/app/shop/attempt/{scope}?{query}");
            let reply = scene.server.operator().get(&path).await;
            assert_eq!(reply.fails(400), "invalid_query", "{query}");
        }
    }
    let by_message = format!("attempt/msg/{}", scene.message);
    let here = scene
        .get(&format!("{by_message}?endpoint_id={}", scene.endpoint))
        .await;
    assert_eq!(codes(&here).len(), 3);
    let elsewhere = scene
        .get(&format!("{by_message}?endpoint_id={}", EndpointId::MIN))
        .await;
    assert_eq!(codes(&elsewhere).len(), 0);
}

#[tokio::test]
async fn content_and_message_come_on_request() {
    let scene = scene().await.with_attempts().await;
    let path = format!("attempt/endpoint/{}", scene.endpoint);
    let list = scene.get(&format!("{path}?with_content=false")).await;
    assert_eq!(list["data"][0]["response"], "{}");
    assert!(list["data"][0].get("msg").is_none());
    let list = scene.get(&format!("{path}?with_msg=true")).await;
    assert_eq!(list["data"][0]["msg"]["id"], scene.message.to_string());
    assert_eq!(list["data"][0]["msg"]["payload"], json!({"order": 1042}));
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let scene = scene().await.with_attempts().await;
    let client = scene.server.operator();
    let other = scene.server.message("shop").await;
    let attempt = scene.attempt(1, 0).id;
    for path in [
        "attempt/endpoint/nobody".to_owned(),
        format!("attempt/msg/{}", MessageId::MIN),
        format!("msg/{}/attempt/{}", scene.message, AttemptId::MIN),
        format!("msg/{other}/attempt/{attempt}"),
        format!("msg/{}/endpoint", MessageId::MIN),
        format!("msg/{}/attempt/nonsense", scene.message),
    ] {
        let reply = client.get(&format!("/api/v1/app/shop/{path}")).await;
        assert_eq!(reply.fails(404), "not_found", "{path}");
    }
}

#[tokio::test]
async fn destinations_show_how_far_a_message_has_come() {
    let scene = scene().await;
    let next = START + Duration::from_secs(300);
    let mut destination = Destination {
        app: scene.app,
        message: scene.message,
        endpoint: scene.endpoint,
        status: DestinationStatus::Pending,
        next_attempt: Some(next),
        at: START,
    };
    let log = &scene.server.ports.log;
    log.record(vec![LogRecord::Destination(destination.clone())])
        .await
        .unwrap();
    let path = format!("msg/{}/endpoint", scene.message);
    let shown = scene.get(&path).await["data"][0].clone();
    assert_eq!(shown["id"], scene.endpoint.to_string());
    assert_eq!(shown["url"], "https://hooks.example.org/in");
    assert_eq!(
        (&shown["status"], &shown["statusText"]),
        (&json!(1), &json!("pending"))
    );
    assert_eq!(shown["nextAttempt"], next.to_rfc3339());
    for field in ["createdAt", "description", "updatedAt", "version"] {
        assert!(!shown[field].is_null(), "{field}");
    }
    for (n, (status, number, text)) in [
        (DestinationStatus::Sending, 3, "sending"),
        (DestinationStatus::Delivered, 0, "success"),
        (DestinationStatus::Failed, 2, "fail"),
        (DestinationStatus::Canceled, 2, "fail"),
    ]
    .into_iter()
    .enumerate()
    {
        destination.status = status;
        destination.next_attempt = None;
        destination.at = START + Duration::from_secs(n as u64 + 1);
        log.record(vec![LogRecord::Destination(destination.clone())])
            .await
            .unwrap();
        let shown = scene.get(&path).await["data"][0].clone();
        assert_eq!(
            (&shown["status"], &shown["statusText"]),
            (&json!(number), &json!(text))
        );
        assert_eq!(shown["nextAttempt"], Value::Null);
    }
    let endpoint = format!("/api/v1/app/shop/endpoint/{}", scene.endpoint);
    scene.server.operator().delete(&endpoint).await.is(204);
    assert_eq!(
        scene.get(&path).await["data"],
        json!([]),
        "a deleted endpoint is not shown"
    );
}

#[tokio::test]
async fn resending_opens_a_chain_and_publishes_its_first_attempt() {
    let scene = scene().await;
    let server = &scene.server;
    let now = server.clock.now();
    let first = server.ports.broker.lease(now, 10).await.unwrap();
    let receipts = first.packs.iter().map(|pack| pack.receipt).collect();
    server.ports.broker.ack(receipts).await.unwrap();

    let client = server.operator();
    let reply = client
        .send(Method::POST, &scene.resend_path(), &[], Body::empty())
        .await;
    assert_eq!(reply.is(202), json!({}));
    let leased = server.ports.broker.lease(now, 10).await.unwrap();
    let item = envelope::decode(&leased.packs[0].bytes).unwrap().remove(0);
    assert_eq!(item.event.message, scene.message);
    assert_eq!(item.event.payload, br#"{"order":1042}"#.as_slice());
    assert!(item.maybe_dup, "it is guarded");
    let Work::Targets(targets) = &item.work else {
        panic!("{item:?}");
    };
    let target = &targets[0];
    assert_eq!(
        (target.endpoint, target.attempt, target.era),
        (scene.endpoint, 1, 0)
    );
    assert_eq!((target.trigger, target.due), (Trigger::Manual, now));
    assert_ne!(target.chain, ChainId::FIRST);
    let pair = PairKey {
        app: scene.app,
        message: scene.message,
        endpoint: scene.endpoint,
    };
    let record = server.ports.limits.pair(now, pair).await.unwrap().unwrap();
    assert_eq!((record.chain, record.attempt), (target.chain, 1));
}

#[tokio::test]
async fn a_repeated_resend_is_one_resend() {
    let scene = scene().await;
    let client = scene.server.operator();
    let before = scene.server.ports.broker.depth(START).await.unwrap();
    let path = scene.resend_path();
    client.post_keyed(&path, "auto_1", &json!({})).await.is(202);
    client.post_keyed(&path, "auto_1", &json!({})).await.is(202);
    let after = scene.server.ports.broker.depth(START).await.unwrap();
    assert_eq!(after.ready - before.ready, 1);
}

#[tokio::test]
async fn what_cannot_be_resent_is_told_apart() {
    let scene = scene().await;
    let server = &scene.server;
    let client = server.operator();
    let path = format!(
        "/api/v1/app/shop/msg/{}/endpoint/nobody/resend",
        scene.message
    );
    assert_eq!(client.post(&path, &json!({})).await.fails(404), "not_found");
    let path = format!(
        "/api/v1/app/shop/msg/{}/endpoint/{}/resend",
        MessageId::MIN,
        scene.endpoint
    );
    assert_eq!(client.post(&path, &json!({})).await.fails(404), "not_found");

    let endpoint = format!("/api/v1/app/shop/endpoint/{}", scene.endpoint);
    client
        .patch(&endpoint, &json!({"disabled": true}))
        .await
        .is(200);
    let refused = client.post(&scene.resend_path(), &json!({})).await;
    assert_eq!(refused.fails(409), "endpoint_disabled");
    client
        .patch(&endpoint, &json!({"disabled": false}))
        .await
        .is(200);

    let late = START + Duration::from_secs(100 * 24 * 3600);
    while server
        .ports
        .log
        .retain(late, START - Duration::from_secs(1))
        .await
        .unwrap()
        > 0
    {}
    let refused = client.post(&scene.resend_path(), &json!({})).await;
    assert_eq!(refused.fails(400), "missing_payload");
}
