//! The log's account of its bytes, where something came in between.

use futures_util::future::join_all;
use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::ports::DeliveryLog as _;
use postrider_core::samples::NOW;
use postrider_core::time::Timestamp;

use super::bounds::{fill, is_there, retain_all};
use super::events::{HOUR, an_app};
use crate::own::OwnServer;

const ACCOUNT: &str = "pr1:{pr}hb";

async fn tell(own: &OwnServer, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.exec_async(&mut own.connect().await).await.unwrap();
}

fn hour_of(time: Timestamp) -> String {
    (time.as_millis() / 3_600_000).to_string()
}

fn limited(own: &OwnServer, max_bytes: u64) -> RedisLog {
    let options = LogOptions {
        max_bytes: Some(max_bytes),
        ..LogOptions::default()
    };
    RedisLog::new(own.server(), options)
}

#[tokio::test]
async fn what_was_dropped_is_booked_even_where_forgetting_fails_then() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    fill(&log, an_app(), NOW - HOUR * 80, 20, 100).await;
    let before = log.bytes().await.unwrap();
    tell(&own, &["ACL", "SETUSER", "default", "-zrem"]).await;
    let failed = log.retain(NOW, NOW - HOUR * 72).await;
    assert!(failed.is_err(), "the directories cannot be changed");
    // What goes is measured by a few of its members.
    let after = log.bytes().await.unwrap();
    assert!(after * 10 < before, "{after} bytes are left of {before}");
    tell(&own, &["ACL", "SETUSER", "default", "+zrem"]).await;
    retain_all(&log, NOW - HOUR * 72).await;
    assert_eq!(own.keys().await, 0);
}

#[tokio::test]
async fn bytes_of_hours_that_are_gone_cost_no_other_hour() {
    let own = OwnServer::start().await;
    let log = limited(&own, 1_000_000);
    let app = an_app();
    let mut kept = Vec::new();
    for hour in [3, 2, 1, 0] {
        kept.push(fill(&log, app, NOW - HOUR * hour, 20, 100).await);
    }
    let bytes = log.bytes().await.unwrap();
    let gone = hour_of(NOW - HOUR * 5);
    tell(&own, &["HSET", ACCOUNT, &gone, "5000000"]).await;
    assert_eq!(retain_all(&log, NOW - HOUR * 72).await, 0);
    for messages in &kept {
        assert!(is_there(&log, &messages[0]).await);
    }
    assert_eq!(log.bytes().await.unwrap(), bytes);
    // Of an hour that others still have, they go with it, and no younger ones.
    let shared = hour_of(NOW - HOUR * 3);
    tell(&own, &["HINCRBY", ACCOUNT, &shared, "5000000"]).await;
    assert!(retain_all(&log, NOW - HOUR * 72).await > 0);
    for messages in &kept[1..] {
        assert!(is_there(&log, &messages[0]).await);
    }
    assert!(log.bytes().await.unwrap() < bytes);
}

#[tokio::test]
async fn bytes_that_are_left_when_nothing_is_named_are_none() {
    let own = OwnServer::start().await;
    let log = limited(&own, 1_000_000);
    tell(&own, &["HSET", ACCOUNT, &hour_of(NOW), "5000000"]).await;
    assert_eq!(retain_all(&log, NOW - HOUR * 72).await, 0);
    assert_eq!(own.keys().await, 0);
}

#[tokio::test]
async fn an_account_that_missed_something_is_never_below_nothing() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let hour = NOW - HOUR * 80;
    let young = fill(&log, an_app(), NOW, 20, 100).await;
    let bytes = log.bytes().await.unwrap();
    fill(&log, an_app(), hour, 20, 100).await;
    fill(&log, an_app(), hour, 20, 100).await;
    tell(&own, &["HSET", ACCOUNT, &hour_of(hour), "10"]).await;
    retain_all(&log, NOW - HOUR * 72).await;
    assert!(is_there(&log, &young[0]).await);
    assert_eq!(log.bytes().await.unwrap(), bytes);
    for number in 1..3 {
        let hour = hour_of(NOW + HOUR * number);
        tell(&own, &["HSET", ACCOUNT, &hour, &i64::MAX.to_string()]).await;
    }
    assert!(log.bytes().await.unwrap() >= i64::MAX.unsigned_abs());
}

#[tokio::test]
async fn many_who_sweep_at_once_shed_what_one_would() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    for hour in (0..20).rev() {
        fill(&log, app, NOW - HOUR * hour, 30, 512).await;
    }
    let all = log.bytes().await.unwrap();
    let limit = all - all / 20 * 3 / 2;
    let logs: Vec<_> = (0..6).map(|_| limited(&own, limit)).collect();
    join_all(logs.iter().map(|log| retain_all(log, NOW - HOUR * 72))).await;
    let left = log.bytes().await.unwrap();
    assert!(left <= limit, "{left} bytes are left of {limit}");
    assert!(left >= all / 20 * 17, "{left} bytes are left of {all}");
}
