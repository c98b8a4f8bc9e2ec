//! Payloads are held against the schema of their event type, whichever process accepts them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use postrider_tests::{Api, Role, Server, Shared};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

const MESSAGES: &str = "/api/v1/app/shop/msg";
/// A second is promised.
const BOUND: Duration = Duration::from_secs(3);

async fn posted(api: &Api) -> u16 {
    let wrong = json!({"eventType": "order.paid", "payload": {"order": "one"}});
    let (status, answer) = api.call(Method::POST, MESSAGES, Some(wrong)).await;
    assert!(status == 202 || status == 422, "{status}: {answer}");
    status
}

/// How long it takes until messages are answered so.
async fn until_answered(api: &Api, status: u16) -> Duration {
    let begun = Instant::now();
    while posted(api).await != status {
        assert!(
            begun.elapsed() < BOUND,
            "it is not {status} after {BOUND:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_on_one_process_is_followed_by_another() {
    let installation = Shared::new().await;
    let settings = installation.settings().role(Role::Ingest);
    let (first, second) = (
        Server::start(&settings).await,
        Server::start(&settings).await,
    );
    let here = Api::new(&first).await;
    let there = here.moved_to(&second);
    here.post("/api/v1/app", json!({"name": "Shop", "uid": "shop"}))
        .await;
    let schema = json!({"properties": {"order": {"type": "integer"}}});
    let kind = json!({"name": "order.paid", "description": "", "schemas": {"1": schema}});
    here.post("/api/v1/event-type", kind).await;
    assert_eq!((posted(&here).await, posted(&there).await), (202, 202));
    for (validate, status) in [(true, 422), (false, 202), (true, 422)] {
        let switch = json!({"validatePayload": validate});
        let path = "/api/v1/event-type/order.paid";
        let (changed, answer) = here.call(Method::PATCH, path, Some(switch)).await;
        assert_eq!(changed, 200, "{answer}");
        assert_eq!(
            posted(&here).await,
            status,
            "whoever made the change sees it at once"
        );
        until_answered(&there, status).await;
    }
    let path = "/api/v1/event-type/order.paid?expunge=true";
    let (removed, _) = here.call(Method::DELETE, path, None).await;
    assert_eq!((removed, posted(&here).await), (204, 202));
    until_answered(&there, 202).await;
}
