use serde_json::{Value, json};

use crate::support::{START, Server};
use postrider_core::OrgId;

const PATH: &str = "/api/v1/operational-webhook/endpoint";

fn body(uid: &str) -> Value {
    json!({"url": "https://hooks.example.org/ops", "uid": uid, "eventTypes": ["endpoint.disabled"]})
}

#[tokio::test]
async fn an_operational_endpoint_is_made_read_changed_and_deleted() {
    let server = Server::start();
    let client = server.operator();
    let made = client.post(PATH, &body("ops")).await.is(201);
    assert_eq!(made["eventTypes"], json!(["endpoint.disabled"]));
    let id = made["id"].as_str().unwrap();
    for path in [format!("{PATH}/ops"), format!("{PATH}/{id}")] {
        assert_eq!(client.get(&path).await.is(200), made);
    }
    let one = format!("{PATH}/ops");
    let patched = client.patch(&one, &json!({"disabled": true})).await.is(200);
    assert_eq!(
        (&patched["disabled"], &patched["uid"]),
        (&json!(true), &json!("ops"))
    );
    let url = json!({"url": "https://hooks.example.org/other"});
    let put = client.put(&one, &url).await.is(200);
    assert_eq!((&put["id"], &put["disabled"]), (&made["id"], &json!(false)));
    client.put(&format!("{PATH}/new"), &url).await.is(201);
    let list = client.get(&format!("{PATH}?order=ascending")).await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let first = client
        .get(&format!("{PATH}?order=ascending&limit=1"))
        .await
        .is(200);
    assert_eq!(
        (&first["done"], &first["data"][0]),
        (&json!(false), &list["data"][0])
    );
    client.delete(&one).await.is(204);
    assert_eq!(client.delete(&one).await.fails(404), "not_found");
    assert_eq!(
        client.get(PATH).await.is(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn its_headers_and_keys_are_as_those_of_other_endpoints() {
    let server = Server::start();
    let client = server.operator();
    client.post(PATH, &body("ops")).await.is(201);
    let headers = format!("{PATH}/ops/headers");
    let all = json!({"headers": {"x-a": "1", "authorization": "hush"}});
    client.put(&headers, &all).await.is(204);
    let shown = client.get(&headers).await.is(200);
    assert_eq!(
        shown,
        json!({"headers": {"x-a": "1"}, "sensitive": ["authorization"]})
    );
    client
        .patch(&headers, &json!({"headers": {"x-a": null}}))
        .await
        .is(204);
    assert_eq!(client.get(&headers).await.is(200)["headers"], json!({}));
    let secret = format!("{PATH}/ops/secret");
    let before = client.get(&secret).await.is(200);
    client
        .post(&format!("{secret}/rotate"), &json!({}))
        .await
        .is(204);
    let after = client.get(&secret).await.is(200);
    assert_ne!(before, after);
    assert!(after["key"].as_str().unwrap().starts_with("whsec_"));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::start();
    let app = server.app("shop").await;
    let client = server.operator();
    client.post(PATH, &body("ops")).await.is(201);
    assert_eq!(client.post(PATH, &body("ops")).await.fails(409), "conflict");
    client.post(PATH, &body("two")).await.is(201);
    let taken = client
        .patch(&format!("{PATH}/two"), &json!({"uid": "ops"}))
        .await;
    assert_eq!(taken.fails(409), "conflict");
    let mut unknown = body("three");
    unknown["eventTypes"] = json!(["order.paid"]);
    assert_eq!(
        client.post(PATH, &unknown).await.blames(),
        "body.eventTypes"
    );
    let inside = json!({"url": "https://10.0.0.1/"});
    assert_eq!(client.post(PATH, &inside).await.blames(), "body.url");
    let refused = server.consumer(&app).get(PATH).await;
    assert_eq!(refused.fails(403), "insufficient_access");
    let stranger = server.operator_of(OrgId::new(START, [1; 15]));
    assert_eq!(stranger.get(PATH).await.is(200)["data"], json!([]));
    assert_eq!(
        stranger.get(&format!("{PATH}/ops")).await.fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn there_are_at_most_fifty() {
    let server = Server::start();
    let client = server.operator();
    for number in 0..50 {
        client
            .post(PATH, &body(&format!("n{number}")))
            .await
            .is(201);
    }
    let refused = client.post(PATH, &body("one-more")).await;
    assert_eq!(refused.fails(400), "limit_reached");
}
