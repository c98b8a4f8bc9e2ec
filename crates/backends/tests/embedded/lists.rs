use std::sync::Arc;
use std::time::Duration;

use postrider_backends::embedded::{Embedded, Options};
use postrider_core::id::MessageId;
use postrider_core::message::Event;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{LogRecord, MessageFilter};
use postrider_core::samples::{self, NOW};

const HOUR: Duration = Duration::from_secs(3_600);

fn accepted(hours: u32, made_before: Duration) -> Event {
    let accepted_at = NOW + HOUR * hours;
    Event {
        message: MessageId::new(accepted_at - made_before, rand::random()),
        accepted_at,
        ..samples::event()
    }
}

fn hours(from: u32, to: u32) -> MessageFilter {
    MessageFilter {
        after: Some(NOW + HOUR * from),
        before: Some(NOW + HOUR * to),
        ..MessageFilter::default()
    }
}

/// A list between two times goes by identifiers of about that time; an identifier far older than its message's
/// acceptance, from a second try, must not be left out by that.
#[tokio::test]
async fn a_list_between_two_times_misses_none_whose_identifier_is_older() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let log = embedded.ports().log;
    for late in [Duration::ZERO, HOUR * 12] {
        let mut wanted = Vec::new();
        for hour in 0..100 {
            let event = accepted(hour, if hour % 7 == 0 { late } else { Duration::ZERO });
            let inside = hour > 40 && hour < 60;
            wanted.extend(inside.then_some(event.message));
            let record = LogRecord::Message(Arc::new(event).into());
            log.record(vec![record]).await.unwrap();
        }
        for order in [Order::Ascending, Order::Descending] {
            let mut found = Vec::new();
            let mut cursor = Cursor::Start;
            loop {
                let page = Page {
                    cursor,
                    limit: 4,
                    order,
                };
                let slice = log
                    .messages(samples::event().app, &hours(40, 60), page)
                    .await
                    .unwrap();
                found.extend(slice.items.iter().map(|record| record.event.message));
                match found.last() {
                    Some(last) if slice.more => cursor = Cursor::After(*last),
                    _ => break,
                }
            }
            let is_sorted = match order {
                Order::Ascending => found.is_sorted(),
                Order::Descending => found.iter().rev().is_sorted(),
            };
            assert!(is_sorted);
            assert!(wanted.iter().all(|message| found.contains(message)));
        }
    }
}

/// A page that few rows pass is left, and goes on where it was left: all of them come, once, in both directions.
#[tokio::test]
async fn a_page_that_few_rows_pass_is_left_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let log = embedded.ports().log;
    let mut wanted = Vec::new();
    let mut records = Vec::new();
    for number in 0..7_000_u32 {
        let mut event = accepted(0, Duration::from_millis(number.into()));
        if number % 1_500 == 0 {
            event.tags = vec!["rare".to_owned()];
            wanted.push(event.message);
        }
        records.push(LogRecord::Message(Arc::new(event).into()));
    }
    log.record(records).await.unwrap();
    wanted.sort();
    let filter = MessageFilter {
        tag: Some("rare".to_owned()),
        ..MessageFilter::default()
    };
    let list = async |cursor, order| {
        let page = Page {
            cursor,
            limit: 10,
            order,
        };
        let app = samples::event().app;
        log.messages(app, &filter, page).await.unwrap()
    };
    for backwards in [false, true] {
        let (mut found, mut pages) = (Vec::new(), 1);
        let mut slice = if backwards {
            list(Cursor::Before(MessageId::MAX), Order::Ascending).await
        } else {
            list(Cursor::Start, Order::Ascending).await
        };
        loop {
            found.extend(slice.items.iter().map(|record| record.event.message));
            let Some(at) = slice.stopped.map(MessageId::from_bytes) else {
                break;
            };
            assert!(slice.more, "a page that was left is not the last");
            let cursor = match backwards {
                true => Cursor::Before(at),
                false => Cursor::After(at),
            };
            slice = list(cursor, Order::Ascending).await;
            pages += 1;
        }
        found.sort();
        assert_eq!(found, wanted);
        assert!(pages > 2, "{pages}");
    }
}
