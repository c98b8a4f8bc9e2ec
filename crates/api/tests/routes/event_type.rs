use serde_json::{Value, json};

use crate::support::Server;

const TYPES: &str = "/api/v1/event-type";

fn body(name: &str) -> Value {
    json!({"name": name, "description": "d"})
}

#[tokio::test]
async fn what_is_created_can_be_read() {
    let server = Server::start();
    let client = server.operator();
    let schema = json!({"1": {"type": "object"}});
    let full = json!({
        "name": "order.paid", "description": "Money came in", "deprecated": true,
        "featureFlags": ["beta", "gamma"], "groupName": "orders", "schemas": schema,
    });
    let created = client.post(TYPES, &full).await.is(201);
    for (field, value) in [
        ("name", json!("order.paid")),
        ("description", json!("Money came in")),
        ("archived", json!(false)),
        ("deprecated", json!(true)),
        ("featureFlag", json!("beta")),
        ("featureFlags", json!(["beta", "gamma"])),
        ("groupName", json!("orders")),
        ("schemas", schema),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    assert_eq!(
        client.get(&format!("{TYPES}/order.paid")).await.is(200),
        created
    );
    let list = client.get(TYPES).await.is(200);
    assert_eq!(
        list["data"][0]["schemas"],
        Value::Null,
        "schemas are shown on request"
    );
    let list = client
        .get(&format!("{TYPES}?with_content=true"))
        .await
        .is(200);
    assert_eq!(list["data"][0], created);
    let minimal = client.post(TYPES, &body("x")).await.is(201);
    assert_eq!(minimal["deprecated"], false);
    let flagged = json!({"name": "y", "description": "", "featureFlag": "beta"});
    assert_eq!(
        client.post(TYPES, &flagged).await.is(201)["featureFlags"],
        json!(["beta"])
    );
}

#[tokio::test]
async fn a_name_is_used_once_until_it_is_archived() {
    let server = Server::start();
    let client = server.operator();
    client.post(TYPES, &body("a")).await.is(201);
    assert_eq!(
        client.post(TYPES, &body("a")).await.fails(409),
        "event_type_exists"
    );
    client.delete(&format!("{TYPES}/a")).await.is(204);
    let archived = client.get(&format!("{TYPES}/a")).await.is(200);
    assert_eq!(archived["archived"], true);
    assert_eq!(client.get(TYPES).await.is(200)["data"], json!([]));
    let all = client
        .get(&format!("{TYPES}?include_archived=true"))
        .await
        .is(200);
    assert_eq!(all["data"][0]["name"], "a");
    let back = json!({"name": "a", "description": "again"});
    let restored = client.post(TYPES, &back).await.is(201);
    assert_eq!(
        (&restored["archived"], &restored["description"]),
        (&json!(false), &json!("again"))
    );
}

#[tokio::test]
async fn expunging_removes() {
    let server = Server::start();
    let client = server.operator();
    client.post(TYPES, &body("a")).await.is(201);
    client
        .delete(&format!("{TYPES}/a?expunge=true"))
        .await
        .is(204);
    assert_eq!(
        client.get(&format!("{TYPES}/a")).await.fails(404),
        "not_found"
    );
    assert_eq!(
        client
            .delete(&format!("{TYPES}/a?expunge=true"))
            .await
            .fails(404),
        "not_found"
    );
    assert_eq!(
        client.delete(&format!("{TYPES}/a")).await.fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn put_creates_or_replaces() {
    let server = Server::start();
    let client = server.operator();
    let path = format!("{TYPES}/a");
    let created = client
        .put(&path, &json!({"description": "one", "groupName": "g"}))
        .await
        .is(201);
    assert_eq!(created["name"], "a");
    let replaced = client
        .put(&path, &json!({"description": "two"}))
        .await
        .is(200);
    assert_eq!(
        (&replaced["description"], &replaced["groupName"]),
        (&json!("two"), &Value::Null)
    );
    client.delete(&path).await.is(204);
    let restored = client
        .put(&path, &json!({"description": "three"}))
        .await
        .is(200);
    assert_eq!(restored["archived"], false);
}

#[tokio::test]
async fn patch_keeps_what_is_absent_and_clears_what_is_null() {
    let server = Server::start();
    let client = server.operator();
    let full = json!({
        "name": "a", "description": "d", "featureFlag": "beta", "groupName": "g", "schemas": {"1": {}},
    });
    let created = client.post(TYPES, &full).await.is(201);
    let path = format!("{TYPES}/a");
    assert_eq!(client.patch(&path, &json!({})).await.is(200), created);
    let patch = json!({"archived": true, "deprecated": true, "featureFlag": null, "groupName": null, "schemas": null});
    let patched = client.patch(&path, &patch).await.is(200);
    assert_eq!(patched["archived"], true);
    assert_eq!(patched["deprecated"], true);
    assert_eq!(patched["featureFlag"], Value::Null);
    assert_eq!(patched["featureFlags"], json!([]));
    assert_eq!(patched["groupName"], Value::Null);
    assert_eq!(patched["schemas"], Value::Null);
    assert_eq!(patched["description"], "d");
    assert_eq!(
        client
            .patch(&format!("{TYPES}/b"), &json!({}))
            .await
            .fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = Server::start();
    let client = server.operator();
    for (field, value) in [
        ("name", json!(null)),
        ("name", json!("a b")),
        ("description", json!(null)),
        ("description", json!(1)),
        ("archived", json!("no")),
        ("featureFlag", json!("a b")),
        ("featureFlags", json!("beta")),
        ("groupName", json!(1)),
        ("schemas", json!({"1": "text"})),
        ("schemas", json!([])),
    ] {
        let mut wrong = body("a");
        wrong[field] = value;
        assert_eq!(
            client.post(TYPES, &wrong).await.blames(),
            format!("body.{field}"),
            "{wrong}"
        );
    }
}
