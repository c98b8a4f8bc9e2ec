//! Lists over many hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{
    AttemptFilter, AttemptScope, AttemptedFilter, DeliveryLog as _, LogRecord, MessageFilter,
};
use postrider_core::samples::NOW;

use super::events::{
    HOUR, a_message, an_app, an_attempt, an_endpoint, delivered, long_trail, noise,
};
use crate::support::{Kind, Place};

const KINDS: [Kind; 2] = [Kind::Single, Kind::Cluster];
const ORDERS: [Order; 2] = [Order::Ascending, Order::Descending];

fn a_log(kind: Kind) -> RedisLog {
    RedisLog::new(Place::new(kind).server(), LogOptions::default())
}

/// All pages of a list of identifiers, one after the other.
async fn walk<K: Copy>(
    order: Order,
    limit: usize,
    fetch: impl AsyncFn(Page<K>) -> (Vec<K>, bool),
) -> Vec<K> {
    let mut seen = Vec::new();
    let mut cursor = Cursor::Start;
    loop {
        let (rows, more) = fetch(Page {
            cursor,
            limit,
            order,
        })
        .await;
        assert!(
            rows.len() == limit || !more,
            "a page is full where rows follow"
        );
        seen.extend(rows);
        match seen.last() {
            Some(last) if more => cursor = Cursor::After(*last),
            _ => return seen,
        }
    }
}

async fn messages_of(log: &RedisLog, app: AppId, order: Order, limit: usize) -> Vec<MessageId> {
    let filter = MessageFilter::default();
    walk(order, limit, async |page| {
        let slice = log.messages(app, &filter, page).await.unwrap();
        let ids = slice.items.iter().map(|row| row.event.message);
        (ids.collect(), slice.more)
    })
    .await
}

/// One message in every other of 144 hours, its attempt up to 27 hours later.
#[tokio::test]
async fn a_quiet_application_pages_over_its_hours() {
    for kind in KINDS {
        let log = a_log(kind);
        let (app, endpoint) = (an_app(), an_endpoint());
        let (mut messages, mut attempts) = (Vec::new(), Vec::new());
        for hour in (0..144_u32).step_by(2) {
            let message = a_message(app, NOW - HOUR * hour, noise(20));
            let late = HOUR * (hour % 28);
            let attempt = an_attempt(&message, endpoint, message.event.accepted_at + late);
            messages.push(message.event.message);
            attempts.push(attempt.id);
            let records = vec![LogRecord::Message(message), LogRecord::Attempt(attempt)];
            log.record(records).await.unwrap();
        }
        messages.sort_unstable();
        attempts.sort_unstable();
        for order in ORDERS {
            for limit in [1, 7, 100] {
                let seen = messages_of(&log, app, order, limit).await;
                assert_eq!(
                    seen,
                    in_order(&messages, order),
                    "{kind:?} {order:?} {limit}"
                );
                let scope = AttemptScope::Endpoint(endpoint);
                let seen = walk(order, limit, async |page| {
                    let filter = AttemptFilter::default();
                    let slice = log.attempts(app, scope, &filter, page).await.unwrap();
                    (slice.items.iter().map(|row| row.id).collect(), slice.more)
                });
                assert_eq!(
                    seen.await,
                    in_order(&attempts, order),
                    "{kind:?} {order:?} {limit}"
                );
            }
        }
    }
}

fn in_order<K: Copy>(ascending: &[K], order: Order) -> Vec<K> {
    let mut keys = ascending.to_vec();
    if order == Order::Descending {
        keys.reverse();
    }
    keys
}

/// Rows of other times do not come in between, though they are in the same hours or in any other.
#[tokio::test]
async fn a_list_between_two_times_finds_what_was_accepted_late() {
    let log = a_log(Kind::Single);
    let app = an_app();
    let mut late = (*a_message(app, NOW - HOUR * 12, noise(20)).event).clone();
    late.accepted_at = NOW - HOUR;
    let late = MessageRecord::from(Arc::new(late));
    let mut records = vec![LogRecord::Message(late.clone())];
    for hour in 0..20 {
        let message = a_message(app, NOW - HOUR * hour, noise(20));
        records.push(LogRecord::Message(message));
    }
    log.record(records).await.unwrap();
    let filter = MessageFilter {
        after: Some(NOW - HOUR * 3 / 2),
        before: Some(NOW - HOUR / 2),
        ..MessageFilter::default()
    };
    let page = Page {
        cursor: Cursor::Start,
        limit: 10,
        order: Order::Descending,
    };
    let found = log.messages(app, &filter, page).await.unwrap();
    assert_eq!(found.items.len(), 2);
    assert!(found.items.contains(&late));
}

/// Somebody records all the time, into hours that were there and hours that were not.
#[tokio::test]
async fn pages_are_stable_while_others_record_anywhere() {
    for order in ORDERS {
        let log = Arc::new(a_log(Kind::Single));
        let (app, endpoint) = (an_app(), an_endpoint());
        let anywhen = |number: u32| NOW - HOUR / 3 * (number % 150);
        let mut lasting = Vec::new();
        for number in 0..150 {
            let message = a_message(app, anywhen(number * 7), noise(20));
            lasting.push(message.event.message);
            log.record(vec![LogRecord::Message(message)]).await.unwrap();
        }
        let done = Arc::new(AtomicBool::new(false));
        let disturbing = tokio::spawn({
            let (log, done) = (Arc::clone(&log), Arc::clone(&done));
            async move {
                let mut number = 0;
                while !done.load(Relaxed) {
                    number += 1;
                    let message = a_message(app, anywhen(number * 11), noise(20));
                    let mut records = delivered(&message, endpoint).to_vec();
                    records.push(LogRecord::Message(message));
                    log.record(records).await.unwrap();
                }
                number
            }
        });
        let seen = messages_of(&log, app, order, 5).await;
        done.store(true, Relaxed);
        assert!(
            disturbing.await.unwrap() > 10,
            "somebody has been recording"
        );
        let is_sorted = seen.windows(2).all(|pair| match order {
            Order::Ascending => pair[0] < pair[1],
            Order::Descending => pair[0] > pair[1],
        });
        assert!(is_sorted, "in order, and none twice");
        let missing = lasting.iter().filter(|id| !seen.contains(id)).count();
        assert_eq!(missing, 0, "what was there all the time is shown");
    }
}

/// More outcomes than one member holds, recorded piece by piece, some twice.
#[tokio::test]
async fn a_message_with_many_attempts_keeps_them_all() {
    let log = a_log(Kind::Single);
    let app = an_app();
    let message = a_message(app, NOW, noise(512));
    let endpoints: Vec<EndpointId> = (0..300).map(|_| an_endpoint()).collect();
    let outcomes: Vec<_> = endpoints
        .iter()
        .map(|endpoint| delivered(&message, *endpoint).to_vec())
        .collect();
    log.record(vec![LogRecord::Message(message.clone())])
        .await
        .unwrap();
    for some in outcomes.chunks(7).chain(outcomes.chunks(11).take(5)) {
        log.record(some.concat()).await.unwrap();
    }
    let scope = AttemptScope::Message(message.event.message);
    let page = Page {
        cursor: Cursor::Start,
        limit: 1_000,
        order: Order::Ascending,
    };
    let filter = AttemptFilter::default();
    let found = log.attempts(app, scope, &filter, page).await.unwrap();
    assert_eq!(found.items.len(), endpoints.len());
    let page = Page {
        cursor: Cursor::Start,
        limit: 1_000,
        order: Order::Ascending,
    };
    let found = log
        .destinations(app, message.event.message, page)
        .await
        .unwrap();
    assert_eq!(found.items.len(), endpoints.len());
    assert_eq!(
        messages_of(&log, app, Order::Ascending, 10).await,
        [message.event.message]
    );
    let later = NOW + Duration::from_secs(30);
    let retried = an_attempt(&message, endpoints[0], later);
    log.record(vec![LogRecord::Attempt(retried.clone())])
        .await
        .unwrap();
    let found = log
        .attempt(app, message.event.message, retried.id)
        .await
        .unwrap();
    assert_eq!(found, Some(retried));
}

/// What a message has beyond one member stands before its record where a list goes backwards.
#[tokio::test]
async fn messages_with_long_trails_are_listed_in_every_order() {
    let log = a_log(Kind::Single);
    let app = an_app();
    let mut messages = Vec::new();
    for _ in 0..8 {
        let message = a_message(app, NOW, noise(20));
        messages.push(message.event.message);
        let attempts = long_trail(&message, 40);
        log.record(vec![LogRecord::Message(message)]).await.unwrap();
        for some in attempts.chunks(8) {
            log.record(some.to_vec()).await.unwrap();
        }
    }
    messages.sort_unstable();
    for order in ORDERS {
        for limit in [1, 3, 10, 100] {
            let seen = messages_of(&log, app, order, limit).await;
            assert_eq!(seen, in_order(&messages, order), "{order:?} {limit}");
        }
    }
}

/// However many rows there are above the time, in the same hour and in later ones: no page is spent on them.
#[tokio::test]
async fn a_list_of_what_is_older_than_a_time_begins_and_ends_there() {
    const OLDER: u32 = 25;
    let log = a_log(Kind::Single);
    let (app, endpoint) = (an_app(), an_endpoint());
    let (mut messages, mut attempts) = (Vec::new(), Vec::new());
    let before = NOW + Duration::from_millis(OLDER.into());
    let mut records = Vec::new();
    for number in 0..2_500_u32 {
        // Four messages share what an identifier tells of its time.
        let at = NOW + Duration::from_millis(number.into()) + HOUR * (number / 2_000);
        let message = a_message(app, at, noise(20));
        let tried = delivered(&message, endpoint);
        if let LogRecord::Attempt(attempt) = &tried[0]
            && attempt.at < before
        {
            attempts.push(attempt.id);
        }
        if at < before {
            messages.push(message.event.message);
        }
        records.extend(tried);
        records.push(LogRecord::Message(message));
        if records.len() >= 750 {
            log.record(std::mem::take(&mut records)).await.unwrap();
        }
    }
    log.record(records).await.unwrap();
    messages.sort_unstable();
    attempts.sort_unstable();
    let older = MessageFilter {
        before: Some(before),
        ..MessageFilter::default()
    };
    let tried = AttemptFilter {
        before: Some(before),
        ..AttemptFilter::default()
    };
    let scope = AttemptScope::Endpoint(endpoint);
    let sent = AttemptedFilter {
        messages: older.clone(),
        ..AttemptedFilter::default()
    };
    for (order, limit) in [
        (Order::Ascending, 10),
        (Order::Descending, 10),
        (Order::Descending, 100),
    ] {
        let seen = walk(order, limit, async |page| {
            let slice = log.messages(app, &older, page).await.unwrap();
            let ids = slice.items.iter().map(|row| row.event.message);
            (ids.collect(), slice.more)
        });
        assert_eq!(seen.await, in_order(&messages, order));
        let seen = walk(order, limit, async |page| {
            let slice = log.attempts(app, scope, &tried, page).await.unwrap();
            let ids = slice.items.iter().map(|row| row.id);
            (ids.collect(), slice.more)
        });
        assert_eq!(seen.await, in_order(&attempts, order));
        let seen = walk(order, limit, async |page| {
            let slice = log.attempted(app, endpoint, &sent, page).await.unwrap();
            assert!(slice.stopped.is_none(), "it was left");
            let ids = slice.items.iter().map(|row| row.message.event.message);
            (ids.collect(), slice.more)
        });
        assert_eq!(seen.await, in_order(&messages, order));
        let seen = walk(order, limit, async |page| {
            let slice = log.kinds(app, NOW, before, page).await.unwrap();
            (
                slice.items.iter().map(|row| row.message).collect(),
                slice.more,
            )
        });
        assert_eq!(seen.await, in_order(&messages, order));
    }
    // Turned round, from above the time and from within.
    for (from, first) in [(MessageId::MAX, 15), (messages[20], 10)] {
        let page = Page {
            cursor: Cursor::Before(from),
            limit: 10,
            order: Order::Ascending,
        };
        let slice = log.messages(app, &older, page).await.unwrap();
        let ids: Vec<_> = slice.items.iter().map(|row| row.event.message).collect();
        assert_eq!(ids, messages[first..first + 10]);
    }
}

/// A page that few rows pass is left, and goes on where it was left: all of them come, once, in every direction.
#[tokio::test]
async fn a_page_that_few_rows_pass_is_left_and_goes_on() {
    let log = a_log(Kind::Single);
    let (app, endpoint, rare_one) = (an_app(), an_endpoint(), an_endpoint());
    let (mut messages, mut attempts) = (Vec::new(), Vec::new());
    for number in 0..3_000_u32 {
        // Over three hours; the last one has few.
        let at = NOW + HOUR * (number / 1_400) + Duration::from_millis(number.into());
        let message = a_message(app, at, noise(20));
        let mut attempt = an_attempt(&message, endpoint, at);
        let mut records = Vec::new();
        if number % 700 == 0 {
            records.extend(delivered(&message, rare_one));
            (attempt.succeeded, attempt.status_code) = (false, 503);
            messages.push(message.event.message);
            attempts.push(attempt.id);
        }
        let mut event = (*message.event).clone();
        event
            .tags
            .extend((number % 700 == 0).then(|| "rare".to_owned()));
        let message = MessageRecord::from(Arc::new(event));
        records.extend([LogRecord::Message(message), LogRecord::Attempt(attempt)]);
        log.record(records).await.unwrap();
    }
    let rare = MessageFilter {
        tag: Some("rare".to_owned()),
        ..MessageFilter::default()
    };
    let failed = AttemptFilter {
        status_class: Some(500),
        ..AttemptFilter::default()
    };
    let scope = AttemptScope::Endpoint(endpoint);
    for order in ORDERS {
        for backwards in [false, true] {
            let (mut seen, pages) =
                walk_on(order, backwards, MessageId::from_bytes, async |page| {
                    let slice = log.messages(app, &rare, page).await.unwrap();
                    let ids = slice.items.iter().map(|row| row.event.message);
                    (ids.collect(), slice.stopped)
                })
                .await;
            seen.sort_unstable();
            assert_eq!(seen, in_order(&messages, Order::Ascending));
            assert!(pages > 2, "{pages}");
            let (mut seen, _) = walk_on(order, backwards, AttemptId::from_bytes, async |page| {
                let slice = log.attempts(app, scope, &failed, page).await.unwrap();
                let ids = slice.items.iter().map(|row| row.id);
                (ids.collect(), slice.stopped)
            })
            .await;
            seen.sort_unstable();
            attempts.sort_unstable();
            assert_eq!(seen, attempts);
            let any = AttemptedFilter::default();
            let (mut seen, pages) =
                walk_on(order, backwards, MessageId::from_bytes, async |page| {
                    let slice = log.attempted(app, rare_one, &any, page).await.unwrap();
                    let ids = slice.items.iter().map(|row| row.message.event.message);
                    (ids.collect(), slice.stopped)
                })
                .await;
            seen.sort_unstable();
            assert_eq!(seen, in_order(&messages, Order::Ascending));
            assert!(pages > 2, "{pages}");
        }
    }
}

/// From one end to the other by where pages were left, none of which fills; and how many there were.
async fn walk_on<K: Copy>(
    order: Order,
    backwards: bool,
    key: impl Fn([u8; 20]) -> K,
    fetch: impl AsyncFn(Page<K>) -> (Vec<K>, Option<[u8; 20]>),
) -> (Vec<K>, usize) {
    let end = match order {
        Order::Ascending => [0xff; 20],
        Order::Descending => [0; 20],
    };
    let mut cursor = match backwards {
        true => Cursor::Before(key(end)),
        false => Cursor::Start,
    };
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let (rows, stopped) = fetch(Page {
            cursor,
            limit: 10,
            order,
        })
        .await;
        seen.extend(rows);
        pages += 1;
        cursor = match stopped.map(&key) {
            Some(at) if backwards => Cursor::Before(at),
            Some(at) => Cursor::After(at),
            None => return (seen, pages),
        };
    }
}
