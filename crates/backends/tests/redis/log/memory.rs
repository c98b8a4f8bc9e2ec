//! What a message costs.

use std::time::Duration;

use bytes::Bytes;
use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::ports::{DeliveryLog as _, LogRecord};
use postrider_core::samples::NOW;

use super::events::{a_message, an_app, an_endpoint, delivered, noise, order};
use crate::own::OwnServer;

/// How many messages are recorded: enough that what a period costs by itself does not count.
const MESSAGES: u32 = 20_000;

struct Cost {
    /// Per message, as Redis says.
    measured: u64,
    /// Per message, as the log reckons.
    reckoned: u64,
}

/// Records messages in batches, as ingest does, and their outcomes in others, as workers do.
async fn cost(payload: impl Fn() -> Bytes, endpoints: usize) -> Cost {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    let endpoints: Vec<_> = (0..endpoints).map(|_| an_endpoint()).collect();
    // The connection and the scripts are there before anything is measured.
    let first = a_message(app, NOW, payload());
    log.record(vec![LogRecord::Accepted(first)]).await.unwrap();
    let before = own.memory().await;
    for batch in 0..MESSAGES / 200 {
        let at = NOW + Duration::from_millis(500) * batch;
        let messages: Vec<_> = (0..200).map(|_| a_message(app, at, payload())).collect();
        let outcomes = messages.iter().flat_map(|message| {
            let delivered = |endpoint: &_| delivered(message, *endpoint);
            endpoints.iter().flat_map(delivered).collect::<Vec<_>>()
        });
        let outcomes: Vec<LogRecord> = outcomes.collect();
        let messages = messages.iter().cloned().map(LogRecord::Accepted);
        log.record(messages.collect()).await.unwrap();
        for some in outcomes.chunks(400) {
            log.record(some.to_vec()).await.unwrap();
        }
    }
    Cost {
        measured: (own.memory().await - before) / u64::from(MESSAGES),
        reckoned: log.bytes().await.unwrap() / u64::from(MESSAGES),
    }
}

#[tokio::test]
async fn a_message_with_one_attempt_is_cheap() {
    for (name, payload, limit) in [
        ("noise", (|| noise(512)) as fn() -> Bytes, 1_130),
        ("json", order, 1_130),
    ] {
        let cost = cost(payload, 1).await;
        println!(
            "{name}: {} bytes measured, {} reckoned",
            cost.measured, cost.reckoned
        );
        assert!(
            cost.measured <= limit,
            "{name} costs {} bytes",
            cost.measured
        );
        assert!(
            cost.reckoned.abs_diff(cost.measured) * 10 < cost.measured,
            "{name}: the account is right within a tenth: {} for {}",
            cost.reckoned,
            cost.measured
        );
    }
}

#[tokio::test]
async fn more_endpoints_share_the_message() {
    for payload in [(|| noise(512)) as fn() -> Bytes, order] {
        let cost = cost(payload, 5).await;
        println!(
            "5 endpoints: {} bytes measured, {} reckoned",
            cost.measured, cost.reckoned
        );
        assert!(cost.measured <= 1_900, "{} bytes", cost.measured);
        assert!(cost.reckoned.abs_diff(cost.measured) * 10 < cost.measured);
    }
}

/// What an hour of an application costs beside its messages: its directories, its texts, its keys.
#[tokio::test]
async fn an_hour_of_a_quiet_application_costs_little() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let one = async |log: &RedisLog| {
        let (message, endpoint) = (a_message(an_app(), NOW, noise(512)), an_endpoint());
        let mut records = delivered(&message, endpoint).to_vec();
        records.push(LogRecord::Accepted(message));
        log.record(records).await.unwrap();
    };
    one(&log).await;
    let before = own.memory().await;
    for _ in 0..1_000 {
        one(&log).await;
    }
    let each = (own.memory().await - before) / 1_000;
    println!("one message, alone in its hour: {each} bytes");
    assert!(each <= 2_600, "{each} bytes");
}

/// The same bytes, whatever comes first and however often.
#[tokio::test]
async fn order_and_repetition_cost_nothing() {
    let own = OwnServer::start().await;
    let mut sizes = Vec::new();
    for outcome_first in [false, true] {
        let log = RedisLog::new(own.server(), LogOptions::default());
        let message = a_message(an_app(), NOW, noise(512));
        let outcome = delivered(&message, an_endpoint()).to_vec();
        let mut calls = vec![vec![LogRecord::Accepted(message)], outcome];
        if outcome_first {
            calls.reverse();
        }
        let before = log.bytes().await.unwrap();
        for call in &calls {
            log.record(call.clone()).await.unwrap();
        }
        let once = log.bytes().await.unwrap();
        for _ in 0..3 {
            for call in &calls {
                log.record(call.clone()).await.unwrap();
            }
        }
        assert_eq!(
            log.bytes().await.unwrap(),
            once,
            "repetition changes nothing"
        );
        sizes.push(once - before);
    }
    // Times are a byte or two, by chance.
    assert!(sizes[0].abs_diff(sizes[1]) <= 4, "{sizes:?}");
}
