//! Reading what is long, without keeping the server from others.

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{AttemptFilter, AttemptScope, DeliveryLog as _, LogRecord};
use postrider_core::samples::NOW;

use super::events::{a_message, an_app, an_attempt, an_endpoint, long_trail, noise};
use crate::own::OwnServer;

/// What one call may read: the server copies as much in about a millisecond.
const ONE_CALL: u64 = 256 * 1024;

/// Calls of scripts, and bytes that the server sent, since somebody asked last.
async fn asked(own: &OwnServer) -> (u64, u64) {
    let mut connection = own.connect().await;
    let info: String = redis::cmd("INFO")
        .arg("everything")
        .query_async(&mut connection)
        .await
        .unwrap();
    redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .exec_async(&mut connection)
        .await
        .unwrap();
    let number = |name: &str| {
        let rest = info.lines().find_map(|line| line.strip_prefix(name));
        let digits = rest.unwrap_or("0").split(',').next().unwrap();
        digits.trim().parse().unwrap()
    };
    (
        number("cmdstat_evalsha:calls="),
        number("total_net_output_bytes:"),
    )
}

#[tokio::test]
async fn no_call_reads_all_trails_of_many_messages() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let (app, endpoint) = (an_app(), an_endpoint());
    let mut wanted = Vec::new();
    for _ in 0..32 {
        let message = a_message(app, NOW, noise(20));
        let attempt = an_attempt(&message, endpoint, NOW);
        wanted.push(attempt.clone());
        let mut records = long_trail(&message, 80);
        records.push(LogRecord::Message(message));
        records.push(LogRecord::Attempt(attempt));
        for some in records.chunks(8) {
            log.record(some.to_vec()).await.unwrap();
        }
    }
    wanted.sort_unstable_by_key(|attempt| attempt.id);
    let page = Page {
        cursor: Cursor::Start,
        limit: 32,
        order: Order::Ascending,
    };
    let filter = AttemptFilter::default();
    asked(&own).await;
    let scope = AttemptScope::Endpoint(endpoint);
    let found = log.attempts(app, scope, &filter, page).await.unwrap();
    assert_eq!(found.items, wanted);
    let (calls, bytes) = asked(&own).await;
    assert!(bytes > 4 * ONE_CALL, "there is much to read: {bytes}");
    assert!(bytes / calls <= ONE_CALL, "{calls} calls for {bytes} bytes");
}

#[tokio::test]
async fn a_trail_that_one_call_does_not_read_is_read_by_several() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    let message = a_message(app, NOW, noise(20));
    let id = message.event.message;
    log.record(vec![LogRecord::Message(message.clone())])
        .await
        .unwrap();
    let mut wanted = Vec::new();
    for some in long_trail(&message, 1_500).chunks(100) {
        log.record(some.to_vec()).await.unwrap();
        wanted.extend(some.iter().map(|record| match record {
            LogRecord::Attempt(attempt) => attempt.id,
            _ => unreachable!("a trail is made of attempts"),
        }));
    }
    wanted.sort_unstable();
    let page = Page {
        cursor: Cursor::Start,
        limit: 2_000,
        order: Order::Ascending,
    };
    let filter = AttemptFilter::default();
    asked(&own).await;
    let scope = AttemptScope::Message(id);
    let found = log.attempts(app, scope, &filter, page).await.unwrap();
    let found: Vec<_> = found.items.iter().map(|attempt| attempt.id).collect();
    assert_eq!(found, wanted);
    let (calls, bytes) = asked(&own).await;
    assert!(bytes > 2 * ONE_CALL, "there is much to read: {bytes}");
    assert!(bytes / calls <= ONE_CALL, "{calls} calls for {bytes} bytes");
}
