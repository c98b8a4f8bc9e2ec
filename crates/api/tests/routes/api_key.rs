use std::time::Duration;

use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{DocumentKind, Owner, Place};
use postrider_core::{ApiKeyId, OrgId};
use serde_json::{Value, json};

use crate::support::{Client, START, Server, message};

const KEYS: &str = "/api/v1/api-key";

/// A key, and whoever calls with it.
pub(crate) async fn made(server: &Server, body: &Value) -> (Value, Client) {
    let made = server.operator().post(KEYS, body).await.is(201);
    let key = made["key"].as_str().unwrap().to_owned();
    (made, server.client(Some(key)))
}

fn path(made: &Value) -> String {
    format!("{KEYS}/{}", made["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_key_opens_what_its_scope_is() {
    let server = Server::start();
    let app = server.app("shop").await;
    server.app("other").await;
    let (_, operator) = made(&server, &json!({"name": "backend"})).await;
    operator
        .post("/api/v1/app/shop/msg", &message())
        .await
        .is(202);
    operator.get("/api/v1/app").await.is(200);
    for named in ["shop", &app] {
        let (key, consumer) = made(&server, &json!({"name": "x", "appId": named})).await;
        assert_eq!(key["appId"], app);
        consumer.get("/api/v1/app/shop").await.is(200);
        assert_eq!(
            consumer.get("/api/v1/app/other").await.fails(404),
            "not_found"
        );
        assert_eq!(consumer.get(KEYS).await.fails(403), "insufficient_access");
    }
    let (_, reader) = made(&server, &json!({"name": "r", "readOnly": true})).await;
    reader.get("/api/v1/app").await.is(200);
    let refused = reader.post("/api/v1/app/shop/msg", &message()).await;
    assert_eq!(refused.fails(403), "insufficient_access");
}

#[tokio::test]
async fn a_key_that_ends_makes_none_that_outlives_it() {
    let server = Server::start();
    let at = |hours: u32| (START + Duration::from_secs(3600) * hours).to_rfc3339();
    let (own, short_lived) = made(&server, &json!({"name": "a", "expiresAt": at(5)})).await;
    for (wanted, got) in [(json!(null), 5), (json!(at(9)), 5), (json!(at(2)), 2)] {
        let body = json!({"name": "b", "expiresAt": wanted});
        let key = short_lived.post(KEYS, &body).await.is(201);
        if got == 5 {
            assert_eq!(key["expiresAt"], own["expiresAt"]);
        } else {
            assert_ne!(key["expiresAt"], own["expiresAt"]);
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_hash() {
    let server = Server::start();
    let (first, _) = made(&server, &json!({"name": "one"})).await;
    server.clock.pass(Duration::from_secs(1));
    let (second, _) = made(&server, &json!({"name": "two"})).await;
    let text = first["key"].as_str().unwrap();
    assert!(text.starts_with(first["prefix"].as_str().unwrap()));
    assert!(text.len() > 50 && first["prefix"].as_str().unwrap().len() == 12);
    let list = server.operator().get(KEYS).await.is(200);
    let names: Vec<&Value> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names, ["two", "one"]);
    assert!(list["data"][0].get("key").is_none());
    let mut shown = server.operator().get(&path(&second)).await.is(200);
    assert_eq!(shown, list["data"][0]);
    shown["key"] = second["key"].clone();
    assert_eq!(shown, second);
    let all = Page {
        cursor: Cursor::Start,
        limit: 100,
        order: Order::Ascending,
    };
    for (owner, kind) in [
        (Owner::Org(server.org), DocumentKind::ApiKey),
        (Owner::Installation, DocumentKind::ApiKeyHash),
    ] {
        let place = Place { owner, kind };
        let found = server
            .ports
            .documents
            .list(START, place, all.clone())
            .await
            .unwrap();
        assert_eq!(found.items.len(), 2);
        for document in found.items {
            let kept = format!("{} {}", document.name, document.body);
            assert!(!kept.contains(text), "{kept}");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_anywhere() {
    let server = Server::start();
    let (key, client) = made(&server, &json!({"name": "x"})).await;
    let (_, other) = made(&server, &json!({"name": "y"})).await;
    let (_api, elsewhere) = server.another(|_| {});
    client.at(&elsewhere).get("/api/v1/app").await.is(200);
    client.get("/api/v1/app").await.is(200);
    server.operator().delete(&path(&key)).await.is(204);
    assert_eq!(
        client.get("/api/v1/app").await.fails(401),
        "authentication_failed"
    );
    let there = client.at(&elsewhere);
    there.is_soon_refused("/api/v1/app").await;
    other.get("/api/v1/app").await.is(200);
    let gone = server.operator().delete(&path(&key)).await;
    assert_eq!(gone.fails(404), "not_found");
}

#[tokio::test]
async fn a_key_expires() {
    let server = Server::start();
    let end = START + Duration::from_secs(60);
    let body = json!({"name": "x", "expiresAt": end.to_rfc3339()});
    let (_, client) = made(&server, &body).await;
    client.get("/api/v1/app").await.is(200);
    server.clock.pass(Duration::from_secs(60));
    assert_eq!(client.get("/api/v1/app").await.status, 401);
    let refused = server.operator().post(KEYS, &body).await;
    assert_eq!(refused.blames(), "body.expiresAt");
}

#[tokio::test]
async fn keys_belong_to_their_organisation() {
    let server = Server::start();
    let (key, client) = made(&server, &json!({"name": "x"})).await;
    let stranger = server.operator_of(OrgId::new(START, [1; 15]));
    assert_eq!(stranger.get(KEYS).await.is(200)["data"], json!([]));
    assert_eq!(stranger.get(&path(&key)).await.fails(404), "not_found");
    assert_eq!(stranger.delete(&path(&key)).await.fails(404), "not_found");
    client.get("/api/v1/app").await.is(200);
    let unknown = format!("{KEYS}/{}", ApiKeyId::MIN);
    assert_eq!(
        server.operator().get(&unknown).await.fails(404),
        "not_found"
    );
    for forged in ["prk_", "prk_x", &format!("prk_{}", "a".repeat(5000))] {
        let client = server.client(Some(forged.to_owned()));
        assert_eq!(
            client.get("/api/v1/app").await.fails(401),
            "authentication_failed"
        );
    }
    for (body, field) in [
        (json!({}), "body.name"),
        (json!({"name": ""}), "body.name"),
        (json!({"name": "x", "appId": "nobody"}), "body.appId"),
    ] {
        assert_eq!(server.operator().post(KEYS, &body).await.blames(), field);
    }
}

#[tokio::test]
async fn logging_out_is_not_for_keys() {
    let server = Server::start();
    let (_, client) = made(&server, &json!({"name": "x"})).await;
    let refused = client.post("/api/v1/auth/logout", &json!({})).await;
    assert_eq!(refused.fails(403), "insufficient_access");
    client.get("/api/v1/app").await.is(200);
}
