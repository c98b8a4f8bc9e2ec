//! What was sent in sum, who may see it, what is refused, and the end of it all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use svix::Svix;
use svix::api::{EndpointGetStatsOptions, EventTypeDeleteOptions, MessageGetOptions};
use svix::models::{AppPortalAccessIn, ApplicationIn, EndpointStats, MessageIn};

use crate::check::{eventually, refused, s, step};
use crate::client;

const DAY: Duration = Duration::from_secs(86_400);

pub async fn statistics(svix: &Svix) {
    step("statistics");
    let now = Utc::now();
    let between = async |since: DateTime<Utc>, until| {
        let range = EndpointGetStatsOptions {
            since: Some(since),
            until: Some(until),
        };
        let api = svix.endpoint();
        api.get_stats(s("shop"), s("main"), Some(range)).await
    };
    let wanted = EndpointStats::new(3, 0, 0, 0, 0);
    eventually("three messages to be counted", async || {
        let stats = between(now - DAY, now + DAY / 24).await.unwrap();
        (stats == wanted).then_some(())
    })
    .await;
    refused(400, "invalid_range", between(now - 60 * DAY, now).await);
}

pub async fn portal(svix: &Svix) {
    step("the customer's own access");
    let wanted = AppPortalAccessIn {
        expiry: Some(3600),
        ..AppPortalAccessIn::new()
    };
    let api = svix.authentication();
    let access = api
        .app_portal_access(s("shop"), wanted, None)
        .await
        .unwrap();
    assert!(access.url.ends_with(&access.token), "{}", access.url);
    let customer = client(access.token);
    let listed = customer
        .endpoint()
        .list(s("shop"), None)
        .await
        .unwrap()
        .data;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].uid.as_deref(), Some("main"));
    let all = customer.application().list(None).await;
    refused(403, "insufficient_access", all);
    let others = customer.endpoint().list(s("other"), None).await;
    refused(404, "not_found", others);
    customer.authentication().logout(None).await.unwrap();
    eventually("the token to be revoked", async || {
        let answer = customer.endpoint().list(s("shop"), None).await;
        answer
            .is_err()
            .then(|| refused(401, "authentication_failed", answer))
    })
    .await;
}

pub async fn errors(svix: &Svix) {
    step("errors");
    let stranger = client(s("nonsense")).application().list(None).await;
    refused(401, "authentication_failed", stranger);
    refused(404, "not_found", svix.application().get(s("nobody")).await);
    let nothing = svix.message().get(s("shop"), s("msg_nothing"), None).await;
    refused(404, "not_found", nothing);
    let slow = ApplicationIn {
        uid: Some(s("slow")),
        throttle_rate: Some(1),
        ..ApplicationIn::new(s("Slow"))
    };
    svix.application().create(slow, None).await.unwrap();
    for _ in 0..20 {
        let message = MessageIn::new(s("order.paid"), json!({}));
        let answer = svix.message().create(s("slow"), message, None).await;
        if answer.is_err() {
            return refused(429, "rate_limited", answer);
        }
    }
    panic!("twenty messages in a moment were not too many");
}

pub async fn deletions(svix: &Svix, sent: &str, attempt: &str) {
    step("deletions");
    let api = svix.message_attempt();
    let gone = api.expunge_content(s("shop"), s(sent), s(attempt)).await;
    gone.unwrap();
    let gone = svix.message().expunge_content(s("shop"), s(sent)).await;
    gone.unwrap();
    let with_content = MessageGetOptions {
        with_content: Some(true),
    };
    let read = svix
        .message()
        .get(s("shop"), s(sent), Some(with_content))
        .await;
    assert_eq!(read.unwrap().payload, json!({"expired": true}));
    let again = api.resend(s("shop"), s(sent), s("main"), None).await;
    refused(400, "missing_payload", again);

    let api = svix.endpoint();
    api.delete(s("shop"), s("main")).await.unwrap();
    refused(404, "not_found", api.get(s("shop"), s("main")).await);
    let api = svix.event_type();
    let entirely = EventTypeDeleteOptions {
        expunge: Some(true),
    };
    api.delete(s("order.paid"), Some(entirely)).await.unwrap();
    refused(404, "not_found", api.get(s("order.paid")).await);
    let api = svix.application();
    api.delete(s("shop")).await.unwrap();
    refused(404, "not_found", api.get(s("shop")).await);
}
