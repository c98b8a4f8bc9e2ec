use std::sync::Arc;
use std::time::Duration;

use postrider_core::message::{Event, Trigger, Work};
use postrider_core::name::DocumentName;
use postrider_core::ports::{
    Destination, DestinationStatus, DocumentKind, Expect, LogRecord, MessageKey, NewDocument,
    Owner, Place,
};
use postrider_core::{Clock, MessageId, TaskId, envelope};
use serde_json::{Value, json};

use crate::faults::{Fault, ShutLog, with_faulty_broker};
use crate::support::{Client, START, Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// After this time a message has been tried.
const SETTLED: Duration = Duration::from_secs(61);

struct Scene {
    server: Server,
    app: String,
    endpoint: String,
}

impl Scene {
    async fn on(server: Server) -> Self {
        let app = server.app("shop").await;
        let endpoint = server.endpoint("shop").await;
        Self {
            server,
            app,
            endpoint,
        }
    }

    async fn new() -> Self {
        Self::on(Server::start()).await
    }

    fn path(&self, what: &str) -> String {
        format!("/api/v1/app/shop/endpoint/{}/{what}", self.endpoint)
    }

    /// A message that came to this state at the endpoint.
    async fn sent(&self, status: DestinationStatus) -> String {
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
    async fn clear(&self) {
        let now = self.server.clock.now();
        let leased = self.server.ports.broker.lease(now, 1000).await.unwrap();
        let receipts = leased.packs.iter().map(|pack| pack.receipt).collect();
        self.server.ports.broker.ack(receipts).await.unwrap();
    }

    /// Messages that are to be sent to the endpoint by hand, now.
    async fn resent(&self) -> Vec<String> {
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
async fn ended(client: &Client, task: &Value) -> Value {
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
async fn an_application_has_so_many_tasks_at_a_time() {
    let (server, broker) =
        with_faulty_broker(|config| config.task_interval = Duration::from_millis(10));
    let mut scene = Scene::on(server).await;
    let client = scene.server.operator();
    let since = json!({"since": START.to_rfc3339()});
    let mut paths = Vec::new();
    for _ in 0..9 {
        scene.endpoint = scene.server.endpoint("shop").await;
        scene.sent(DestinationStatus::Failed).await;
        paths.push(scene.path("recover"));
    }
    broker.set(Fault::Unavailable);
    let mut begun = Vec::new();
    for path in &paths[..8] {
        begun.push(client.post(path, &since).await.is(202));
    }
    let refused = client.post(&paths[8], &since).await;
    assert_eq!(refused.fails(429), "rate_limited");
    broker.set(Fault::None);
    scene.server.clock.pass(Duration::from_secs(120));
    for task in &begun {
        assert_eq!(ended(&client, task).await["data"]["resent"], 1);
    }
    let begun = client.post(&paths[8], &since).await.is(202);
    assert_eq!(ended(&client, &begun).await["data"]["resent"], 1);
}

#[tokio::test]
async fn a_repeated_request_is_one_task() {
    let scene = Scene::new().await;
    let client = scene.server.operator();
    let (path, body) = (scene.path("recover"), json!({"since": START.to_rfc3339()}));
    let one = client.post_keyed(&path, "k", &body).await.is(202);
    let same = client.post_keyed(&path, "k", &body).await.is(202);
    assert_eq!(one, same);
    let list = client.get("/api/v1/background-task").await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_task_that_was_interrupted_is_gone_on_with() {
    let (server, broker) =
        with_faulty_broker(|config| config.task_interval = Duration::from_millis(10));
    let scene = Scene::on(server).await;
    let id = scene.sent(DestinationStatus::Failed).await;
    scene.clear().await;
    let client = scene.server.operator();
    broker.set(Fault::Unavailable);
    spoil(&scene.server).await;
    let since = json!({"since": START.to_rfc3339()});
    let begun = client.post(&scene.path("recover"), &since).await.is(202);
    let path = format!("/api/v1/background-task/{}", begun["id"].as_str().unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.get(&path).await.is(200)["status"], "running");
    let list = client.get("/api/v1/background-task").await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["id"], begun["id"]);
    broker.set(Fault::None);
    scene.server.clock.pass(Duration::from_secs(120));
    assert_eq!(ended(&client, &begun).await["status"], "finished");
    assert_eq!(scene.resent().await, [id]);
}

/// Tasks that nobody can read, more of them than are looked at in one go; they come before all others.
async fn spoil(server: &Server) {
    let documents = &server.ports.documents;
    let put = async |owner, kind, name: &str, body: &str| {
        let unreadable = NewDocument {
            name: DocumentName::new(name).unwrap(),
            until: None,
            body: body.to_owned(),
        };
        let place = Place { owner, kind };
        let put = documents.put(START, place, unreadable, Expect::Anything);
        put.await.unwrap();
    };
    let (org, task) = (server.org, TaskId::MIN.to_string());
    put(Owner::Org(org), DocumentKind::Task, &task, "?").await;
    let named = json!({"org": org, "task": task}).to_string();
    put(Owner::Installation, DocumentKind::OpenTask, &task, &named).await;
    for number in 0..260 {
        let name = format!("0{number}");
        put(Owner::Installation, DocumentKind::OpenTask, &name, "?").await;
    }
}

#[tokio::test]
async fn one_task_of_a_kind_runs_for_an_endpoint_at_a_time() {
    let (server, broker) =
        with_faulty_broker(|config| config.task_interval = Duration::from_millis(10));
    let scene = Scene::on(server).await;
    let client = scene.server.operator();
    let since = json!({"since": START.to_rfc3339()});
    // As long as nothing can be sent, none ends.
    scene.sent(DestinationStatus::Failed).await;
    scene.clear().await;
    broker.set(Fault::Unavailable);
    let recover = scene.path("recover");
    let begun = client.post(&recover, &since).await.is(202);
    let refused = client.post(&recover, &since).await;
    assert_eq!(refused.fails(409), "task_running");
    broker.set(Fault::None);
    scene.server.clock.pass(Duration::from_secs(120));
    ended(&client, &begun).await;
    let again = client.post(&recover, &since).await.is(202);
    ended(&client, &again).await;
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

/// Of which a filter wants few: a page is left before all of them were read.
#[tokio::test]
async fn a_list_of_very_many_tasks_goes_on_where_it_was_left() {
    let scene = Scene::new().await;
    let client = scene.server.operator();
    let since = json!({"since": START.to_rfc3339()});
    let begun = client.post(&scene.path("recover"), &since).await.is(202);
    let first = ended(&client, &begun).await;
    let place = Place {
        owner: Owner::Org(scene.server.org),
        kind: DocumentKind::Task,
    };
    let documents = &scene.server.ports.documents;
    let name = |id: &str| DocumentName::new(id).unwrap();
    let own = name(first["id"].as_str().unwrap());
    let stored = documents.get(START, place, &own).await.unwrap().unwrap();
    let mut others = Vec::new();
    for number in 1..=1_100_u32 {
        let at = START + Duration::from_secs(number.into());
        let id = TaskId::new(at, rand::random()).to_string();
        let body = stored.body.replace(own.as_str(), &id);
        let copy = NewDocument {
            name: name(&id),
            until: None,
            body: body.replace("\"recover\"", "\"replay_missing\""),
        };
        others.push(documents.put(START, place, copy, Expect::Nothing));
    }
    futures_util::future::try_join_all(others).await.unwrap();
    let path = "/api/v1/background-task?task=endpoint.recover";
    let list = client.get(path).await.is(200);
    assert_eq!((&list["data"], &list["done"]), (&json!([]), &json!(false)));
    let rest = format!("{path}&iterator={}", list["iterator"].as_str().unwrap());
    let list = client.get(&rest).await.is(200);
    assert_eq!(list["data"], json!([first]));
    assert_eq!(list["done"], true);
    let all = client.get("/api/v1/background-task?limit=250").await;
    assert_eq!(all.is(200)["data"].as_array().unwrap().len(), 250);
    let newest = TaskId::MAX;
    let back = format!("{path}&order=ascending&iterator=-{newest}");
    let list = client.get(&back).await.is(200);
    assert_eq!(list["data"], json!([]));
    let rest = format!(
        "{path}&order=ascending&iterator={}",
        list["prevIterator"].as_str().unwrap()
    );
    assert_eq!(client.get(&rest).await.is(200)["data"], json!([first]));
}

#[tokio::test]
async fn tasks_are_listed_and_filtered() {
    let scene = Scene::new().await;
    let client = scene.server.operator();
    let since = json!({"since": START.to_rfc3339()});
    let mut ids = Vec::new();
    for what in ["recover", "replay-missing", "recover"] {
        scene.server.clock.pass(Duration::from_secs(1));
        let begun = client.post(&scene.path(what), &since).await.is(202);
        ended(&client, &begun).await;
        ids.insert(0, begun["id"].as_str().unwrap().to_owned());
    }
    let list = async |query: &str| {
        let path = format!("/api/v1/background-task?{query}");
        let list = client.get(&path).await.is(200);
        let rows = list["data"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ids);
    assert_eq!(list("task=endpoint.replay").await, ids[1..2]);
    assert_eq!(list("task=endpoint.recover&limit=1").await, ids[..1]);
    assert_eq!(list("status=running").await, [""; 0]);
    assert_eq!(list(&format!("iterator={}", ids[0])).await, ids[1..]);
    assert_eq!(
        list(&format!("iterator=-{}&limit=1", ids[2])).await,
        ids[1..2]
    );

    let consumer = scene.server.consumer(&scene.app);
    let own = format!("/api/v1/background-task/{}", ids[0]);
    consumer.get(&own).await.is(200);
    let other = scene.server.app("other").await;
    let stranger = scene.server.consumer(&other);
    assert_eq!(stranger.get(&own).await.fails(404), "not_found");
    let seen = stranger.get("/api/v1/background-task").await.is(200);
    assert_eq!(seen["data"], json!([]));
    let unknown = format!("/api/v1/background-task/{}", MessageId::MIN);
    assert_eq!(client.get(&unknown).await.status, 404);
}
