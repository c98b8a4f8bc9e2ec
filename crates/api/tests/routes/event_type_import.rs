use serde_json::{Value, json};

use crate::support::Server;

const IMPORT: &str = "/api/v1/event-type/import/openapi";

fn spec(schema: &Value) -> Value {
    json!({"openapi": "3.1.0", "webhooks": {
        "order.paid": {"post": {"description": "Money has come in", "requestBody": {
            "content": {"application/json": {"schema": schema}},
        }}},
        "order.lost": {"post": {"summary": "It is gone"}},
    }})
}

#[tokio::test]
async fn event_types_come_from_a_document() {
    let server = Server::start();
    let client = server.operator();
    let schema = json!({"type": "object", "properties": {"order": {"type": "integer"}}});
    let body = json!({"spec": spec(&schema)});
    let mut dry = body.clone();
    dry["dryRun"] = json!(true);
    let told = client.post(IMPORT, &dry).await.is(200);
    assert_eq!(told["data"]["modified"], json!([]));
    assert_eq!(told["data"]["to_modify"][1]["name"], "order.paid");
    assert_eq!(
        client.get("/api/v1/event-type").await.is(200)["data"],
        json!([])
    );

    let done = client.post(IMPORT, &body).await.is(200);
    assert_eq!(
        done,
        json!({"data": {"modified": ["order.lost", "order.paid"]}})
    );
    let paid = client.get("/api/v1/event-type/order.paid").await.is(200);
    assert_eq!(paid["description"], "Money has come in");
    assert_eq!(paid["schemas"], json!({"1": schema}));
    let again = client.post(IMPORT, &body).await.is(200);
    assert_eq!(
        again["data"]["modified"],
        json!([]),
        "nothing is changed twice"
    );

    let other = json!({"type": "object"});
    let raw = json!({"specRaw": spec(&other).to_string()});
    let done = client.post(IMPORT, &raw).await.is(200);
    assert_eq!(done["data"]["modified"], json!(["order.paid"]));
    let paid = client.get("/api/v1/event-type/order.paid").await.is(200);
    assert_eq!(paid["schemas"], json!({"1": schema, "2": other}));
}

#[tokio::test]
async fn an_event_type_keeps_its_newest_schemas() {
    let server = Server::start();
    let client = server.operator();
    for version in 1..=52 {
        let body = json!({"spec": spec(&json!({"title": version.to_string()}))});
        client.post(IMPORT, &body).await.is(200);
    }
    let paid = client.get("/api/v1/event-type/order.paid").await.is(200);
    let schemas = paid["schemas"].as_object().unwrap();
    assert_eq!(schemas.len(), 50);
    assert!(!schemas.contains_key("2") && schemas.contains_key("52"));
}

#[tokio::test]
async fn what_is_in_a_text_is_looked_at_as_if_it_were_the_body() {
    let server = Server::start();
    let client = server.operator();
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let nul = r#"{"webhooks": {"a": {"post": {"summary": "\u0000"}}}}"#;
    for raw in [&deep, nul, "{"] {
        let refused = client.post(IMPORT, &json!({"specRaw": raw})).await;
        assert_eq!(refused.blames(), "body.specRaw");
    }
    let large = json!({"description": "x".repeat(70_000)});
    let refused = client.post(IMPORT, &json!({"spec": spec(&large)})).await;
    assert_eq!(refused.blames(), "body.spec.webhooks.order.paid");
}

#[tokio::test]
async fn what_the_document_does_not_know_is_archived_where_that_is_asked_for() {
    let server = Server::start();
    let client = server.operator();
    let own = json!({"name": "own", "description": ""});
    client.post("/api/v1/event-type", &own).await.is(201);
    let mut body = json!({"spec": spec(&json!({"type": "object"}))});
    client.post(IMPORT, &body).await.is(200);
    assert_eq!(
        client.get("/api/v1/event-type/own").await.is(200)["archived"],
        false
    );
    body["replaceAll"] = json!(true);
    let done = client.post(IMPORT, &body).await.is(200);
    assert_eq!(done["data"]["modified"], json!(["own"]));
    assert_eq!(
        client.get("/api/v1/event-type/own").await.is(200)["archived"],
        true
    );
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let server = Server::start();
    let app = server.app("shop").await;
    let client = server.operator();
    for (body, field) in [
        (json!({}), "body.spec"),
        (json!({"spec": []}), "body.spec"),
        (json!({"spec": {}}), "body.spec.webhooks"),
        (json!({"specRaw": "webhooks: {}"}), "body.specRaw"),
        (
            json!({"spec": {"webhooks": {"a b": {"post": {}}}}}),
            "body.spec.webhooks.a b",
        ),
    ] {
        assert_eq!(client.post(IMPORT, &body).await.blames(), field);
    }
    let refused = server.consumer(&app).post(IMPORT, &json!({})).await;
    assert_eq!(refused.fails(403), "insufficient_access");
}
