use postrider_core::envelope;
use postrider_core::message::Work;
use serde_json::{Value, json};

use crate::support::{START, Server};

async fn server() -> (Server, String) {
    let server = Server::start();
    server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    let path = format!("/api/v1/app/shop/endpoint/{endpoint}/send-example");
    (server, path)
}

fn of_type(event_type: &str) -> Value {
    json!({"eventType": event_type})
}

#[tokio::test]
async fn a_ping_goes_to_this_endpoint_alone() {
    let (server, path) = server().await;
    let other = server.endpoint("shop").await;
    let client = server.operator();
    let ping = of_type("svix.ping");
    let sent = client.post_keyed(&path, "k", &ping).await.is(200);
    assert_eq!(sent["eventType"], "svix.ping");
    assert_eq!(sent["payload"], json!({"success": true}));
    assert_eq!(client.post_keyed(&path, "k", &ping).await.is(200), sent);
    let id = sent["id"].as_str().unwrap();
    client
        .get(&format!("/api/v1/app/shop/msg/{id}"))
        .await
        .is(200);

    let leased = server.ports.broker.lease(START, 10).await.unwrap();
    let items = leased
        .packs
        .iter()
        .flat_map(|pack| envelope::decode(&pack.bytes).unwrap());
    let items: Vec<_> = items.collect();
    assert_eq!(items.len(), 1, "a repeated request is one message");
    assert_eq!(items[0].event.payload, br#"{"success":true}"#.as_slice());
    let Work::Targets(targets) = &items[0].work else {
        panic!("{items:?}");
    };
    let endpoints: Vec<_> = targets
        .iter()
        .map(|target| target.endpoint.to_string())
        .collect();
    assert!(path.contains(&endpoints[0]) && endpoints.len() == 1);
    assert_ne!(endpoints[0], other);
}

#[tokio::test]
async fn an_event_type_of_ones_own_is_sent_as_its_schema_shows_it() {
    let (server, path) = server().await;
    let client = server.operator();
    let schema = json!({"type": "object", "examples": [{"order": 7}]});
    let kind = json!({"name": "order.paid", "description": "", "schemas": {"1": schema}});
    client.post("/api/v1/event-type", &kind).await.is(201);
    let sent = client.post(&path, &of_type("order.paid")).await.is(200);
    assert_eq!(sent["payload"], json!({"order": 7}));
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_apart() {
    let (server, path) = server().await;
    let client = server.operator();
    let bare = json!({"name": "bare", "description": ""});
    client.post("/api/v1/event-type", &bare).await.is(201);
    let refused = client.post(&path, &of_type("bare")).await;
    assert_eq!(refused.fails(400), "invalid_schema");
    let refused = client.post(&path, &of_type("unknown")).await;
    assert_eq!(refused.blames(), "body.eventType");
    assert_eq!(
        client.post(&path, &json!({})).await.blames(),
        "body.eventType"
    );
    let nobody = "/api/v1/app/shop/endpoint/nobody/send-example";
    let refused = client.post(nobody, &of_type("svix.ping")).await;
    assert_eq!(refused.fails(404), "not_found");
    let endpoint = path.trim_end_matches("/send-example");
    let off = json!({"disabled": true});
    client.patch(endpoint, &off).await.is(200);
    let refused = client.post(&path, &of_type("svix.ping")).await;
    assert_eq!(refused.fails(409), "endpoint_disabled");
}

#[tokio::test]
async fn only_operators_send_examples() {
    let (server, path) = server().await;
    let own = server.app("own").await;
    let refused = server
        .consumer(&own)
        .post(&path, &of_type("svix.ping"))
        .await;
    assert_eq!(refused.fails(403), "insufficient_access");
}
