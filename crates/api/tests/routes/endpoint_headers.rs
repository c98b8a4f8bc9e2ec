use serde_json::{Value, json};

use crate::support::Server;

const HEADERS: &str = "/api/v1/app/shop/endpoint/main/headers";

async fn server() -> Server {
    let server = Server::start();
    server.app("shop").await;
    let body = json!({"url": "https://hooks.example.org/", "uid": "main"});
    server
        .operator()
        .post("/api/v1/app/shop/endpoint", &body)
        .await
        .is(201);
    server
}

async fn shown(server: &Server) -> Value {
    server.operator().get(HEADERS).await.is(200)
}

#[tokio::test]
async fn credentials_are_named_and_not_shown() {
    let server = server().await;
    let client = server.operator();
    assert_eq!(
        shown(&server).await,
        json!({"headers": {}, "sensitive": []})
    );
    let body =
        json!({"headers": {"X-Region": "eu", "Authorization": "Bearer hush", "x-api-key": "hush"}});
    client.put(HEADERS, &body).await.is(204);
    let reply = client.get(HEADERS).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("hush"));
    let expected =
        json!({"headers": {"X-Region": "eu"}, "sensitive": ["Authorization", "x-api-key"]});
    assert_eq!(reply.is(200), expected);
    client
        .put(HEADERS, &json!({"headers": {"a": "b"}}))
        .await
        .is(204);
    assert_eq!(
        shown(&server).await,
        json!({"headers": {"a": "b"}, "sensitive": []})
    );
}

#[tokio::test]
async fn patch_sets_and_takes_away() {
    let server = server().await;
    let client = server.operator();
    let body = json!({"headers": {"X-A": "1", "x-b": "2", "x-c": "3", "x-d": "4"}});
    client.put(HEADERS, &body).await.is(204);
    let patch =
        json!({"headers": {"x-a": "new", "x-b": null}, "deleteHeaders": ["X-C", "x-never"]});
    client.patch(HEADERS, &patch).await.is(204);
    assert_eq!(
        shown(&server).await["headers"],
        json!({"x-a": "new", "x-d": "4"})
    );
    client
        .patch(HEADERS, &json!({"deleteHeaders": ["x-d"]}))
        .await
        .is(204);
    assert_eq!(shown(&server).await["headers"], json!({"x-a": "new"}));
    client.patch(HEADERS, &json!({"headers": {}})).await.is(204);
    assert_eq!(shown(&server).await["headers"], json!({"x-a": "new"}));
}

#[tokio::test]
async fn what_cannot_be_a_header_is_refused() {
    let server = server().await;
    let client = server.operator();
    for headers in [
        json!({"host": "x"}),
        json!({"Content-Length": "1"}),
        json!({"webhook-signature": "v1,x"}),
        json!({"svix-id": "x"}),
        json!({"ce-type": "x"}),
        json!({"proxy-authorization": "x"}),
        json!({"a b": "x"}),
        json!({"a": "x\r\nb: c"}),
        json!({"a": "v".repeat(4097)}),
        json!({"a": "1", "A": "2"}),
        json!({"a": 1}),
        json!([]),
        json!(null),
    ] {
        let body = json!({"headers": headers});
        assert_eq!(
            client.put(HEADERS, &body).await.blames(),
            "body.headers",
            "{body}"
        );
        assert_eq!(
            client.patch(HEADERS, &body).await.blames(),
            "body.headers",
            "{body}"
        );
    }
    assert_eq!(
        client.patch(HEADERS, &json!({})).await.blames(),
        "body.headers"
    );
    let wrong = json!({"headers": {}, "deleteHeaders": [1]});
    assert_eq!(
        client.patch(HEADERS, &wrong).await.blames(),
        "body.deleteHeaders"
    );
    let many: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("x-{n}"), json!("v"))).collect();
    client.put(HEADERS, &json!({"headers": many})).await.is(204);
    let more: serde_json::Map<String, Value> =
        (40..80).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let body = json!({"headers": more});
    assert_eq!(
        client.patch(HEADERS, &body).await.blames(),
        "body.headers",
        "64 in all"
    );
}

#[tokio::test]
async fn an_unknown_endpoint_is_404() {
    let server = server().await;
    let client = server.operator();
    let path = "/api/v1/app/shop/endpoint/nobody/headers";
    let body = json!({"headers": {}});
    assert_eq!(client.get(path).await.fails(404), "not_found");
    assert_eq!(client.put(path, &body).await.fails(404), "not_found");
    assert_eq!(client.patch(path, &body).await.fails(404), "not_found");
}
