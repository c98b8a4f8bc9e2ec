use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Method;
use postrider_api::tokens;
use serde_json::{Value, json};

use crate::api_key::made;
use crate::faults::CountedDocuments;
use crate::support::{Client, START, Server};

const PORTAL: &str = "/api/v1/auth/app-portal-access/shop";
const APP: &str = "/api/v1/app/shop";

/// A consumer who came by the portal.
async fn visitor(server: &Server, body: &Value) -> Client {
    let out = server.operator().post(PORTAL, body).await.is(200);
    let token = out["token"].as_str().unwrap().to_owned();
    let url = out["url"].as_str().unwrap();
    let expected = format!("http://127.0.0.1:8071/console/login#token={token}");
    assert_eq!(url, expected);
    server.client(Some(token))
}

async fn logout(client: &Client) -> u16 {
    let path = "/api/v1/auth/logout";
    client
        .send(Method::POST, path, &[], Body::empty())
        .await
        .status
}

#[tokio::test]
async fn a_portal_token_opens_one_application_until_it_expires() {
    let server = Server::start();
    server.app("shop").await;
    server.app("other").await;
    let visitor = visitor(&server, &json!({"expiry": 3600})).await;
    visitor.get(APP).await.is(200);
    assert_eq!(
        visitor.get("/api/v1/app/other").await.fails(404),
        "not_found"
    );
    assert_eq!(
        visitor.get("/api/v1/app").await.fails(403),
        "insufficient_access"
    );
    let endpoint = json!({"url": "https://hooks.example.org/"});
    let endpoints = format!("{APP}/endpoint");
    visitor.post(&endpoints, &endpoint).await.is(201);
    server.clock.pass(Duration::from_secs(3600));
    assert_eq!(visitor.get(APP).await.status, 401);
}

#[tokio::test]
async fn a_portal_call_creates_the_application_that_it_describes() {
    let server = Server::start();
    assert_eq!(
        server.operator().post(PORTAL, &json!({})).await.fails(404),
        "not_found"
    );
    let body = json!({"application": {"name": "Shop", "uid": "other"}});
    let refused = server.operator().post(PORTAL, &body).await;
    assert_eq!(refused.blames(), "body.application.uid");
    let body = json!({"application": {"name": "Shop", "uid": "shop"}});
    let visitor = visitor(&server, &body).await;
    assert_eq!(visitor.get(APP).await.is(200)["name"], "Shop");
}

#[tokio::test]
async fn a_read_only_token_changes_nothing_and_sees_no_keys() {
    let server = Server::start();
    server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    let message = server.message("shop").await;
    let visitor = visitor(&server, &json!({"readOnly": true})).await;
    let endpoint = format!("{APP}/endpoint/{endpoint}");
    for path in ["", "/endpoint", "/msg", "/dead-letter"] {
        visitor.get(&format!("{APP}{path}")).await.is(200);
    }
    visitor.get(&format!("{endpoint}/headers")).await.is(200);
    let body = json!({"url": "https://hooks.example.org/"});
    for refused in [
        visitor.get(&format!("{endpoint}/secret")).await,
        visitor
            .post(&format!("{endpoint}/secret/rotate"), &json!({}))
            .await,
        visitor.post(&format!("{APP}/endpoint"), &body).await,
        visitor.put(&endpoint, &body).await,
        visitor.patch(&endpoint, &body).await,
        visitor.delete(&endpoint).await,
        visitor
            .post(
                &format!("{endpoint}/recover"),
                &json!({"since": START.to_rfc3339()}),
            )
            .await,
        visitor
            .post(
                &format!("{APP}/msg/{message}/endpoint/main/resend"),
                &json!({}),
            )
            .await,
    ] {
        assert_eq!(refused.fails(403), "insufficient_access");
    }
    assert_eq!(logout(&visitor).await, 204, "it may end itself");
    assert_eq!(visitor.get(APP).await.status, 401);
}

#[tokio::test]
async fn logging_out_ends_that_token_everywhere_and_no_other() {
    let server = Server::start();
    server.app("shop").await;
    let (_api, elsewhere) = server.another(|_| {});
    let visitors = [
        visitor(&server, &json!({})).await,
        visitor(&server, &json!({})).await,
    ];
    for visitor in &visitors {
        visitor.get(APP).await.is(200);
        visitor.at(&elsewhere).get(APP).await.is(200);
    }
    assert_eq!(logout(&visitors[0]).await, 204);
    assert_eq!(
        visitors[0].get(APP).await.fails(401),
        "authentication_failed"
    );
    assert_eq!(logout(&visitors[0]).await, 401);
    visitors[0].at(&elsewhere).is_soon_refused(APP).await;
    visitors[1].get(APP).await.is(200);
    visitors[1].at(&elsewhere).get(APP).await.is(200);
    assert_eq!(logout(&server.client(None)).await, 401);
    let operator = server.operator();
    assert_eq!(logout(&operator).await, 204, "operators log out, too");
    assert_eq!(operator.get("/api/v1/app").await.status, 401);
}

/// A consumer for whom a program has asked.
async fn visitor_by(server: &Server, program: &Client) -> Client {
    let out = program.post(PORTAL, &json!({})).await.is(200);
    server.client(Some(out["token"].as_str().unwrap().to_owned()))
}

#[tokio::test]
async fn a_token_outlives_the_key_that_it_was_made_with_in_no_way() {
    let server = Server::start();
    server.app("shop").await;
    let (_api, elsewhere) = server.another(|_| {});
    let ends = START + Duration::from_secs(600);
    let body = json!({"name": "short", "expiresAt": ends.to_rfc3339()});
    let (_, short) = made(&server, &body).await;
    let (leaked, by_leaked) = made(&server, &json!({"name": "leaked"})).await;
    let (_, by_other) = made(&server, &json!({"name": "other"})).await;
    let of_short = visitor_by(&server, &short).await;
    let of_leaked = visitor_by(&server, &by_leaked).await;
    let of_other = visitor_by(&server, &by_other).await;
    let of_nobody = visitor(&server, &json!({})).await;
    for client in [&of_short, &of_leaked, &of_other, &of_nobody] {
        client.get(APP).await.is(200);
        client.at(&elsewhere).get(APP).await.is(200);
    }
    let path = format!("/api/v1/api-key/{}", leaked["id"].as_str().unwrap());
    server.operator().delete(&path).await.is(204);
    assert_eq!(of_leaked.get(APP).await.fails(401), "authentication_failed");
    of_leaked.at(&elsewhere).is_soon_refused(APP).await;
    server.clock.pass(Duration::from_secs(599));
    of_short.get(APP).await.is(200);
    server.clock.pass(Duration::from_secs(1));
    assert_eq!(of_short.get(APP).await.fails(401), "authentication_failed");
    // To the last moment of what such a token may live.
    server.clock.pass(Duration::from_secs(604_800 - 601));
    for client in [&of_other, &of_nobody] {
        client.get(APP).await.is(200);
    }
    assert_eq!(of_leaked.get(APP).await.fails(401), "authentication_failed");
}

#[tokio::test]
async fn expiring_all_ends_the_tokens_of_before_and_spares_those_of_after() {
    let server = Server::start();
    let app = server.app("shop").await;
    let other = server.app("other").await;
    let (_api, elsewhere) = server.another(|_| {});
    let ttl = Duration::from_secs(9_999_999);
    let timeless =
        tokens::mint_consumer(&server.secret, server.org, app.parse().unwrap(), START, ttl);
    let timeless = server.client(Some(timeless));
    let before = visitor(&server, &json!({})).await;
    for client in [&timeless, &before] {
        client.at(&elsewhere).get(APP).await.is(200);
    }
    server.clock.pass(Duration::from_millis(5));
    let all = "/api/v1/auth/app/shop/expire-all";
    server.operator().post(all, &json!({})).await.is(204);
    let after = visitor(&server, &json!({})).await;
    for client in [&timeless, &before] {
        assert_eq!(client.get(APP).await.fails(401), "authentication_failed");
        client.at(&elsewhere).is_soon_refused(APP).await;
    }
    after.get(APP).await.is(200);
    server
        .consumer(&other)
        .get("/api/v1/app/other")
        .await
        .is(200);
    server.operator().get(APP).await.is(200);
}

#[tokio::test]
async fn tokens_can_be_given_time_to_leave() {
    let server = Server::start();
    server.app("shop").await;
    let visitor = visitor(&server, &json!({})).await;
    server.clock.pass(Duration::from_secs(1));
    let all = "/api/v1/auth/app/shop/expire-all";
    server
        .operator()
        .post(all, &json!({"expiry": 60}))
        .await
        .is(204);
    visitor.get(APP).await.is(200);
    server.clock.pass(Duration::from_secs(60));
    assert_eq!(visitor.get(APP).await.status, 401);
}

#[tokio::test]
async fn time_to_leave_gives_nobody_back_who_was_expired() {
    let server = Server::start();
    server.app("shop").await;
    let (early, all) = (
        visitor(&server, &json!({})).await,
        "/api/v1/auth/app/shop/expire-all",
    );
    server.clock.pass(Duration::from_secs(1));
    let operator = server.operator();
    operator.post(all, &json!({})).await.is(204);
    let late = visitor(&server, &json!({})).await;
    server.clock.pass(Duration::from_secs(1));
    operator.post(all, &json!({"expiry": 60})).await.is(204);
    assert_eq!(early.get(APP).await.status, 401);
    late.get(APP).await.is(200);
    server.clock.pass(Duration::from_secs(60));
    assert_eq!(late.get(APP).await.status, 401);
}

#[tokio::test]
async fn what_would_make_less_of_a_restriction_is_refused() {
    let server = Server::start();
    let app = server.app("shop").await;
    let client = server.operator();
    for (body, field) in [
        (json!({"expiry": 3599}), "body.expiry"),
        (json!({"expiry": 604_801}), "body.expiry"),
        (json!({"readOnly": "yes"}), "body.readOnly"),
        (json!({"capabilities": ["ViewBase"]}), "body.capabilities"),
        (json!({"featureFlags": ["a b"]}), "body.featureFlags"),
    ] {
        assert_eq!(client.post(PORTAL, &body).await.blames(), field);
    }
    let all = "/api/v1/auth/app/shop/expire-all";
    let some = json!({"sessionIds": ["a"]});
    assert_eq!(client.post(all, &some).await.blames(), "body.sessionIds");
    let consumer = server.consumer(&app);
    for path in [PORTAL, all] {
        assert_eq!(
            consumer.post(path, &json!({})).await.fails(403),
            "insufficient_access"
        );
    }
}

#[tokio::test]
async fn whoever_calls_is_asked_after_by_one_question_and_whoever_cannot_be_known_by_none() {
    let mut counted = None;
    let server = Server::with(
        |mut ports| {
            let documents = CountedDocuments::new(ports.documents);
            counted = Some(Arc::clone(&documents));
            ports.documents = documents;
            ports
        },
        |_| {},
    );
    let documents = counted.unwrap();
    let app = server.app("shop").await;
    let (operator, body) = (server.operator(), json!({"name": "x"}));
    let made = operator.post("/api/v1/api-key", &body).await.is(201);
    let key = made["key"].as_str().unwrap().to_owned();
    documents.asked();
    server.consumer(&app).get(APP).await.is(200);
    assert_eq!(documents.asked(), 1);
    let mut forged = key.clone();
    forged.replace_range(10..11, if &key[10..11] == "x" { "y" } else { "x" });
    let longer = format!("{key}x");
    for shown in [forged.as_str(), &longer, "prk_x", "nonsense"] {
        let client = server.client(Some(shown.to_owned()));
        assert_eq!(client.get(APP).await.status, 401);
    }
    assert_eq!(documents.asked(), 0);
    documents.go_away(true);
    let (_api, elsewhere) = server.another(|_| {});
    for client in [server.consumer(&app), server.client(Some(key))] {
        let refused = client.at(&elsewhere).get(APP).await;
        assert_eq!(
            refused.fails(503),
            "unavailable",
            "nobody is let in unknown"
        );
        documents.go_away(false);
        client.at(&elsewhere).get(APP).await.is(200);
        documents.go_away(true);
    }
}
