use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::dead_letter::DeadNote;
use postrider_core::message::Event;
use postrider_core::{
    AppId, ChainId, DeadLetter, DeadLetterId, DeadReason, EndpointId, EventTypeName, MessageId,
};
use serde_json::{Value, json};

use crate::support::{START, Server};

const LETTERS: &str = "/api/v1/app/shop/dead-letter";

fn letter(
    server: &Server,
    app: AppId,
    endpoint: EndpointId,
    n: u8,
    reason: DeadReason,
) -> DeadLetter {
    let died_at = START + Duration::from_secs(u64::from(n));
    let event = Event {
        org: server.org,
        app,
        message: MessageId::new(START, [n; 15]),
        event_id: None,
        event_type: EventTypeName::new("order.paid").unwrap(),
        channels: Vec::new(),
        tags: Vec::new(),
        headers: std::collections::BTreeMap::new(),
        accepted_at: START,
        deliver_at: None,
        payload_until: START,
        registry_version: 1,
        payload: Bytes::from_static(br#"{"order":1042}"#),
    };
    let note = DeadNote {
        id: DeadLetterId::new(died_at, [n; 15]),
        endpoint,
        chain: ChainId::FIRST,
        reason,
        attempts: 8,
        last_status: 500,
        last_response: "no".to_owned(),
        died_at,
    };
    DeadLetter::Delivery {
        event: Arc::new(event),
        note,
    }
}

async fn server() -> (Server, String) {
    let server = Server::start();
    let app: AppId = server.app("shop").await.parse().unwrap();
    let endpoint = server.endpoint("shop").await;
    let id: EndpointId = endpoint.parse().unwrap();
    let letters = vec![
        letter(&server, app, id, 1, DeadReason::Exhausted),
        letter(&server, app, id, 2, DeadReason::Gone),
        letter(&server, app, EndpointId::MIN, 3, DeadReason::Exhausted),
    ];
    server.ports.dead_letters.put(letters).await.unwrap();
    (server, endpoint)
}

#[tokio::test]
async fn a_dead_letter_says_what_died_and_why() {
    let (server, endpoint) = server().await;
    let client = server.operator();
    let list = client
        .get(&format!("{LETTERS}?endpoint_id={endpoint}&reason=gone"))
        .await
        .is(200);
    let letter = &list["data"][0];
    let app = client.get("/api/v1/app/shop").await.is(200);
    assert_eq!(
        *letter,
        json!({
            "id": DeadLetterId::new(START + Duration::from_secs(2), [2; 15]).to_string(),
            "appId": app["id"],
            "endpointId": endpoint,
            "msgId": MessageId::new(START, [2; 15]).to_string(),
            "eventId": null,
            "eventType": "order.paid",
            "channels": null,
            "tags": null,
            "payload": {"order": 1042},
            "reason": "gone",
            "attempts": 8,
            "lastResponseStatusCode": 500,
            "lastResponse": "no",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "diedAt": "2023-11-14T22:13:22.000Z",
        })
    );
    let path = format!("{LETTERS}/{}", letter["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.is(200), *letter);
    let without = client
        .get(&format!("{path}?with_content=false"))
        .await
        .is(200);
    assert_eq!(
        (&without["payload"], &without["lastResponse"]),
        (&json!({}), &json!("{}"))
    );
}

#[tokio::test]
async fn lists_filter() {
    let (server, endpoint) = server().await;
    let client = server.operator();
    let between = (START + Duration::from_millis(1500)).to_rfc3339();
    for (query, seconds) in [
        (String::new(), vec![23, 22, 21]),
        (format!("endpoint_id={endpoint}"), vec![22, 21]),
        ("reason=exhausted".to_owned(), vec![23, 21]),
        ("reason=poison".to_owned(), vec![]),
        (format!("before={between}"), vec![21]),
        (format!("after={between}&reason=gone"), vec![22]),
        ("limit=1".to_owned(), vec![23]),
    ] {
        let list = client.get(&format!("{LETTERS}?{query}")).await.is(200);
        let rows = list["data"].as_array().unwrap().iter();
        let second = |row: &Value| {
            row["diedAt"].as_str().unwrap()[17..19]
                .parse::<u32>()
                .unwrap()
        };
        assert_eq!(rows.map(second).collect::<Vec<_>>(), seconds, "{query}");
    }
    let unknown = client.get(&format!("{LETTERS}?reason=bad_luck")).await;
    assert_eq!(unknown.fails(400), "invalid_query");
    let nobody = client.get(&format!("{LETTERS}?endpoint_id=nobody")).await;
    assert_eq!(nobody.fails(404), "not_found");
    let wrong = client.get(&format!("{LETTERS}?endpoint_id=a%20b")).await;
    assert_eq!(wrong.blames(), "query.endpoint_id");
}

#[tokio::test]
async fn letters_stay_within_their_application() {
    let (server, _) = server().await;
    let other = server.app("other").await;
    let client = server.operator();
    let list = client.get(&format!("{LETTERS}?limit=1")).await.is(200);
    let id = list["data"][0]["id"].as_str().unwrap();
    assert_eq!(list["done"], false);
    let elsewhere = client
        .get(&format!("/api/v1/app/other/dead-letter/{id}"))
        .await;
    assert_eq!(elsewhere.fails(404), "not_found");
    let consumer = server.consumer(&other);
    assert_eq!(
        consumer.get(&format!("{LETTERS}/{id}")).await.fails(404),
        "not_found"
    );
    let none = consumer.get("/api/v1/app/other/dead-letter").await.is(200);
    assert_eq!(none["data"], json!([]));
}
