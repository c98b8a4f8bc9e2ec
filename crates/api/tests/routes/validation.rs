//! Payloads held against the schema of their event type.

use std::time::Duration;

use postrider_core::ports::{ChangeCursor, Changes};
use postrider_core::{EventType, EventTypeName};
use serde_json::{Value, json};

use crate::support::{Client, Server};

const TYPES: &str = "/api/v1/event-type";
const PAID: &str = "/api/v1/event-type/order.paid";
const MESSAGES: &str = "/api/v1/app/shop/msg";

/// An order with a number.
fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["order"],
        "properties": {"order": {"type": "integer"}, "lines": {"items": {"type": "string"}}},
    })
}

fn kind(schemas: &Value) -> Value {
    json!({"name": "order.paid", "description": "", "schemas": schemas, "validatePayload": true})
}

fn paid(payload: &Value) -> Value {
    json!({"eventType": "order.paid", "payload": payload})
}

async fn server() -> (Server, Client) {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let created = client.post(TYPES, &kind(&json!({"1": schema()}))).await;
    assert_eq!(created.is(201)["validatePayload"], true);
    (server, client)
}

/// How many messages there are, once the record of this one, the last, is there.
async fn messages(client: &Client, last: &Value) -> usize {
    let id = last["id"].as_str().unwrap();
    client.get(&format!("{MESSAGES}/{id}")).await.is(200);
    let list = client.get(MESSAGES).await.is(200);
    list["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_switch_is_off_by_default_and_follows_put_and_patch() {
    let (_server, client) = server().await;
    assert_eq!(client.get(PAID).await.is(200)["validatePayload"], true);
    let kept = client.patch(PAID, &json!({"description": "new"})).await;
    assert_eq!(kept.is(200)["validatePayload"], true);
    let plain = json!({"description": "d", "schemas": {"1": schema()}});
    let replaced = client.put(PAID, &plain).await.is(200);
    assert_eq!(replaced.get("validatePayload"), None, "only where it is on");
    client.post(MESSAGES, &paid(&json!({}))).await.is(202);
    let on = json!({"validatePayload": true});
    client.patch(PAID, &on).await.is(200);
    client.post(MESSAGES, &paid(&json!({}))).await.is(422);
    let off = json!({"validatePayload": false});
    client.patch(PAID, &off).await.is(200);
    client.post(MESSAGES, &paid(&json!({}))).await.is(202);
    let wrong = client.patch(PAID, &json!({"validatePayload": "yes"})).await;
    assert_eq!(wrong.blames(), "body.validatePayload");
}

#[tokio::test]
async fn a_payload_that_is_wrong_is_refused_with_every_place() {
    let (server, client) = server().await;
    let wrong = paid(&json!({"order": "x", "lines": ["a", 1]}));
    let refused = client.post(MESSAGES, &wrong).await.is(422);
    let places: Vec<Value> = refused["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["loc"].clone())
        .collect();
    assert_eq!(places.len(), 2, "{refused}");
    assert!(places.contains(&json!(["body", "payload", "order"])));
    assert!(places.contains(&json!(["body", "payload", "lines", "1"])));
    assert_eq!(refused["detail"][0]["type"], "value_error.jsonschema");
    let leased = server.ports.broker.lease(crate::support::START, 10).await;
    assert!(leased.unwrap().packs.is_empty(), "nothing was published");
    client
        .post(MESSAGES, &paid(&json!({"order": 1})))
        .await
        .is(202);
    // Others are none of its business.
    let other = json!({"eventType": "order.lost", "payload": {}});
    let last = client.post(MESSAGES, &other).await.is(202);
    assert_eq!(messages(&client, &last).await, 2, "nothing else is kept");
}

#[tokio::test]
async fn whatever_form_a_payload_comes_in_it_is_the_object_that_counts() {
    let (_server, client) = server().await;
    let (good, bad) = (r#"{"order":1}"#, r#"{"order":"x"}"#);
    let forms = |text: &str| {
        let object: Value = serde_json::from_str(text).unwrap();
        [
            json!({"eventType": "order.paid", "data": object}),
            json!({"eventType": "order.paid", "payload": text}),
            json!({"eventType": "order.paid", "payload": {"order": 1.5}, "transformationsParams": {"rawPayload": text}}),
            json!({"eventType": "order.paid", "payload": object, "deliverAt": "2023-11-15T00:00:00Z"}),
        ]
    };
    for (good, bad) in forms(good).iter().zip(&forms(bad)) {
        client.post(MESSAGES, good).await.is(202);
        let refused = client.post(MESSAGES, bad).await;
        assert_eq!(refused.blames(), "body.payload.order", "{bad}");
    }
}

#[tokio::test]
async fn a_refused_message_uses_up_neither_its_key_nor_its_event_id() {
    let (_server, client) = server().await;
    let mut message = paid(&json!({"order": "x"}));
    message["eventId"] = json!("e-1");
    let refused = client.post_keyed(MESSAGES, "k", &message).await;
    assert_eq!(refused.blames(), "body.payload.order");
    message["payload"] = json!({"order": 1});
    let accepted = client.post_keyed(MESSAGES, "k", &message).await.is(202);
    // What was accepted before somebody changed the schema is answered as it was.
    let stricter = json!({"schemas": {"1": schema(), "2": {"required": ["customer"]}}});
    client.patch(PAID, &stricter).await.is(200);
    let again = client.post_keyed(MESSAGES, "k", &message).await.is(202);
    assert_eq!(again["id"], accepted["id"]);
    let new = client
        .post_keyed(MESSAGES, "l", &paid(&json!({"order": 2})))
        .await;
    assert_eq!(new.blames(), "body.payload");
    assert_eq!(messages(&client, &accepted).await, 1);
}

#[tokio::test]
async fn a_refused_message_creates_no_application() {
    let (_server, client) = server().await;
    let mut message = paid(&json!({}));
    message["application"] = json!({"name": "New", "uid": "new"});
    client.post("/api/v1/app/new/msg", &message).await.is(422);
    client.get("/api/v1/app/new").await.is(404);
    message["payload"] = json!({"order": 1});
    client.post("/api/v1/app/new/msg", &message).await.is(202);
}

#[tokio::test]
async fn in_a_batch_each_has_its_own_result() {
    let (_server, client) = server().await;
    let batch = json!({"messages": [
        paid(&json!({"order": 1})),
        paid(&json!({"order": "x", "lines": [1]})),
        paid(&json!({"order": 2})),
    ]});
    let out = client
        .post("/api/v1/app/shop/msg-batch", &batch)
        .await
        .is(202);
    assert_eq!((&out["accepted"], &out["refused"]), (&json!(2), &json!(1)));
    let refused = &out["data"][1];
    assert_eq!(refused["status"], 422);
    let all = refused["error"]["detail"].as_array().unwrap();
    let mut places: Vec<_> = all.iter().map(|error| error["loc"].to_string()).collect();
    places.sort();
    let expected = [
        r#"["body","messages","1","payload","lines","0"]"#,
        r#"["body","messages","1","payload","order"]"#,
    ];
    assert_eq!(places, expected);
}

#[tokio::test]
async fn the_newest_schema_counts() {
    let (_server, client) = server().await;
    let schemas = json!({"schemas": {
        "10": {"required": ["ten"]}, "2": {"required": ["two"]}, "9": {"required": ["nine"]},
    }});
    client.patch(PAID, &schemas).await.is(200);
    client
        .post(MESSAGES, &paid(&json!({"ten": 1})))
        .await
        .is(202);
    let refused = client
        .post(MESSAGES, &paid(&json!({"two": 1, "nine": 1})))
        .await;
    let refused = refused.is(422);
    assert_eq!(
        refused["detail"][0]["msg"],
        r#""ten" is a required property"#
    );
}

#[tokio::test]
async fn an_archived_or_removed_type_validates_nothing() {
    let (_server, client) = server().await;
    let wrong = paid(&json!({}));
    client.post(MESSAGES, &wrong).await.is(422);
    client.delete(PAID).await.is(204);
    client.post(MESSAGES, &wrong).await.is(202);
    client
        .patch(PAID, &json!({"archived": false}))
        .await
        .is(200);
    client.post(MESSAGES, &wrong).await.is(422);
    client.delete(&format!("{PAID}?expunge=true")).await.is(204);
    client.post(MESSAGES, &wrong).await.is(202);
    client
        .post(TYPES, &kind(&json!({"1": schema()})))
        .await
        .is(201);
    client.post(MESSAGES, &wrong).await.is(422);
}

#[tokio::test]
async fn another_organisation_is_not_concerned() {
    let (server, _client) = server().await;
    let stranger = server.operator_of(postrider_core::OrgId::new(crate::support::START, [7; 15]));
    let app = json!({"name": "shop", "uid": "shop"});
    stranger.post("/api/v1/app", &app).await.is(201);
    stranger.post(MESSAGES, &paid(&json!({}))).await.is(202);
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
    let (_server, client) = server().await;
    for (schemas, place) in [
        (
            json!({"1": {}, "2": {"type": "strin"}}),
            "body.schemas.2.type",
        ),
        (
            json!({"1": {"items": {"$ref": "http://127.0.0.1:9/x"}}}),
            "body.schemas.1.items.$ref",
        ),
        (
            json!({"1": {"$ref": "file:///etc/passwd"}}),
            "body.schemas.1.$ref",
        ),
        (json!({"1": {"pattern": "("}}), "body.schemas.1.pattern"),
        (json!({"1": {"allOf": [{"$ref": "#"}]}}), "body.schemas.1"),
        (json!({"1": {"title": "x".repeat(300_000)}}), "body.schemas"),
        (json!({}), "body.schemas"),
        (Value::Null, "body.validatePayload"),
    ] {
        let named =
            json!({"name": "new", "description": "", "schemas": schemas, "validatePayload": true});
        assert_eq!(client.post(TYPES, &named).await.blames(), place);
        let put = json!({"description": "", "schemas": schemas, "validatePayload": true});
        assert_eq!(client.put(PAID, &put).await.blames(), place);
        let patch = json!({"schemas": schemas});
        assert_eq!(client.patch(PAID, &patch).await.blames(), place);
    }
    client.get(&format!("{TYPES}/new")).await.is(404);
    // What is kept without being used need not be right, but for its size.
    let kept = json!({"name": "kept", "description": "", "schemas": {"1": {"type": "strin"}}});
    client.post(TYPES, &kept).await.is(201);
    let on = client
        .patch(&format!("{TYPES}/kept"), &json!({"validatePayload": true}))
        .await;
    assert_eq!(on.blames(), "body.schemas.1.type");
    let large = json!({"name": "large", "description": "", "schemas": {"1": {"title": "x".repeat(300_000)}}});
    assert_eq!(client.post(TYPES, &large).await.blames(), "body.schemas");
}

#[tokio::test]
async fn an_import_keeps_the_switch_and_is_held_to_it() {
    let (_server, client) = server().await;
    let import = |schema: &Value| {
        json!({"spec": {"openapi": "3.1.0", "webhooks": {"order.paid": {"post": {
            "requestBody": {"content": {"application/json": {"schema": schema}}},
        }}}}})
    };
    let path = "/api/v1/event-type/import/openapi";
    let stricter = import(&json!({"required": ["customer"]}));
    client.post(path, &stricter).await.is(200);
    assert_eq!(client.get(PAID).await.is(200)["validatePayload"], true);
    let refused = client.post(MESSAGES, &paid(&json!({"order": 1}))).await;
    assert_eq!(refused.blames(), "body.payload");
    let wrong = client.post(path, &import(&json!({"type": "strin"}))).await;
    assert_eq!(wrong.blames(), "body.spec.order.paid.3.type");
    let new = json!({"spec": {"openapi": "3.1.0", "webhooks": {"new": {"post": {}}}}});
    client.post(path, &new).await.is(200);
    let new = client.get(&format!("{TYPES}/new")).await.is(200);
    assert_eq!(new.get("validatePayload"), None);
}

#[tokio::test]
async fn an_example_is_sent_as_it_is() {
    let (server, client) = server().await;
    let example = json!({"schemas": {"1": {"required": ["order"], "examples": [{}]}}});
    client.patch(PAID, &example).await.is(200);
    let endpoint = server.endpoint("shop").await;
    let path = format!("/api/v1/app/shop/endpoint/{endpoint}/send-example");
    client
        .post(&path, &json!({"eventType": "order.paid"}))
        .await
        .is(200);
}

#[tokio::test]
async fn large_payloads_are_held_against_it_too() {
    let (_server, client) = server().await;
    let lines: Vec<String> = (0..20_000).map(|line| format!("line {line}")).collect();
    let good = paid(&json!({"order": 1, "lines": lines}));
    client.post(MESSAGES, &good).await.is(202);
    let mut bad = good;
    bad["payload"]["lines"][19_999] = json!(7);
    let refused = client.post(MESSAGES, &bad).await;
    assert_eq!(refused.blames(), "body.payload.lines.19999");
}

#[tokio::test]
async fn many_at_once_are_all_held_against_it() {
    let (_server, client) = server().await;
    let posting = (0..40).map(|n| {
        let client = client.clone();
        async move {
            let payload = if n % 2 == 0 {
                json!({"order": n})
            } else {
                json!({})
            };
            client.post(MESSAGES, &paid(&payload)).await.status
        }
    });
    let answered = futures_util::future::join_all(posting).await;
    for (n, status) in answered.into_iter().enumerate() {
        assert_eq!(status, if n % 2 == 0 { 202 } else { 422 });
    }
}

/// Another process hears of it by the registry's stream of changes.
#[tokio::test]
async fn another_process_validates_once_it_is_told() {
    let server = Server::start();
    server.app("shop").await;
    let (cache, _api, front) = server.another_with_cache();
    let client = server.operator();
    let there = client.at(&front);
    let wrong = paid(&json!({}));
    there.post(MESSAGES, &wrong).await.is(202);
    let registry = &server.ports.registry;
    let cursor = registry.cursor().await.unwrap();
    client
        .post(TYPES, &kind(&json!({"1": schema()})))
        .await
        .is(201);
    client.post(MESSAGES, &wrong).await.is(422);
    there.post(MESSAGES, &wrong).await.is(202);
    let changes = registry.changed(cursor).await.unwrap();
    cache.apply(&changes);
    there.post(MESSAGES, &wrong).await.is(422);
    // Where anything may have changed, everything is read again.
    client
        .patch(PAID, &json!({"validatePayload": false}))
        .await
        .is(200);
    there.post(MESSAGES, &wrong).await.is(422);
    cache.apply(&Changes {
        cursor: ChangeCursor(0),
        apps: None,
        types: Vec::new(),
    });
    there.post(MESSAGES, &wrong).await.is(202);
}

/// Changes the event type where it is stored, and tells no process.
async fn change_unheard(server: &Server, change: impl FnOnce(&mut EventType)) {
    let registry = &server.ports.registry;
    let name = EventTypeName::new("order.paid").unwrap();
    let found = registry.event_type(server.org, &name).await.unwrap();
    let mut kind = found.unwrap();
    let expect = Some(kind.version);
    change(&mut kind);
    registry.put_event_type(kind, expect).await.unwrap();
}

/// As a process of a release that tells nobody changes it.
#[tokio::test]
async fn a_change_that_nobody_tells_of_is_found_out() {
    let (server, client) = server().await;
    let wrong = paid(&json!({}));
    client.post(MESSAGES, &wrong).await.is(422);
    change_unheard(&server, |kind| kind.validate_payload = false).await;
    client.post(MESSAGES, &wrong).await.is(422);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    // The one who notices is not kept waiting.
    client.post(MESSAGES, &wrong).await.is(422);
    let found_out = async {
        while client.post(MESSAGES, &wrong).await.status != 202 {
            tokio::task::yield_now().await;
        }
    };
    let found_out = tokio::time::timeout(Duration::from_secs(20), found_out).await;
    found_out.expect("it is looked for in the background");
}

/// As one that an import of a file has brought.
#[tokio::test]
async fn what_is_stored_and_cannot_be_used_lets_nothing_through() {
    let (server, client) = server().await;
    change_unheard(&server, |kind| {
        kind.schemas = Some(r#"{"1":{"type":"strin"}}"#.to_owned());
    })
    .await;
    let refused = client.post(MESSAGES, &paid(&json!({"order": 1}))).await;
    assert_eq!(refused.blames(), "body.eventType");
    client
        .patch(PAID, &json!({"validatePayload": false}))
        .await
        .is(200);
    client
        .post(MESSAGES, &paid(&json!({"order": 1})))
        .await
        .is(202);
}
