//! A subscriber that is down: its events wait, arrive when it is back, never too early, and end as dead letters when
//! it stays away.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_tests::{
    Answer, Api, Installation, PATIENCE, Receiver, Server, on_each_installation,
};
use serde_json::{Value, json};
use tokio::time::Instant;

const SCHEDULE: &str = "[0.4,0.8]";
const DELAYS: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(800)];

on_each_installation!(
    a_subscriber_that_comes_back_gets_its_events_and_none_early,
    after_the_last_step_the_message_is_a_dead_letter_and_survives_a_restart,
    a_retry_that_waits_survives_a_kill,
    a_subscriber_that_is_gone_is_disabled_and_its_message_kept,
    a_disabled_endpoint_gets_nothing_more,
    a_resend_is_one_more_attempt,
);

async fn server(installation: &Installation) -> Server {
    Server::start(&installation.settings().env("RETRY_SCHEDULE", SCHEDULE)).await
}

/// Asks again until `done`, because the log is written beside the delivery.
async fn eventually(api: &Api, path: &str, done: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = api.get(path).await;
        if done(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "{path} never became what was waited for: {answer}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn length(list: &Value) -> usize {
    list["data"].as_array().unwrap().len()
}

async fn a_subscriber_that_comes_back_gets_its_events_and_none_early(installation: &Installation) {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let status = move || {
        if is_up.load(Ordering::SeqCst) {
            200
        } else {
            503
        }
    };
    let receiver = Receiver::start(move |_, _| Answer::Status(status())).await;
    let server = server(installation).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    receiver.expect_secret(&app.secret);
    let message = api
        .event(&app.id, "build.failed", json!({"build": 7}))
        .await
        .unwrap();

    receiver.wait_for(2).await;
    up.store(true, Ordering::SeqCst);
    let requests = receiver.wait_for(3).await;
    assert!(requests.iter().all(|request| request.id == message));
    for (pair, delay) in requests.windows(2).zip(DELAYS) {
        let waited = pair[1].at - pair[0].at;
        assert!(
            waited >= delay,
            "waited {waited:?} instead of at least {delay:?}"
        );
        assert!(
            waited < delay.mul_f64(1.42) * 3 + Duration::from_secs(1),
            "waited {waited:?} instead of {delay:?}"
        );
    }
    receiver.assert_all_verify();

    let path = format!("/api/v1/app/{}/attempt/msg/{message}", app.id);
    let attempts = eventually(&api, &path, |list| length(list) == 3).await;
    let statuses: Vec<i64> = attempts["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["status"].as_i64().unwrap())
        .collect();
    assert_eq!(statuses, [0, 2, 2], "newest first: {attempts}");
    let path = format!("/api/v1/app/{}/msg/{message}/endpoint", app.id);
    let destinations = eventually(&api, &path, |list| list["data"][0]["status"] == 0).await;
    assert_eq!(length(&destinations), 1);
}

async fn after_the_last_step_the_message_is_a_dead_letter_and_survives_a_restart(
    installation: &Installation,
) {
    let receiver = Receiver::start(|_, _| Answer::Status(500)).await;
    let first = server(installation).await;
    let api = Api::new(&first).await;
    let app = api.application(&receiver.url).await;
    let message = api
        .event(&app.id, "order.paid", json!({"order": 1042}))
        .await
        .unwrap();
    let path = format!("/api/v1/app/{}/dead-letter", app.id);
    let list = eventually(&api, &path, |list| length(list) == 1).await;
    assert_eq!(receiver.requests().len(), 3);

    first.kill().await;
    let second = server(installation).await;
    let api = api.moved_to(&second);
    let again = api.get(&path).await;
    assert_eq!(again, list);
    let id = list["data"][0]["id"].as_str().unwrap();
    let letter = api.get(&format!("{path}/{id}")).await;
    assert_eq!(letter["msgId"], json!(message));
    assert_eq!(letter["endpointId"], json!(app.endpoint));
    assert_eq!(letter["reason"], json!("exhausted"));
    assert_eq!(letter["attempts"], json!(3));
    assert_eq!(letter["payload"], json!({"order": 1042}));
}

async fn a_retry_that_waits_survives_a_kill(installation: &Installation) {
    let receiver =
        Receiver::start(|index, _| Answer::Status(if index == 0 { 503 } else { 200 })).await;
    let settings = installation.settings().env("RETRY_SCHEDULE", "[1.5]");
    let first = Server::start(&settings).await;
    let api = Api::new(&first).await;
    let app = api.application(&receiver.url).await;
    let message = api.event(&app.id, "order.paid", json!({})).await.unwrap();
    let path = format!("/api/v1/app/{}/attempt/msg/{message}", app.id);
    eventually(&api, &path, |list| length(list) == 1).await;
    first.kill().await;
    let _second = Server::start(&settings).await;
    let requests = receiver.wait_for(2).await;
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(1_500));
}

async fn a_subscriber_that_is_gone_is_disabled_and_its_message_kept(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(410)).await;
    let server = server(installation).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    api.event(&app.id, "order.paid", json!({})).await.unwrap();
    let path = format!("/api/v1/app/{}/dead-letter", app.id);
    let list = eventually(&api, &path, |list| length(list) == 1).await;
    assert_eq!(list["data"][0]["reason"], json!("gone"));
    let endpoint = api
        .get(&format!("/api/v1/app/{}/endpoint/{}", app.id, app.endpoint))
        .await;
    assert_eq!(endpoint["disabled"], json!(true));
    api.event(&app.id, "order.paid", json!({})).await.unwrap();
    let (status, _) = server.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        receiver.requests().len(),
        1,
        "a disabled endpoint was called"
    );
}

async fn a_disabled_endpoint_gets_nothing_more(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(503)).await;
    let server = server(installation).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let message = api.event(&app.id, "order.paid", json!({})).await.unwrap();
    receiver.wait_for(1).await;
    let path = format!("/api/v1/app/{}/endpoint/{}", app.id, app.endpoint);
    let (status, _) = api
        .call(
            reqwest::Method::PATCH,
            &path,
            Some(json!({"disabled": true})),
        )
        .await;
    assert_eq!(status, 200);
    let disabled = Instant::now();
    let path = format!("/api/v1/app/{}/msg/{message}/endpoint", app.id);
    // Statuses are 0 to 3 on the wire: a canceled delivery is one that will not be tried any more.
    eventually(&api, &path, |list| {
        list["data"][0]["nextAttempt"].is_null() && list["data"][0]["status"] == 2
    })
    .await;
    let late = receiver
        .requests()
        .iter()
        .filter(|request| request.at > disabled + Duration::from_secs(2))
        .count();
    assert_eq!(late, 0);
}

async fn a_resend_is_one_more_attempt(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = server(installation).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let message = api
        .event(&app.id, "order.paid", json!({"n": 1}))
        .await
        .unwrap();
    receiver.wait_for(1).await;
    let path = format!(
        "/api/v1/app/{}/msg/{message}/endpoint/{}/resend",
        app.id, app.endpoint
    );
    api.post(&path, json!({})).await;
    let requests = receiver.wait_for(2).await;
    assert_eq!(requests[0].id, requests[1].id);
    assert_eq!(requests[0].body, requests[1].body);
    let path = format!("/api/v1/app/{}/attempt/msg/{message}", app.id);
    let attempts = eventually(&api, &path, |list| length(list) == 2).await;
    assert_eq!(attempts["data"][0]["triggerType"], json!(1));
}
