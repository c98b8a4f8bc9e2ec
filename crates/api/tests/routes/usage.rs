use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, START, Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

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

async fn send(server: &Server, app: &str, event_type: &str) {
    let client = server.operator();
    let body = json!({"eventType": event_type, "payload": {}});
    let path = format!("/api/v1/app/{app}/msg");
    let sent = client.post(&path, &body).await.is(202);
    let id = sent["id"].as_str().unwrap();
    client.get(&format!("{path}/{id}")).await.is(200);
}

#[tokio::test]
async fn messages_are_counted_by_application() {
    let server = Server::start();
    let [one, two] = [server.app("one").await, server.app("two").await];
    let quiet = server.app("quiet").await;
    send(&server, "one", "a").await;
    server.clock.pass(DAY);
    for app in ["one", "one", "two"] {
        send(&server, app, "b").await;
    }
    let client = server.operator();
    let path = "/api/v1/stats/usage/app";
    let (since, until) = ((START + DAY).to_rfc3339(), (START + DAY).to_rfc3339());
    let all = json!({"since": since, "until": until});
    let begun = client.post(path, &all).await.is(202);
    assert_eq!(begun["task"], "application.stats");
    assert_eq!(begun["unresolvedAppIds"], json!([]));
    let counted = ended(&client, &begun).await;
    let wanted = json!({"applications": {one.clone(): 2, two.clone(): 1, quiet.clone(): 0}});
    assert_eq!(
        (&counted["status"], &counted["data"]),
        (&json!("finished"), &wanted)
    );

    let some =
        json!({"since": START.to_rfc3339(), "until": until, "appIds": ["one", "nobody", two]});
    let begun = client.post(path, &some).await.is(202);
    assert_eq!(begun["unresolvedAppIds"], json!(["nobody"]));
    let counted = ended(&client, &begun).await;
    assert_eq!(counted["data"]["applications"], json!({one: 3, two: 1}));
    assert_eq!(
        client.post(path, &json!({"since": since})).await.blames(),
        "body.until"
    );
}

#[tokio::test]
async fn messages_are_counted_by_event_type() {
    let server = Server::start();
    let app = server.app("one").await;
    server.app("two").await;
    for (app, event_type) in [("one", "a"), ("one", "b"), ("two", "a")] {
        send(&server, app, event_type).await;
    }
    let client = server.operator();
    let path = "/api/v1/stats/usage/event-types";
    let begun = client.put(path, &json!({})).await.is(202);
    assert_eq!(begun["task"], "event-type.aggregate");
    let counted = ended(&client, &begun).await;
    assert_eq!(counted["data"]["eventTypes"], json!({"a": 2, "b": 1}));
    let refused = server.consumer(&app).put(path, &json!({})).await;
    assert_eq!(refused.fails(403), "insufficient_access");
}
