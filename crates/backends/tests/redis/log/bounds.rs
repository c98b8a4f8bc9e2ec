//! What bounds the log: its age, its size, the server's memory.

use std::time::Duration;

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::id::AppId;
use postrider_core::message::MessageRecord;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{
    DeliveryLog as _, LogRecord, MessageFilter, MessageKey, PortError, Probe as _,
};
use postrider_core::samples::NOW;
use postrider_core::time::Timestamp;

use super::events::{HOUR, a_message, an_app, an_endpoint, delivered, noise};
use crate::own::OwnServer;

/// Records `count` delivered messages of that time.
pub(super) async fn fill(
    log: &RedisLog,
    app: AppId,
    at: Timestamp,
    count: usize,
    payload: usize,
) -> Vec<MessageRecord> {
    let endpoint = an_endpoint();
    let messages: Vec<_> = (0..count)
        .map(|_| a_message(app, at, noise(payload)))
        .collect();
    for some in messages.chunks(100) {
        let outcomes = some.iter().flat_map(|message| delivered(message, endpoint));
        let records = some
            .iter()
            .cloned()
            .map(LogRecord::Accepted)
            .chain(outcomes);
        log.record(records.collect()).await.unwrap();
    }
    messages
}

pub(super) async fn retain_all(log: &RedisLog, keep_from: Timestamp) -> u64 {
    let mut touched = 0;
    loop {
        match log.retain(NOW, keep_from).await.unwrap() {
            0 => return touched,
            more => touched += more,
        }
    }
}

pub(super) async fn is_there(log: &RedisLog, message: &MessageRecord) -> bool {
    let key = MessageKey::Id(message.event.message);
    log.message(message.event.app, &key)
        .await
        .unwrap()
        .is_some()
}

pub(super) async fn listed(log: &RedisLog, app: AppId) -> usize {
    let page = Page {
        cursor: Cursor::Start,
        limit: 100_000,
        order: Order::Descending,
    };
    let filter = MessageFilter::default();
    log.messages(app, &filter, page).await.unwrap().items.len()
}

#[tokio::test]
async fn retention_leaves_no_key_behind() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    for hours in [80, 79, 79, 78] {
        let messages = fill(&log, an_app(), NOW - HOUR * hours, 20, 100).await;
        // A payload that ends early, and one that is kept apart.
        let mut event = (*messages[0].event).clone();
        event.message = postrider_core::id::MessageId::new(event.accepted_at, rand::random());
        event.payload_until = NOW;
        event.payload = noise(10_000);
        let record = MessageRecord::from(std::sync::Arc::new(event));
        log.record(vec![LogRecord::Message(record)]).await.unwrap();
    }
    assert!(own.keys().await > 20);
    assert!(retain_all(&log, NOW - HOUR * 72).await >= 4 * 40);
    assert_eq!(own.keys().await, 0, "not even a directory is left");
    assert_eq!(log.bytes().await.unwrap(), 0, "the account is even");
}

#[tokio::test]
async fn an_hour_that_was_forgotten_can_be_recorded_again() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let (app, at) = (an_app(), NOW - HOUR * 80);
    fill(&log, app, at, 5, 100).await;
    retain_all(&log, NOW - HOUR * 72).await;
    let late = fill(&log, app, at, 3, 100).await;
    assert_eq!(listed(&log, app).await, 3, "lists know the hour again");
    assert!(is_there(&log, &late[0]).await);
    assert!(
        retain_all(&log, NOW - HOUR * 72).await > 0,
        "and so does retention"
    );
    assert_eq!(own.keys().await, 0);
}

#[tokio::test]
async fn a_log_that_redis_lost_begins_anew() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    fill(&log, app, NOW, 5, 100).await;
    redis::cmd("FLUSHALL")
        .exec_async(&mut own.connect().await)
        .await
        .unwrap();
    fill(&log, app, NOW, 3, 100).await;
    assert_eq!(
        listed(&log, app).await,
        3,
        "what is recorded afterwards is found"
    );
    assert!(retain_all(&log, NOW + HOUR * 2).await > 0);
    assert_eq!(own.keys().await, 0);
}

#[tokio::test]
async fn beyond_its_limit_the_log_sheds_the_oldest_only() {
    let own = OwnServer::start().await;
    let options = LogOptions {
        max_bytes: Some(300_000),
        ..LogOptions::default()
    };
    let log = RedisLog::new(own.server(), options);
    let apps = [an_app(), an_app()];
    let mut hours = Vec::new();
    for hour in (0..10).rev() {
        let messages = fill(&log, apps[hour as usize % 2], NOW - HOUR * hour, 60, 512).await;
        hours.push(messages);
    }
    assert!(log.bytes().await.unwrap() > 500_000);
    retain_all(&log, NOW - HOUR * 72).await;
    let left = log.bytes().await.unwrap();
    assert!((200_000..=300_000).contains(&left), "{left} bytes are left");
    let mut there = Vec::new();
    for messages in &hours {
        there.push(is_there(&log, &messages[0]).await);
    }
    let first = there.iter().position(|there| *there).unwrap();
    assert!(first > 3, "{there:?}");
    assert!(
        there[first..].iter().all(|there| *there),
        "the youngest stay: {there:?}"
    );
}

const MEGABYTE: u64 = 1024 * 1024;

#[tokio::test]
async fn under_pressure_the_log_gives_way_and_nothing_else() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    // Somebody else's.
    let mut connection = own.connect().await;
    for number in 0..20 {
        let mut command = redis::cmd("SET");
        command.arg(number).arg(&*noise(50_000));
        command.exec_async(&mut connection).await.unwrap();
    }
    let mut last = Vec::new();
    for hour in (0..20).rev() {
        last = fill(&log, app, NOW - HOUR * hour, 300, 1_000).await;
    }
    assert_eq!(
        retain_all(&log, NOW - HOUR * 72).await,
        0,
        "without a limit there is no pressure"
    );
    let limit = own.memory().await;
    own.limit_memory(limit).await;
    assert!(retain_all(&log, NOW - HOUR * 72).await > 0);
    let used = own.memory().await;
    assert!(used <= limit * 8 / 10, "{used} of {limit} bytes are used");
    assert!(
        used >= limit * 6 / 10,
        "no more goes than has to: {used} of {limit}"
    );
    assert!(is_there(&log, &last[0]).await, "the youngest stays");
    for number in 0..20 {
        let there: bool = redis::cmd("EXISTS")
            .arg(number)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert!(there, "what is not the log's is not touched");
    }
}

#[tokio::test]
async fn who_writes_makes_room_before_a_server_is_full() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    for hour in (0..10).rev() {
        fill(&log, app, NOW - HOUR * hour, 100, 1_000).await;
    }
    own.limit_memory(own.memory().await * 10 / 9).await;
    // Another process, which has not looked yet.
    let log = RedisLog::new(own.server(), LogOptions::default());
    let message = a_message(app, NOW, noise(100));
    let record = LogRecord::Message(message.clone());
    log.record(vec![record]).await.unwrap();
    assert!(log.counts().shed.get() >= 100, "nobody swept");
    assert!(is_there(&log, &message).await);
}

#[tokio::test]
async fn a_record_makes_room_on_a_full_server() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    let first = fill(&log, app, NOW - HOUR * 10, 100, 1_000).await;
    let mut kept = Vec::new();
    for hour in (0..10).rev() {
        kept = fill(&log, app, NOW - HOUR * hour, 100, 1_000).await;
    }
    log.probe().await.unwrap();
    own.limit_memory(own.memory().await - MEGABYTE / 4).await;
    assert!(matches!(log.probe().await, Err(PortError::Full { .. })));
    assert!(is_there(&log, &kept[0]).await, "reading goes on");
    let message = a_message(app, NOW, noise(100));
    let record = LogRecord::Message(message.clone());
    log.record(vec![record]).await.unwrap();
    assert!(is_there(&log, &message).await);
    assert!(is_there(&log, &kept[0]).await, "the youngest stay");
    assert!(!is_there(&log, &first[0]).await, "the oldest give way");
    assert!(log.counts().shed.get() >= 100);
    log.probe().await.unwrap();
}

/// Nothing of what fills it is the log's.
#[tokio::test]
async fn a_server_that_others_have_filled_says_so() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let mut others = redis::cmd("SET");
    others.arg("others").arg(&*noise(2_000_000));
    others.exec_async(&mut own.connect().await).await.unwrap();
    own.limit_memory(own.memory().await - MEGABYTE).await;
    let record = LogRecord::Message(a_message(an_app(), NOW, noise(100)));
    let full = log.record(vec![record.clone()]).await;
    assert!(matches!(full, Err(PortError::Full { .. })), "{full:?}");
    assert!(matches!(log.probe().await, Err(PortError::Full { .. })));
    own.limit_memory(0).await;
    log.probe().await.unwrap();
    log.record(vec![record]).await.unwrap();
}

#[tokio::test]
async fn payloads_end_even_on_a_full_server() {
    let own = OwnServer::start().await;
    let options = LogOptions {
        shed_at: 2.0,
        ..LogOptions::default()
    };
    let log = RedisLog::new(own.server(), options);
    let app = an_app();
    let mut messages = Vec::new();
    for _ in 0..250 {
        let mut event = (*a_message(app, NOW - HOUR, noise(3_000)).event).clone();
        event.payload_until = NOW;
        messages.push(MessageRecord::from(std::sync::Arc::new(event)));
    }
    let records = messages.iter().cloned().map(LogRecord::Message);
    log.record(records.collect()).await.unwrap();
    own.limit_memory(own.memory().await - 100_000).await;
    let before = own.memory().await;
    // The last look may put the next one off, which takes memory; by then there is some.
    assert_eq!(retain_all(&log, NOW - HOUR * 72).await, 250);
    assert!(own.memory().await + 250 * 2_500 < before);
    let key = MessageKey::Id(messages[0].event.message);
    let found = log.message(app, &key).await.unwrap().unwrap();
    assert!(!found.has_payload);
    let later = NOW + Duration::from_secs(1);
    assert_eq!(log.retain(later, NOW - HOUR * 72).await.unwrap(), 0);
}
