use std::time::Duration;

use axum::body::Body;
use http::Method;
use postrider_api::{JwtSecret, tokens};
use postrider_core::{AppId, OrgId};
use serde_json::json;

use crate::support::{START, Server, message};

#[tokio::test]
async fn without_a_valid_token_everything_is_401() {
    let server = Server::start();
    let stranger = JwtSecret::new("not the secret of this server");
    let forged = tokens::mint_operator(&stranger, server.org, START, Duration::from_secs(60));
    for token in [
        None,
        Some(String::new()),
        Some("x".to_owned()),
        Some(forged),
    ] {
        let client = server.client(token);
        for path in ["/api/v1/app", "/api/v1/app/a/msg/b", "/api/v1/event-type"] {
            assert_eq!(client.get(path).await.fails(401), "authentication_failed");
        }
        let created = client.post("/api/v1/app", &json!({"name": "x"})).await;
        assert_eq!(created.fails(401), "authentication_failed");
    }
    let basic = [("authorization", "Basic dXNlcjpwYXNz")];
    let reply = server
        .client(None)
        .send(Method::GET, "/api/v1/app", &basic, Body::empty())
        .await;
    assert_eq!(reply.fails(401), "authentication_failed");
}

#[tokio::test]
async fn a_token_expires() {
    let server = Server::start();
    let hour = Duration::from_secs(3600);
    let token = tokens::mint_operator(&server.secret, server.org, START, hour);
    let client = server.client(Some(token));
    client.get("/api/v1/app").await.is(200);
    server.clock.pass(hour);
    assert_eq!(client.get("/api/v1/app").await.status, 401);
}

#[tokio::test]
async fn the_environment_suffix_of_some_clients_is_ignored() {
    let server = Server::start();
    let hour = Duration::from_secs(3600);
    let token = tokens::mint_operator(&server.secret, server.org, START, hour);
    let client = server.client(Some(format!("{token}|production")));
    client.get("/api/v1/app").await.is(200);
}

#[tokio::test]
async fn a_consumer_sees_its_own_application_and_no_other() {
    let server = Server::start();
    let own = server.app("own").await;
    let other = server.app("other").await;
    let consumer = server.consumer(&own);
    consumer.get("/api/v1/app/own").await.is(200);
    consumer
        .get(&format!("/api/v1/app/{own}/endpoint"))
        .await
        .is(200);
    consumer.get("/api/v1/event-type").await.is(200);

    let unknown = consumer.get("/api/v1/app/unknown").await;
    for path in [
        "/api/v1/app/other".to_owned(),
        format!("/api/v1/app/{other}"),
    ] {
        let refused = consumer.get(&path).await;
        assert_eq!(refused.fails(404), "not_found");
        assert_eq!(refused.body, unknown.body, "the two cannot be told apart");
        let below = consumer.get(&format!("{path}/endpoint")).await;
        assert_eq!(below.body, unknown.body);
        let endpoint = json!({"url": "https://hooks.example.org/"});
        let created = consumer.post(&format!("{path}/endpoint"), &endpoint).await;
        assert_eq!(created.fails(404), "not_found");
    }
}

#[tokio::test]
async fn a_consumer_cannot_do_what_operators_do() {
    let server = Server::start();
    let own = server.app("own").await;
    let consumer = server.consumer(&own);
    let name = json!({"name": "x", "description": "x"});
    let replies = [
        consumer.get("/api/v1/app").await,
        consumer.post("/api/v1/app", &name).await,
        consumer.put("/api/v1/app/own", &name).await,
        consumer.patch("/api/v1/app/own", &name).await,
        consumer.delete("/api/v1/app/own").await,
        consumer.post("/api/v1/app/own/msg", &message()).await,
        consumer.post("/api/v1/event-type", &name).await,
        consumer.put("/api/v1/event-type/x", &name).await,
        consumer.patch("/api/v1/event-type/x", &name).await,
        consumer.delete("/api/v1/event-type/x").await,
    ];
    for reply in replies {
        assert_eq!(reply.fails(403), "insufficient_access");
    }
}

#[tokio::test]
async fn another_organisation_sees_nothing() {
    let server = Server::start();
    let app = server.app("shop").await;
    let endpoint = server.endpoint(&app).await;
    let message = server.message(&app).await;
    let stranger = server.operator_of(OrgId::new(START, [1; 15]));
    let unknown = stranger.get("/api/v1/app/nothing").await;
    for path in [
        "/api/v1/app/shop".to_owned(),
        format!("/api/v1/app/{app}"),
        format!("/api/v1/app/{app}/endpoint/{endpoint}"),
        format!("/api/v1/app/{app}/endpoint/{endpoint}/secret"),
        format!("/api/v1/app/{app}/msg/{message}"),
    ] {
        let reply = stranger.get(&path).await;
        assert_eq!(reply.fails(404), "not_found", "{path}");
        assert_eq!(reply.body, unknown.body, "{path}");
    }
    let submitted = stranger
        .post(
            &format!("/api/v1/app/{app}/msg"),
            &crate::support::message(),
        )
        .await;
    assert_eq!(submitted.fails(404), "not_found");
    assert_eq!(
        stranger.delete(&format!("/api/v1/app/{app}")).await.status,
        404
    );
    let list = stranger.get("/api/v1/app").await.is(200);
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn a_consumer_of_an_application_that_is_gone_is_told_so() {
    let server = Server::start();
    let gone = AppId::new(START, [3; 15]).to_string();
    let consumer = server.consumer(&gone);
    assert_eq!(
        consumer
            .get(&format!("/api/v1/app/{gone}"))
            .await
            .fails(404),
        "not_found"
    );
}
