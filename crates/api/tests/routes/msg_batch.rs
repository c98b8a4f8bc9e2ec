use serde_json::{Value, json};

use crate::faults::{Fault, with_faulty_broker};
use crate::support::{Client, START, Server, message};

const BATCH: &str = "/api/v1/app/shop/msg-batch";

fn batch(messages: &[Value]) -> Value {
    json!({"messages": messages})
}

fn numbered(number: usize) -> Value {
    json!({"eventType": "order.paid", "payload": {"order": number}})
}

fn ids(out: &Value) -> Vec<&str> {
    let rows = out["data"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap()).collect()
}

async fn ready(server: &Server) -> u64 {
    server.ports.broker.depth(START).await.unwrap().ready
}

async fn is_readable(client: &Client, id: &str, number: usize) {
    let path = format!("/api/v1/app/shop/msg/{id}");
    let found = client.get(&path).await.is(200);
    assert_eq!(found["payload"], json!({"order": number}));
}

#[tokio::test]
async fn hundreds_of_messages_are_accepted_in_their_order() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let messages: Vec<Value> = (0..500).map(numbered).collect();
    let out = client.post(BATCH, &batch(&messages)).await.is(202);
    assert_eq!(
        (&out["accepted"], &out["refused"]),
        (&json!(500), &json!(0))
    );
    let ids = ids(&out);
    assert_eq!(ids.len(), 500);
    for number in [0, 7, 499] {
        is_readable(&client, ids[number], number).await;
    }
    assert_eq!(out["data"][3]["status"], 202);
    assert!(out["data"][3]["timestamp"].is_string());
}

#[tokio::test]
async fn each_message_has_a_result_of_its_own() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let mut known = message();
    known["eventId"] = json!("known");
    client.post("/api/v1/app/shop/msg", &known).await.is(202);
    let messages = [
        message(),
        known,
        json!({"eventType": "a b", "payload": {}}),
        json!(7),
        json!({"eventType": "a", "payload": {}, "application": {"name": "x", "uid": "shop"}}),
        json!({"eventType": "a", "payload": {}, "idempotencyKey": 7}),
        json!({"eventType": "a", "payload": {}, "eventId": "mine"}),
    ];
    let out = client.post(BATCH, &batch(&messages)).await.is(202);
    let rows = out["data"].as_array().unwrap();
    let statuses: Vec<u64> = rows
        .iter()
        .map(|row| row["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [202, 409, 422, 422, 422, 422, 202]);
    assert_eq!((&out["accepted"], &out["refused"]), (&json!(2), &json!(5)));
    assert_eq!(rows[1]["error"]["code"], "conflict");
    let loc = |row: usize| rows[row]["error"]["detail"][0]["loc"].clone();
    assert_eq!(loc(2), json!(["body", "messages", "2", "eventType"]));
    assert_eq!(loc(3), json!(["body", "messages", "3"]));
    assert_eq!(loc(4), json!(["body", "messages", "4", "application"]));
    assert_eq!(loc(5), json!(["body", "messages", "5", "idempotencyKey"]));
    assert_eq!(rows[6]["eventId"], "mine");
    assert!(rows[2].get("id").is_none());
}

#[tokio::test]
async fn a_repeated_batch_is_the_same_messages() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let messages: Vec<Value> = (0..20).map(numbered).collect();
    let one = client
        .post_keyed(BATCH, "k", &batch(&messages))
        .await
        .is(202);
    let before = ready(&server).await;
    let again = client
        .post_keyed(BATCH, "k", &batch(&messages))
        .await
        .is(202);
    assert_eq!(one, again);
    assert_eq!(ready(&server).await, before, "nothing was published again");
    let changed: Vec<Value> = (1..21).map(numbered).collect();
    let refused = client
        .post_keyed(BATCH, "k", &batch(&changed))
        .await
        .is(202);
    assert_eq!(
        (&refused["refused"], &refused["data"][0]["status"]),
        (&json!(20), &json!(409))
    );
    let other = client
        .post_keyed(BATCH, "l", &batch(&messages))
        .await
        .is(202);
    assert_ne!(ids(&one), ids(&other));
}

#[tokio::test]
async fn a_message_with_a_key_of_its_own_is_accepted_once_wherever_it_stands() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    let keyed = |number: usize| {
        let mut message = numbered(number);
        message["idempotencyKey"] = json!(format!("own-{number}"));
        message
    };
    let one = client
        .post(BATCH, &batch(&[keyed(1), keyed(2)]))
        .await
        .is(202);
    let two = client
        .post(BATCH, &batch(&[keyed(3), keyed(2), keyed(2)]))
        .await
        .is(202);
    let (one, two) = (ids(&one), ids(&two));
    assert_eq!(two[1], one[1]);
    assert_eq!(two[2], one[1]);
    assert!(!one.contains(&two[0]));
}

#[tokio::test]
async fn a_batch_of_which_nothing_can_be_accepted_is_503() {
    let (server, broker) = with_faulty_broker(|_| {});
    server.app("shop").await;
    let client = server.operator();
    broker.set(Fault::Unavailable);
    let messages = batch(&[numbered(1), numbered(2)]);
    let refused = client.post_keyed(BATCH, "k", &messages).await;
    assert_eq!(refused.fails(503), "unavailable");
    broker.set(Fault::None);
    let out = client.post_keyed(BATCH, "k", &messages).await.is(202);
    assert_eq!(out["accepted"], 2);
}

#[tokio::test]
async fn batches_count_for_as_many_messages_as_they_have() {
    let (server, broker) = with_faulty_broker(|config| config.max_in_flight = 8);
    server.app("shop").await;
    let client = server.operator();
    broker.set(Fault::Gated);
    let (body, mut under_way) = (batch(&[numbered(1), numbered(2)]), Vec::new());
    for _ in 0..4 {
        let (client, body) = (client.clone(), body.clone());
        under_way.push(tokio::spawn(async move { client.post(BATCH, &body).await }));
    }
    broker.arrived.acquire_many(8).await.unwrap().forget();
    let refused = client.post(BATCH, &body).await;
    assert_eq!(refused.fails(503), "unavailable");
    broker.set(Fault::None);
    broker.gate.add_permits(100);
    for answer in under_way {
        assert_eq!(answer.await.unwrap().is(202)["accepted"], 2);
    }
    assert_eq!(client.post(BATCH, &body).await.is(202)["accepted"], 2);
}

#[tokio::test]
async fn what_is_no_batch_is_refused_as_a_whole() {
    let server = Server::start();
    let app = server.app("shop").await;
    let client = server.operator();
    for (body, field) in [
        (json!([]), "body"),
        (json!({}), "body.messages"),
        (json!({"messages": {}}), "body.messages"),
        (json!({"messages": []}), "body.messages"),
        (batch(&vec![message(); 501]), "body.messages"),
    ] {
        assert_eq!(client.post(BATCH, &body).await.blames(), field);
    }
    let nowhere = "/api/v1/app/nowhere/msg-batch";
    assert_eq!(
        client.post(nowhere, &batch(&[message()])).await.fails(404),
        "not_found"
    );
    let refused = server
        .consumer(&app)
        .post(BATCH, &batch(&[message()]))
        .await;
    assert_eq!(refused.fails(403), "insufficient_access");
}
