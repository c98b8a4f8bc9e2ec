use serde_json::{Value, json};

use crate::support::Server;

const ENDPOINTS: &str = "/api/v1/app/shop/endpoint";
const URL: &str = "https://hooks.example.org/in?a=b";

async fn server() -> Server {
    let server = Server::start();
    server.app("shop").await;
    for name in ["order.paid", "order.sent"] {
        let body = json!({"name": name, "description": ""});
        server
            .operator()
            .post("/api/v1/event-type", &body)
            .await
            .is(201);
    }
    server
}

#[tokio::test]
async fn what_is_created_can_be_read_by_id_and_uid() {
    let server = server().await;
    let client = server.operator();
    let body = json!({
        "url": URL, "uid": "main", "description": "d", "eventTypes": ["order.paid", "order.paid"],
        "channels": ["eu"], "disabled": true, "metadata": {"a": "b"}, "throttleRate": 5,
    });
    let created = client.post(ENDPOINTS, &body).await.is(201);
    let id = created["id"].as_str().unwrap();
    assert!(id.starts_with("ep_"), "{id}");
    for (field, value) in [
        ("url", json!(URL)),
        ("uid", json!("main")),
        ("description", json!("d")),
        ("eventTypes", json!(["order.paid"])),
        ("filterTypes", json!(["order.paid"])),
        ("channels", json!(["eu"])),
        ("disabled", json!(true)),
        ("metadata", json!({"a": "b"})),
        ("throttleRate", json!(5)),
        ("rateLimit", json!(5)),
        ("version", json!(1)),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    assert!(created["createdAt"].is_string() && created["updatedAt"].is_string());
    assert!(created.get("secret").is_none() && created.get("headers").is_none());
    for key in [id, "main"] {
        assert_eq!(
            client.get(&format!("{ENDPOINTS}/{key}")).await.is(200),
            created
        );
    }
}

#[tokio::test]
async fn a_url_is_enough() {
    let server = server().await;
    let created = server
        .operator()
        .post(ENDPOINTS, &json!({"url": URL}))
        .await
        .is(201);
    assert_eq!(created["eventTypes"], Value::Null);
    assert_eq!(created["channels"], Value::Null);
    assert_eq!(created["uid"], Value::Null);
    assert_eq!(created["disabled"], false);
    assert_eq!(created["description"], "");
    assert_eq!(created["metadata"], json!({}));
}

#[tokio::test]
async fn a_consumer_manages_its_own_endpoints() {
    let server = Server::start();
    let app = server.app("shop").await;
    let consumer = server.consumer(&app);
    let created = consumer
        .post(ENDPOINTS, &json!({"url": URL, "uid": "e"}))
        .await;
    created.is(201);
    consumer
        .patch(&format!("{ENDPOINTS}/e"), &json!({"description": "x"}))
        .await
        .is(200);
    consumer.get(&format!("{ENDPOINTS}/e/secret")).await.is(200);
    consumer.delete(&format!("{ENDPOINTS}/e")).await.is(204);
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = server().await;
    let client = server.operator();
    let many: Vec<String> = (0..11).map(|n| format!("c{n}")).collect();
    for (field, value) in [
        ("url", json!(null)),
        ("url", json!("not a url")),
        ("url", json!("ftp://hooks.example.org/")),
        ("url", json!("http://127.0.0.1/")),
        ("url", json!("http://[::ffff:169.254.169.254]/")),
        ("url", json!("https://user:password@hooks.example.org/")),
        (
            "url",
            json!(format!("https://hooks.example.org/{}", "x".repeat(2048))),
        ),
        ("uid", json!("ep_own")),
        ("uid", json!("a b")),
        ("eventTypes", json!(["order.unknown"])),
        ("eventTypes", json!(["order paid"])),
        ("eventTypes", json!("order.paid")),
        ("channels", json!([])),
        ("channels", json!(many)),
        ("channels", json!(["a b"])),
        ("channels", json!(["a".repeat(129)])),
        ("metadata", json!({"k": null})),
        ("throttleRate", json!(0)),
        ("throttleRate", json!(65536)),
        ("rateLimit", json!("fast")),
        ("disabled", json!("yes")),
        ("description", json!(1)),
        ("secret", json!("whsec_short")),
        (
            "secret",
            json!("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="),
        ),
        ("headers", json!({"content-type": "text/plain"})),
        ("headers", json!({"x": "a\nb"})),
        ("headers", json!({"x": "v".repeat(4097)})),
        ("headers", json!({"x": 1})),
    ] {
        let mut body = json!({"url": URL});
        body[field] = value;
        let reply = client.post(ENDPOINTS, &body).await;
        assert_eq!(reply.blames(), format!("body.{field}"), "{body}");
        let reply = client.put(&format!("{ENDPOINTS}/e"), &body).await;
        assert_eq!(reply.blames(), format!("body.{field}"), "{body}");
    }
    assert_eq!(
        client.post(ENDPOINTS, &json!({})).await.blames(),
        "body.url"
    );
    let list = client.get(ENDPOINTS).await.is(200);
    assert_eq!(list["data"], json!([]), "nothing of it was created");
}

#[tokio::test]
async fn older_spellings_are_understood_and_an_empty_list_of_types_means_all() {
    let server = server().await;
    let client = server.operator();
    let body = json!({"url": URL, "filterTypes": ["order.sent"], "rateLimit": 9});
    let created = client.post(ENDPOINTS, &body).await.is(201);
    assert_eq!(created["eventTypes"], json!(["order.sent"]));
    assert_eq!(created["throttleRate"], 9);
    let both = json!({"url": URL, "eventTypes": ["order.paid"], "filterTypes": ["order.sent"]});
    let created = client.post(ENDPOINTS, &both).await.is(201);
    assert_eq!(
        created["filterTypes"],
        json!(["order.paid"]),
        "the proper name counts"
    );
    let all = client
        .post(ENDPOINTS, &json!({"url": URL, "eventTypes": []}))
        .await
        .is(201);
    assert_eq!(all["eventTypes"], Value::Null);
}

#[tokio::test]
async fn put_creates_or_replaces_and_leaves_keys_and_headers_alone() {
    let server = server().await;
    let client = server.operator();
    let path = format!("{ENDPOINTS}/main");
    let body = json!({"url": URL, "headers": {"x-region": "eu"}, "channels": ["eu"]});
    let created = client.put(&path, &body).await.is(201);
    assert_eq!(created["uid"], "main");
    let key = client.get(&format!("{path}/secret")).await.is(200);
    let replaced = client
        .put(&path, &json!({"url": "https://other.example.org/"}))
        .await
        .is(200);
    assert_eq!(replaced["id"], created["id"]);
    assert_eq!(replaced["uid"], "main");
    assert_eq!(replaced["channels"], Value::Null);
    assert_eq!(client.get(&format!("{path}/secret")).await.is(200), key);
    let headers = client.get(&format!("{path}/headers")).await.is(200);
    assert_eq!(headers["headers"], json!({"x-region": "eu"}));
    let unknown = postrider_core::EndpointId::MIN;
    let by_id = client
        .put(&format!("{ENDPOINTS}/{unknown}"), &json!({"url": URL}))
        .await;
    assert_eq!(by_id.fails(404), "not_found");
}

#[tokio::test]
async fn patch_keeps_what_is_absent_and_clears_what_is_null() {
    let server = server().await;
    let client = server.operator();
    let body = json!({
        "url": URL, "uid": "main", "description": "d", "eventTypes": ["order.paid"],
        "channels": ["eu"], "metadata": {"a": "b"}, "throttleRate": 5,
    });
    let created = client.post(ENDPOINTS, &body).await.is(201);
    let path = format!("{ENDPOINTS}/{}", created["id"].as_str().unwrap());
    assert_eq!(client.patch(&path, &json!({})).await.is(200), created);
    let cleared = json!({"uid": null, "eventTypes": null, "channels": null, "throttleRate": null, "metadata": null});
    let patched = client.patch(&path, &cleared).await.is(200);
    for field in [
        "uid",
        "eventTypes",
        "filterTypes",
        "channels",
        "throttleRate",
        "rateLimit",
    ] {
        assert_eq!(patched[field], Value::Null, "{field}");
    }
    assert_eq!(patched["metadata"], json!({}));
    assert_eq!(
        (&patched["url"], &patched["description"]),
        (&json!(URL), &json!("d"))
    );
    for (body, place) in [
        (json!({"url": null}), "body.url"),
        (json!({"url": "http://10.0.0.1/"}), "body.url"),
        (json!({"disabled": null}), "body.disabled"),
        (json!({"description": null}), "body.description"),
        (json!({"eventTypes": ["nothing"]}), "body.eventTypes"),
    ] {
        assert_eq!(client.patch(&path, &body).await.blames(), place, "{body}");
    }
}

#[tokio::test]
async fn disabling_begins_a_new_era_and_enabling_keeps_it() {
    let server = server().await;
    let client = server.operator();
    let created = client.post(ENDPOINTS, &json!({"url": URL})).await.is(201);
    let id: postrider_core::EndpointId = created["id"].as_str().unwrap().parse().unwrap();
    let app = client.get("/api/v1/app/shop").await.is(200);
    let app: postrider_core::AppId = app["id"].as_str().unwrap().parse().unwrap();
    let key = postrider_core::ports::EndpointKey::Id(id);
    let era = async || {
        let stored = server.ports.registry.endpoint(app, &key).await.unwrap();
        stored.unwrap().era
    };
    let path = format!("{ENDPOINTS}/{id}");
    assert_eq!(era().await, 0);
    client
        .patch(&path, &json!({"disabled": true}))
        .await
        .is(200);
    assert_eq!(era().await, 1);
    client
        .patch(&path, &json!({"disabled": true, "description": "x"}))
        .await
        .is(200);
    assert_eq!(era().await, 1, "it was disabled already");
    client.put(&path, &json!({"url": URL})).await.is(200);
    assert_eq!(era().await, 1);
    client
        .put(&path, &json!({"url": URL, "disabled": true}))
        .await
        .is(200);
    assert_eq!(era().await, 2);
}

#[tokio::test]
async fn uids_are_unique_within_an_application_only() {
    let server = server().await;
    server.app("other").await;
    let client = server.operator();
    let body = json!({"url": URL, "uid": "main"});
    client.post(ENDPOINTS, &body).await.is(201);
    assert_eq!(client.post(ENDPOINTS, &body).await.fails(409), "conflict");
    client
        .post("/api/v1/app/other/endpoint", &body)
        .await
        .is(201);
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let server = server().await;
    let client = server.operator();
    let body = json!({"url": URL, "uid": "main"});
    client.post(ENDPOINTS, &body).await.is(201);
    let path = format!("{ENDPOINTS}/main");
    client.delete(&path).await.is(204);
    assert_eq!(client.get(&path).await.fails(404), "not_found");
    assert_eq!(client.delete(&path).await.fails(404), "not_found");
    assert_eq!(
        client.patch(&path, &json!({})).await.fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn concurrent_patches_do_not_lose_each_other() {
    let server = server().await;
    let client = server.operator();
    client
        .post(ENDPOINTS, &json!({"url": URL, "uid": "main"}))
        .await
        .is(201);
    let path = format!("{ENDPOINTS}/main/headers");
    let bodies: Vec<Value> = (0..6)
        .map(|n| json!({"headers": {format!("x-{n}"): "v"}}))
        .collect();
    let patches = bodies.iter().map(|body| client.patch(&path, body));
    let replies = futures_util::future::join_all(patches).await;
    let done = replies.iter().filter(|reply| reply.status == 204).count();
    let headers = client.get(&path).await.is(200);
    assert_eq!(headers["headers"].as_object().unwrap().len(), done);
    assert!(
        replies
            .iter()
            .all(|reply| matches!(reply.status, 204 | 503))
    );
}
