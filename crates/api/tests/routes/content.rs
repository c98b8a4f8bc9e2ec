use std::time::Duration;

use postrider_core::attempt::AttemptRecord;
use postrider_core::message::Trigger;
use postrider_core::ports::{LogRecord, MessageKey};
use postrider_core::withdrawn::is_withdrawn;
use postrider_core::{AttemptId, ChainId, EventTypeName, MessageId};
use serde_json::{Value, json};

use crate::support::{START, Server};

struct Scene {
    server: Server,
    app: String,
    endpoint: String,
    message: String,
    attempt: AttemptId,
}

async fn scene() -> Scene {
    let server = Server::start();
    let app = server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    let message = server.message("shop").await;
    let attempt = AttemptId::new(START, [7; 15]);
    let record = AttemptRecord {
        id: attempt,
        app: app.parse().unwrap(),
        message: message.parse().unwrap(),
        endpoint: endpoint.parse().unwrap(),
        chain: ChainId::FIRST,
        attempt: 1,
        trigger: Trigger::Scheduled,
        at: START,
        url: "https://hooks.example.org/in".to_owned(),
        succeeded: true,
        status_code: 200,
        response: "private".to_owned(),
        duration_ms: 1,
        event_type: EventTypeName::new("order.paid").unwrap(),
        channels: Vec::new(),
    };
    let log = &server.ports.log;
    log.record(vec![LogRecord::Attempt(record)]).await.unwrap();
    Scene {
        server,
        app,
        endpoint,
        message,
        attempt,
    }
}

impl Scene {
    fn message(&self) -> String {
        format!("/api/v1/app/shop/msg/{}", self.message)
    }

    fn attempt(&self) -> String {
        format!("{}/attempt/{}", self.message(), self.attempt)
    }

    async fn get(&self, path: &str) -> Value {
        self.server.operator().get(path).await.is(200)
    }
}

#[tokio::test]
async fn an_expunged_payload_is_gone_and_cannot_be_resent() {
    let scene = scene().await;
    let client = scene.server.operator();
    let content = format!("{}/content", scene.message());
    client.delete(&content).await.is(204);
    client.delete(&content).await.is(204);
    let shown = scene.get(&scene.message()).await;
    assert_eq!(shown["payload"], json!({"expired": true}));
    assert_eq!(shown["eventType"], "order.paid");
    let resend = format!("{}/endpoint/{}/resend", scene.message(), scene.endpoint);
    let refused = client.post(&resend, &json!({})).await;
    assert_eq!(refused.fails(400), "missing_payload");
    assert_eq!(
        scene.get(&scene.attempt()).await["response"],
        "private",
        "what was answered is another thing"
    );
}

#[tokio::test]
async fn an_expunged_response_says_so() {
    let scene = scene().await;
    let client = scene.server.operator();
    let content = format!("{}/content", scene.attempt());
    client.delete(&content).await.is(204);
    client.delete(&content).await.is(204);
    let shown = scene.get(&scene.attempt()).await;
    assert_eq!(shown["response"], "EXPUNGED");
    assert_eq!(shown["responseStatusCode"], 200);
    let payload = scene.get(&scene.message()).await["payload"].clone();
    assert_eq!(payload, json!({"order": 1042}));
}

#[tokio::test]
async fn only_operators_expunge_and_only_what_is_there() {
    let scene = scene().await;
    let client = scene.server.operator();
    let consumer = scene.server.consumer(&scene.app);
    for path in [scene.message(), scene.attempt()] {
        let refused = consumer.delete(&format!("{path}/content")).await;
        assert_eq!(refused.fails(403), "insufficient_access");
    }
    for path in [
        format!("/api/v1/app/shop/msg/{}", MessageId::MIN),
        format!("{}/attempt/{}", scene.message(), AttemptId::MIN),
        format!(
            "/api/v1/app/shop/msg/{}/attempt/{}",
            MessageId::MIN,
            scene.attempt
        ),
    ] {
        let refused = client.delete(&format!("{path}/content")).await;
        assert_eq!(refused.fails(404), "not_found", "{path}");
    }
}

#[tokio::test]
async fn a_message_that_is_not_due_yet_is_taken_back() {
    let scene = scene().await;
    let client = scene.server.operator();
    let withdrawn = async |message: &str| {
        let ports = &scene.server.ports;
        let key = MessageKey::Id(message.parse().unwrap());
        let app = scene.app.parse().unwrap();
        let record = ports.log.message(app, &key).await.unwrap().unwrap();
        is_withdrawn(&*ports.documents, START, &record.event)
            .await
            .unwrap()
    };
    let later = START + Duration::from_secs(3600);
    let body = json!({"eventType": "a", "payload": {}, "deliverAt": later.to_rfc3339()});
    let accepted = client.post("/api/v1/app/shop/msg", &body).await.is(202);
    let id = accepted["id"].as_str().unwrap();
    let content = format!("/api/v1/app/shop/msg/{id}/content");
    client
        .get(&format!("/api/v1/app/shop/msg/{id}"))
        .await
        .is(200);
    assert!(!withdrawn(id).await);
    client.delete(&content).await.is(204);
    client.delete(&content).await.is(204);
    assert!(withdrawn(id).await);
    client
        .delete(&format!("{}/content", scene.message()))
        .await
        .is(204);
    assert!(!withdrawn(&scene.message).await, "it was due at once");
}
