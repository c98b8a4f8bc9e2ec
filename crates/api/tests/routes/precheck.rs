use serde_json::{Value, json};

use crate::support::Server;

const PATH: &str = "/api/v1/app/shop/msg/precheck/active";

#[tokio::test]
async fn it_tells_whether_a_message_would_go_anywhere() {
    let server = Server::start();
    let app = server.app("shop").await;
    let client = server.operator();
    let is_active = async |body: Value| client.post(PATH, &body).await.is(200)["active"].clone();
    assert_eq!(is_active(json!({"eventType": "order.paid"})).await, false);
    let kind = json!({"name": "order.paid", "description": ""});
    client.post("/api/v1/event-type", &kind).await.is(201);
    let endpoint = json!({
        "url": "https://hooks.example.org/", "uid": "main", "eventTypes": ["order.paid"], "channels": ["eu"],
    });
    client
        .post("/api/v1/app/shop/endpoint", &endpoint)
        .await
        .is(201);
    assert_eq!(
        is_active(json!({"eventType": "order.paid", "channels": ["eu", "us"]})).await,
        true
    );
    assert_eq!(
        is_active(json!({"eventType": "order.paid", "channels": ["us"]})).await,
        false
    );
    assert_eq!(is_active(json!({"eventType": "order.paid"})).await, false);
    assert_eq!(
        is_active(json!({"eventType": "order.lost", "channels": ["eu"]})).await,
        false
    );
    let off = json!({"disabled": true});
    client
        .patch("/api/v1/app/shop/endpoint/main", &off)
        .await
        .is(200);
    assert_eq!(
        is_active(json!({"eventType": "order.paid", "channels": ["eu"]})).await,
        false
    );

    assert_eq!(
        client.post(PATH, &json!({})).await.blames(),
        "body.eventType"
    );
    let refused = server
        .consumer(&app)
        .post(PATH, &json!({"eventType": "a"}))
        .await;
    assert_eq!(refused.fails(403), "insufficient_access");
}

#[tokio::test]
async fn a_message_may_be_called_as_the_path_is() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let body = json!({"eventType": "a", "eventId": "precheck", "payload": {}});
    client.post("/api/v1/app/shop/msg", &body).await.is(202);
    client.get("/api/v1/app/shop/msg/precheck").await.is(200);
    client
        .get("/api/v1/app/shop/msg/precheck/endpoint")
        .await
        .is(200);
}
