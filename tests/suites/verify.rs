//! Anyone can verify: what arrives is judged by the `standardwebhooks` packages that subscribers use.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::Stdio;

use postrider_tests::{
    Answer, Api, Application, Installation, Received, Receiver, Server, on_each_installation,
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const PYTHON: &str = r#"
import json, sys
from standardwebhooks import Webhook
case = json.load(sys.stdin)
Webhook(case["secret"]).verify(case["body"], case["headers"])
"#;

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const case_ = JSON.parse(require("fs").readFileSync(0, "utf8"));
new Webhook(case_.secret).verify(case_.body, case_.headers);
"#;

/// Payloads whose bytes a careless sender would change: spaces, escapes, key order, large numbers, other scripts.
const PAYLOADS: [&str; 4] = [
    r#"{"order": 1042,   "total":"19.90"}"#,
    r#"{"z":1,"a":[1,2, 3],"n":123456789012345678901234567890,"f":1.0}"#,
    r#"{"name":"J\u00fcrgen \ud83d\udc4b","raw":"Jürgen 👋 漢字"}"#,
    "{\n  \"nested\": {\"deep\": null}\n}",
];

on_each_installation!(
    the_packages_of_pypi_and_npm_and_our_own_accept_what_arrives,
    during_a_rotation_the_old_and_the_new_secret_both_verify,
);

fn required(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run the tests by ./scripts/test"))
}

fn python() -> Command {
    let mut command = Command::new(required("POSTRIDER_TEST_PYTHON"));
    command.args(["-c", PYTHON]);
    command
}

fn node() -> Command {
    let mut command = Command::new(required("POSTRIDER_TEST_NODE"));
    command
        .args(["-e", NODE])
        .env("NODE_PATH", required("POSTRIDER_TEST_NODE_PATH"));
    command
}

/// Whether the library accepts the request.
async fn accepts(mut library: Command, secret: &str, request: &Received, body: &str) -> bool {
    let case = json!({
        "secret": secret,
        "body": body,
        "headers": {
            "webhook-id": request.id,
            "webhook-timestamp": request.timestamp,
            "webhook-signature": request.signature,
        },
    });
    library
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = library.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(case.to_string().as_bytes())
        .await
        .unwrap();
    child.wait().await.unwrap().success()
}

async fn deliver(api: &Api, app: &Application, receiver: &Receiver) -> Vec<Received> {
    for payload in PAYLOADS {
        let body = format!(r#"{{"eventType":"order.paid","payload":{payload}}}"#);
        let (status, answer) = api.raw_event(&app.id, body).await;
        assert_eq!(status, 202, "{answer}");
    }
    receiver.wait_for(PAYLOADS.len()).await
}

async fn the_packages_of_pypi_and_npm_and_our_own_accept_what_arrives(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&installation.settings()).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    receiver.expect_secret(&app.secret);
    let requests = deliver(&api, &app, &receiver).await;
    receiver.assert_all_verify();
    for request in &requests {
        let body = std::str::from_utf8(&request.body).unwrap();
        assert!(
            PAYLOADS.contains(&body),
            "the payload was changed on its way: {body}"
        );
        assert!(
            accepts(python(), &app.secret, request, body).await,
            "refused by PyPI's: {request:?}"
        );
        assert!(
            accepts(node(), &app.secret, request, body).await,
            "refused by npm's: {request:?}"
        );
        let forged = format!("{body} ");
        assert!(
            !accepts(python(), &app.secret, request, &forged).await,
            "the test cannot tell a forgery"
        );
        assert!(
            !accepts(node(), &app.secret, request, &forged).await,
            "the test cannot tell a forgery"
        );
    }
}

async fn during_a_rotation_the_old_and_the_new_secret_both_verify(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&installation.settings()).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let path = format!("/api/v1/app/{}/endpoint/{}/secret", app.id, app.endpoint);
    let (status, answer) = api
        .call(
            reqwest::Method::POST,
            &format!("{path}/rotate"),
            Some(json!({})),
        )
        .await;
    assert_eq!(status, 204, "{answer}");
    let rotated = api.get(&path).await["key"].as_str().unwrap().to_owned();
    assert_ne!(rotated, app.secret);
    api.event(&app.id, "order.paid", json!({"n": 1}))
        .await
        .unwrap();
    let requests = receiver.wait_for(1).await;
    for secret in [&app.secret, &rotated] {
        let body = std::str::from_utf8(&requests[0].body).unwrap();
        assert!(accepts(python(), secret, &requests[0], body).await);
        assert!(accepts(node(), secret, &requests[0], body).await);
    }
}
