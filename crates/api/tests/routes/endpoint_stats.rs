use std::time::Duration;

use postrider_core::ports::{Destination, DestinationStatus, LogRecord};
use serde_json::{Value, json};

use crate::support::{START, Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// One message each day, and what became of it.
async fn server() -> (Server, String) {
    let server = Server::start();
    let app = server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    for status in [
        DestinationStatus::Delivered,
        DestinationStatus::Delivered,
        DestinationStatus::Pending,
        DestinationStatus::Failed,
        DestinationStatus::Sending,
        DestinationStatus::Canceled,
    ] {
        let message = server.message("shop").await;
        let record = LogRecord::Destination(Destination {
            app: app.parse().unwrap(),
            message: message.parse().unwrap(),
            endpoint: endpoint.parse().unwrap(),
            status,
            next_attempt: None,
            at: START,
        });
        server.ports.log.record(vec![record]).await.unwrap();
        server.clock.pass(DAY);
    }
    server.message("shop").await;
    let path = format!("/api/v1/app/shop/endpoint/{endpoint}/stats");
    (server, path)
}

fn stats(success: u64, pending: u64, fail: u64, sending: u64, canceled: u64) -> Value {
    json!({"success": success, "pending": pending, "fail": fail, "sending": sending, "canceled": canceled})
}

#[tokio::test]
async fn messages_are_counted_by_how_far_they_have_come() {
    let (server, path) = server().await;
    let at = |days: u32| (START + DAY * days).to_rfc3339();
    for (query, expected) in [
        (String::new(), stats(2, 1, 1, 1, 1)),
        (format!("since={}", at(1)), stats(1, 1, 1, 1, 1)),
        (format!("until={}", at(1)), stats(2, 0, 0, 0, 0)),
        (
            format!("since={}&until={}", at(2), at(3)),
            stats(0, 1, 1, 0, 0),
        ),
        (
            format!("since={}&until={}", at(9), at(9)),
            stats(0, 0, 0, 0, 0),
        ),
    ] {
        let found = server.operator().get(&format!("{path}?{query}")).await;
        assert_eq!(found.is(200), expected, "{query}");
    }
}

#[tokio::test]
async fn at_most_28_days_are_counted() {
    let (server, path) = server().await;
    let client = server.operator();
    let until = START + DAY * 28;
    let range = |from, until: postrider_core::Timestamp| {
        format!("{path}?since={}&until={}", from, until.to_rfc3339())
    };
    client.get(&range(START.to_rfc3339(), until)).await.is(200);
    let early = (START - Duration::from_secs(1)).to_rfc3339();
    for refused in [
        range(early, until),
        range((until + DAY).to_rfc3339(), until),
    ] {
        let refused = client.get(&refused).await;
        assert_eq!(refused.fails(400), "invalid_range");
    }
    let refused = client.get(&format!("{path}?since=yesterday")).await;
    assert_eq!(refused.fails(400), "invalid_query");
}
