use std::time::Duration;

use axum::body::Body;
use http::Method;
use postrider_core::ports::{AppKey, EndpointKey};
use postrider_core::{Endpoint, Uid};
use postrider_signature::{Ed25519Secret, SymmetricSecret};
use serde_json::json;

use crate::support::{START, Server};

const MAIN: &str = "/api/v1/app/shop/endpoint/main";
const CHOSEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn server(secret: Option<&str>) -> Server {
    let server = Server::start();
    server.app("shop").await;
    let body = json!({"url": "https://hooks.example.org/", "uid": "main", "secret": secret});
    server
        .operator()
        .post("/api/v1/app/shop/endpoint", &body)
        .await
        .is(201);
    server
}

async fn key(server: &Server) -> String {
    let shown = server
        .operator()
        .get(&format!("{MAIN}/secret"))
        .await
        .is(200);
    shown["key"].as_str().unwrap().to_owned()
}

async fn stored(server: &Server) -> Endpoint {
    let registry = &server.ports.registry;
    let app = AppKey::Uid(Uid::new("shop").unwrap());
    let app = registry
        .application(server.org, &app)
        .await
        .unwrap()
        .unwrap();
    let endpoint = EndpointKey::Uid(Uid::new("main").unwrap());
    registry.endpoint(app.id, &endpoint).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_key_is_made_where_none_is_given() {
    let server = server(None).await;
    let made: SymmetricSecret = key(&server).await.parse().unwrap();
    assert_eq!(made.expose_bytes().len(), 24);
    assert!(key(&server).await.starts_with("whsec_"));
}

#[tokio::test]
async fn a_chosen_key_is_taken_in_any_spelling() {
    assert_eq!(key(&server(Some(CHOSEN)).await).await, CHOSEN);
    let bare = CHOSEN.trim_start_matches("whsec_");
    assert_eq!(key(&server(Some(bare)).await).await, CHOSEN);
}

#[tokio::test]
async fn of_an_asymmetric_key_only_the_public_half_is_shown() {
    let pair = Ed25519Secret::from_seed([7; 32]);
    let server = server(Some(&pair.to_secret_string())).await;
    assert_eq!(key(&server).await, pair.public_key().to_public_string());
}

#[tokio::test]
async fn rotation_keeps_the_old_key_for_a_day_or_as_long_as_asked() {
    let server = server(Some(CHOSEN)).await;
    let client = server.operator();
    let path = format!("{MAIN}/secret/rotate");
    client
        .send(Method::POST, &path, &[], Body::empty())
        .await
        .is(204);
    assert_ne!(key(&server).await, CHOSEN);
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(
        stored(&server).await.secrets[0].expires_at,
        Some(START + day)
    );

    client
        .post(&path, &json!({"key": CHOSEN, "gracePeriodSeconds": 60}))
        .await
        .is(204);
    assert_eq!(key(&server).await, CHOSEN);
    let secrets = stored(&server).await.secrets;
    assert_eq!(secrets.len(), 3);
    assert_eq!(secrets[1].expires_at, Some(START + Duration::from_secs(60)));

    client
        .post(&path, &json!({"gracePeriodSeconds": 0}))
        .await
        .is(204);
    let live = stored(&server).await;
    assert!(
        live.live_secrets(START)
            .all(|secret| secret.key.expose() != CHOSEN || secret.expires_at.is_some())
    );
}

#[tokio::test]
async fn rotation_shows_the_key_to_libraries_that_read_it_and_again_when_repeated() {
    let server = server(Some(CHOSEN)).await;
    let client = server.operator();
    let path = format!("{MAIN}/secret/rotate");
    let headers = [
        ("idempotency-key", "rotate-1"),
        ("user-agent", "svix-libs/2.9.1/python"),
    ];
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = client.send(Method::POST, &path, &headers, Body::from("{}"));
        answers.push(answer.await.is(200));
    }
    assert_eq!(answers[0], json!({"key": key(&server).await}));
    assert_eq!(answers[0], answers[1]);
    assert_eq!(stored(&server).await.secrets.len(), 2);

    let older = [("user-agent", "svix-libs/1.99.1/java")];
    let answer = client.send(Method::POST, &path, &older, Body::from("{}"));
    answer.await.is(204);
}

#[tokio::test]
async fn rotation_to_an_asymmetric_key_shows_the_public_half() {
    let pair = Ed25519Secret::from_seed([7; 32]);
    let server = server(None).await;
    let path = format!("{MAIN}/secret/rotate");
    let headers = [("user-agent", "svix-libs/2.9.1/rust")];
    let body = json!({"key": pair.to_secret_string().as_str()}).to_string();
    let client = server.operator();
    let answer = client.send(Method::POST, &path, &headers, Body::from(body));
    assert_eq!(
        answer.await.is(200)["key"],
        pair.public_key().to_public_string()
    );
}

#[tokio::test]
async fn an_eleventh_old_key_is_refused_until_one_expires() {
    let server = server(None).await;
    let client = server.operator();
    let path = format!("{MAIN}/secret/rotate");
    for _ in 0..10 {
        client.post(&path, &json!({})).await.is(204);
    }
    assert_eq!(
        client.post(&path, &json!({})).await.fails(400),
        "limit_reached"
    );
    server.clock.pass(Duration::from_secs(24 * 3600));
    client.post(&path, &json!({})).await.is(204);
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = server(None).await;
    let client = server.operator();
    let path = format!("{MAIN}/secret/rotate");
    for (body, place) in [
        (json!({"key": "whsec_!"}), "body.key"),
        (json!({"key": 5}), "body.key"),
        (
            json!({"gracePeriodSeconds": 604_801}),
            "body.gracePeriodSeconds",
        ),
        (json!({"gracePeriodSeconds": -1}), "body.gracePeriodSeconds"),
        (
            json!({"gracePeriodSeconds": "1"}),
            "body.gracePeriodSeconds",
        ),
    ] {
        assert_eq!(client.post(&path, &body).await.blames(), place, "{body}");
    }
    let unknown = "/api/v1/app/shop/endpoint/nobody/secret";
    assert_eq!(client.get(unknown).await.fails(404), "not_found");
    assert_eq!(
        client
            .post(&format!("{unknown}/rotate"), &json!({}))
            .await
            .fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn a_repeated_rotation_rotates_once() {
    let server = server(None).await;
    let client = server.operator();
    let path = format!("{MAIN}/secret/rotate");
    client.post_keyed(&path, "auto_1", &json!({})).await.is(204);
    let after = key(&server).await;
    client.post_keyed(&path, "auto_1", &json!({})).await.is(204);
    assert_eq!(key(&server).await, after);
    client.post_keyed(&path, "auto_2", &json!({})).await.is(204);
    assert_ne!(key(&server).await, after);
}
