use std::time::Duration;

use postrider_core::ports::{Destination, DestinationStatus, LogRecord};
use postrider_core::{AppId, EndpointId, MessageId};
use serde_json::{Value, json};

use crate::support::{START, Server, message};

const PATH: &str = "/api/v1/app/shop/endpoint/main/msg";

async fn server() -> (Server, AppId, EndpointId) {
    let server = Server::start();
    let app = server.app("shop").await.parse().unwrap();
    let body = json!({"url": "https://hooks.example.org/in", "uid": "main"});
    let path = "/api/v1/app/shop/endpoint";
    let created = server.operator().post(path, &body).await.is(201);
    let endpoint = created["id"].as_str().unwrap().parse().unwrap();
    (server, app, endpoint)
}

/// A message that came to this state at the endpoint.
async fn sent(
    server: &Server,
    (app, endpoint): (AppId, EndpointId),
    body: &Value,
    status: DestinationStatus,
) -> String {
    server.clock.pass(Duration::from_secs(1));
    let client = server.operator();
    let accepted = client.post("/api/v1/app/shop/msg", body).await.is(202);
    let id = accepted["id"].as_str().unwrap().to_owned();
    client
        .get(&format!("/api/v1/app/shop/msg/{id}"))
        .await
        .is(200);
    let waits = status == DestinationStatus::Pending;
    let record = LogRecord::Destination(Destination {
        app,
        message: id.parse::<MessageId>().unwrap(),
        endpoint,
        status,
        next_attempt: waits.then_some(START + Duration::from_secs(3600)),
        at: START,
    });
    server.ports.log.record(vec![record]).await.unwrap();
    id
}

fn ids(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_message_is_listed_with_how_far_it_has_come() {
    let (server, app, endpoint) = server().await;
    server.message("shop").await;
    let body = json!({"eventType": "order.paid", "eventId": "e-1", "channels": ["eu"], "tags": ["t"], "payload": {"a": 1}});
    let id = sent(&server, (app, endpoint), &body, DestinationStatus::Pending).await;
    let list = server.operator().get(PATH).await.is(200);
    let expected = json!({
        "id": id,
        "eventId": "e-1",
        "eventType": "order.paid",
        "channels": ["eu"],
        "tags": ["t"],
        "payload": {"a": 1},
        "data": {"a": 1},
        "timestamp": "2023-11-14T22:13:21.000Z",
        "status": 1,
        "statusText": "pending",
        "nextAttempt": "2023-11-14T23:13:20.000Z",
    });
    assert_eq!(
        list["data"],
        json!([expected]),
        "and what went nowhere is not"
    );
    assert_eq!(list["done"], true);
    let bare = format!("{PATH}?with_content=false");
    let list = server.operator().get(&bare).await.is(200);
    assert_eq!(list["data"][0]["payload"], json!({}));
}

#[tokio::test]
async fn the_list_filters_and_pages() {
    let (server, app, endpoint) = server().await;
    let at = (app, endpoint);
    let eu = json!({"eventType": "a.b", "channels": ["eu"], "tags": ["red"], "payload": {}});
    let delivered = sent(&server, at, &eu, DestinationStatus::Delivered).await;
    let failed = sent(&server, at, &message(), DestinationStatus::Failed).await;
    let canceled = sent(&server, at, &message(), DestinationStatus::Canceled).await;
    let sending = sent(&server, at, &message(), DestinationStatus::Sending).await;
    let all = [&sending, &canceled, &failed, &delivered];
    let middle = (START + Duration::from_millis(2500)).to_rfc3339();
    for (query, expected) in [
        (String::new(), &all[..]),
        ("status=0".to_owned(), &all[3..]),
        ("status=1".to_owned(), &[]),
        ("status=2".to_owned(), &all[1..3]),
        ("status=3".to_owned(), &all[..1]),
        ("event_types[]=a.b".to_owned(), &all[3..]),
        ("event_types=a.b,order.paid".to_owned(), &all[..]),
        ("channel=eu".to_owned(), &all[3..]),
        ("tag=red".to_owned(), &all[3..]),
        (format!("after={middle}"), &all[..2]),
        (format!("before={middle}&status=2"), &all[2..3]),
        (format!("limit=1&iterator={canceled}"), &all[2..3]),
        (format!("iterator=-{canceled}"), &all[..1]),
    ] {
        let list = server
            .operator()
            .get(&format!("{PATH}?{query}"))
            .await
            .is(200);
        let expected: Vec<String> = expected.iter().map(|id| (*id).clone()).collect();
        assert_eq!(ids(&list), expected, "{query}");
    }
    let refused = server.operator().get(&format!("{PATH}?status=4")).await;
    assert_eq!(refused.fails(400), "invalid_query");
}

#[tokio::test]
async fn it_is_for_the_application_alone() {
    let (server, app, _) = server().await;
    let other = server.app("other").await;
    server.consumer(&app.to_string()).get(PATH).await.is(200);
    assert_eq!(server.consumer(&other).get(PATH).await.status, 404);
    let nowhere = "/api/v1/app/shop/endpoint/nobody/msg";
    assert_eq!(server.operator().get(nowhere).await.fails(404), "not_found");
}
