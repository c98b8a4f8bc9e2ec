//! What is sent again: what was not delivered, and what was never tried.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::message::{Event, Trigger, Work};
use postrider_core::ports::{Destination, DestinationStatus, LogRecord, MessageKey};
use postrider_core::{Clock, MessageId, envelope};
use serde_json::{Value, json};

use crate::faults::ShutLog;
use crate::support::{Client, START, Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// After this time a message has been tried.
const SETTLED: Duration = Duration::from_secs(61);

/// An application with an endpoint, whose messages may have come to any state there.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) app: String,
    pub(crate) endpoint: String,
}

impl Scene {
    pub(crate) async fn on(server: Server) -> Self {
        let app = server.app("shop").await;
        let endpoint = server.endpoint("shop").await;
        Self {
            server,
            app,
            endpoint,
        }
    }

    pub(crate) async fn new() -> Self {
        Self::on(Server::start()).await
    }

    pub(crate) fn path(&self, what: &str) -> String {
        format!("/api/v1/app/shop/endpoint/{}/{what}", self.endpoint)
    }

    /// A message that came to this state at the endpoint.
    pub(crate) async fn sent(&self, status: DestinationStatus) -> String {
        let id = self.server.message("shop").await;
        let record = LogRecord::Destination(Destination {
            app: self.app.parse().unwrap(),
            message: id.parse().unwrap(),
            endpoint: self.endpoint.parse().unwrap(),
            status,
            next_attempt: None,
            at: START,
        });
        self.server.ports.log.record(vec![record]).await.unwrap();
        id
    }

    /// What is in the broker is done.
    pub(crate) async fn clear(&self) {
        let now = self.server.clock.now();
        let leased = self.server.ports.broker.lease(now, 1000).await.unwrap();
        let receipts = leased.packs.iter().map(|pack| pack.receipt).collect();
        self.server.ports.broker.ack(receipts).await.unwrap();
    }

    /// Messages that are to be sent to the endpoint by hand, now.
    pub(crate) async fn resent(&self) -> Vec<String> {
        let now = self.server.clock.now();
        let leased = self.server.ports.broker.lease(now, 1000).await.unwrap();
        let packs = leased.packs.iter();
        let items = packs.flat_map(|pack| envelope::decode(&pack.bytes).unwrap());
        let by_hand = items.filter(|item| match &item.work {
            Work::Targets(targets) => {
                targets[0].trigger == Trigger::Manual
                    && targets[0].endpoint.to_string() == self.endpoint
            }
            _ => false,
        });
        let mut ids: Vec<String> = by_hand.map(|item| item.event.message.to_string()).collect();
        ids.sort();
        ids
    }
}

/// A task as it is once it has ended.
pub(crate) async fn ended(client: &Client, task: &Value) -> Value {
    let path = format!("/api/v1/background-task/{}", task["id"].as_str().unwrap());
    let wait = async {
        loop {
            let found = client.get(&path).await.is(200);
            if found["status"] != "running" {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn what_was_not_delivered_is_sent_again() {
    let scene = Scene::new().await;
    scene.sent(DestinationStatus::Failed).await;
    scene.server.clock.pass(DAY);
    let mut wanted = Vec::new();
    // More than one step.
    for _ in 0..60 {
        wanted.push(scene.sent(DestinationStatus::Failed).await);
        scene.sent(DestinationStatus::Delivered).await;
    }
    wanted.push(scene.sent(DestinationStatus::Canceled).await);
    scene.sent(DestinationStatus::Pending).await;
    let client = scene.server.operator();
    let expunged = scene.sent(DestinationStatus::Failed).await;
    let content = format!("/api/v1/app/shop/msg/{expunged}/content");
    client.delete(&content).await.is(204);
    scene.clear().await;

    let since = (START + DAY).to_rfc3339();
    let begun = client
        .post(&scene.path("recover"), &json!({"since": since}))
        .await
        .is(202);
    assert!(begun["id"].as_str().unwrap().starts_with("qtask_"));
    assert_eq!(
        (&begun["status"], &begun["task"]),
        (&json!("running"), &json!("endpoint.recover"))
    );
    assert!(begun["updatedAt"].is_string());
    let task = ended(&client, &begun).await;
    assert_eq!(task["status"], "finished", "{task}");
    assert_eq!(task["data"], json!({"resent": 61, "withoutPayload": 1}));
    assert_eq!(scene.resent().await, sorted(wanted));
}

#[tokio::test]
async fn what_was_never_tried_is_replayed() {
    let scene = Scene::new().await;
    let tried = scene.sent(DestinationStatus::Delivered).await;
    let missing = scene.server.message("shop").await;
    let client = scene.server.operator();
    let endpoint = scene.path("").trim_end_matches('/').to_owned();
    client
        .patch(&endpoint, &json!({"channels": ["eu"]}))
        .await
        .is(200);
    let body = json!({"eventType": "a", "channels": ["eu"], "payload": {}});
    let in_eu = client.post("/api/v1/app/shop/msg", &body).await.is(202);
    let in_eu = in_eu["id"].as_str().unwrap().to_owned();
    client
        .get(&format!("/api/v1/app/shop/msg/{in_eu}"))
        .await
        .is(200);
    scene.clear().await;
    scene.server.clock.pass(SETTLED);
    let since = json!({"since": START.to_rfc3339()});

    let path = scene.path("replay-missing");
    let begun = client.post(&path, &since).await.is(202);
    assert_eq!(begun["task"], "endpoint.replay");
    assert_eq!(ended(&client, &begun).await["status"], "finished");
    assert_eq!(
        scene.resent().await,
        *std::slice::from_ref(&in_eu),
        "it asks for nothing else"
    );
    client
        .patch(&endpoint, &json!({"channels": null}))
        .await
        .is(200);
    let begun = client.post(&path, &since).await.is(202);
    assert_eq!(ended(&client, &begun).await["data"]["resent"], 2);
    let resent = scene.resent().await;
    assert!(resent.contains(&missing) && !resent.contains(&tried));
}

#[tokio::test]
async fn what_is_on_its_way_or_was_meant_for_another_is_not_missing() {
    let scene = Scene::new().await;
    let client = scene.server.operator();
    let other = scene.server.endpoint("shop").await;
    let example = format!("/api/v1/app/shop/endpoint/{other}/send-example");
    let sent = json!({"eventType": "svix.ping"});
    client.post(&example, &sent).await.is(200);
    let deliver_at = (START + DAY).to_rfc3339();
    let scheduled = json!({"eventType": "a", "payload": {}, "deliverAt": deliver_at});
    client
        .post("/api/v1/app/shop/msg", &scheduled)
        .await
        .is(202);
    let due = (START + SETTLED - Duration::from_secs(10)).to_rfc3339();
    let just_due = json!({"eventType": "a", "payload": {}, "deliverAt": due});
    client.post("/api/v1/app/shop/msg", &just_due).await.is(202);
    let missing = scene.server.message("shop").await;
    scene.server.clock.pass(SETTLED);
    scene.server.message("shop").await;
    scene.clear().await;
    let since = json!({"since": START.to_rfc3339()});
    let begun = client
        .post(&scene.path("replay-missing"), &since)
        .await
        .is(202);
    assert_eq!(ended(&client, &begun).await["data"]["resent"], 1);
    assert_eq!(scene.resent().await, [missing]);
}

/// What is recorded between the two reads of a step: older messages, so that the second list is longer than the first.
#[tokio::test]
async fn what_is_recorded_late_does_not_hide_what_was_tried() {
    let mut shut = None;
    let server = Server::with(
        |mut ports| {
            let log = ShutLog::new(ports.log);
            shut = Some(Arc::clone(&log));
            ports.log = log;
            ports
        },
        |_| {},
    );
    let log = shut.unwrap();
    log.open();
    let scene = Scene::on(server).await;
    scene.server.clock.pass(Duration::from_secs(1));
    let tried = scene.sent(DestinationStatus::Delivered).await;
    let key = MessageKey::Id(tried.parse().unwrap());
    let app = scene.app.parse().unwrap();
    let found = scene.server.ports.log.message(app, &key).await.unwrap();
    let event = found.unwrap().event;
    for _ in 0..100 {
        let older = Event {
            message: MessageId::new(START, rand::random()),
            accepted_at: START,
            ..(*event).clone()
        };
        let state = Destination {
            app,
            message: older.message,
            endpoint: scene.endpoint.parse().unwrap(),
            status: DestinationStatus::Delivered,
            next_attempt: None,
            at: START,
        };
        let message = LogRecord::Message(Arc::new(older).into());
        let mut late = log.late.lock();
        late.extend([message, LogRecord::Destination(state)]);
    }
    scene.clear().await;
    scene.server.clock.pass(SETTLED);
    let client = scene.server.operator();
    let since = json!({"since": START.to_rfc3339()});
    let path = scene.path("replay-missing");
    let begun = client.post(&path, &since).await.is(202);
    let task = ended(&client, &begun).await;
    assert_eq!(task["data"], json!({"resent": 0, "withoutPayload": 0}));
    assert!(log.late.lock().is_empty(), "they came");
    assert_eq!(scene.resent().await, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_told_apart() {
    let scene = Scene::new().await;
    let client = scene.server.operator();
    scene.server.clock.pass(DAY * 20);
    let path = scene.path("recover");
    let since = |days: u32| json!({"since": (START + DAY * days).to_rfc3339()});
    client.post(&path, &since(6)).await.is(202);
    assert_eq!(client.post(&path, &since(5)).await.blames(), "body.since");
    assert_eq!(client.post(&path, &json!({})).await.blames(), "body.since");
    let mut turned = since(10);
    turned["until"] = json!((START + DAY * 9).to_rfc3339());
    assert_eq!(client.post(&path, &turned).await.blames(), "body.until");
    let nobody = "/api/v1/app/shop/endpoint/nobody/recover";
    assert_eq!(
        client.post(nobody, &since(10)).await.fails(404),
        "not_found"
    );
    let endpoint = scene.path("").trim_end_matches('/').to_owned();
    client
        .patch(&endpoint, &json!({"disabled": true}))
        .await
        .is(200);
    let refused = client.post(&path, &since(10)).await;
    assert_eq!(refused.fails(409), "endpoint_disabled");
}
