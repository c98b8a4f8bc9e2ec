//! `/background-task`: what goes on after its request was answered.

use std::time::Duration;

use postrider_core::name::DocumentName;
use postrider_core::ports::{DestinationStatus, DocumentKind, Expect, NewDocument, Owner, Place};
use postrider_core::{MessageId, TaskId};
use serde_json::json;

use crate::faults::{Fault, with_faulty_broker};
use crate::recover::{Scene, ended};
use crate::support::{START, Server};

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
    broker.refused.acquire().await.unwrap().forget();
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
