//! What is old goes, in small batches; what is not stays.

use std::time::Duration;

use super::records::{HOUR, event_id, id, with};
use crate::conformance::Fixture;
use crate::conformance::paging::all;
use crate::conformance::stage::{SHORT, Stage, assert_same};
use crate::message::MessageRecord;
use crate::ports::{AttemptScope, Destination, DestinationStatus, LogRecord, MessageFilter};
use crate::time::Timestamp;

/// Older than this by itself, whatever portions of time the log is kept in.
const OLD: Duration = Duration::from_secs(49 * 3600);

impl Stage<'_> {
    /// Retains until nothing is left to do. Each batch is small, but there are not endless ones.
    async fn retain_log(&mut self, keep_from: Timestamp) -> u64 {
        let now = self.now();
        let mut touched = 0;
        for _ in 0..10_000 {
            let batch = self.ports.log.retain(now, keep_from).await;
            match batch.expect("what is old can be removed") {
                0 => return touched,
                more => touched += more,
            }
        }
        panic!("retaining never ends with 0");
    }
}

/// Nothing recorded, nothing old: nothing to do.
pub async fn retaining_an_empty_log_ends_at_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    assert_eq!(stage.ports.log.retain(now, now).await.unwrap(), 0);
    let app = stage.an_app_id();
    let message = stage.a_message(app, now);
    stage.record_messages(std::slice::from_ref(&message)).await;
    assert_eq!(
        stage.ports.log.retain(now, now - HOUR).await.unwrap(),
        0,
        "what is not old is not touched"
    );
    assert_eq!(stage.message(app, id(&message)).await, Some(message));
}

/// Messages with their attempts, destinations and keys go at their age, of whatever application.
pub async fn retention_removes_what_is_older_and_nothing_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let keep_from = now - HOUR * 10;
    let apps = [stage.an_app_id(), stage.an_app_id()];
    let endpoint = stage.an_endpoint_id();
    let mut rows = Vec::new();
    for index in 0..240_u32 {
        let app = apps[index as usize % 2];
        let old = index % 3 != 0;
        let at = if old {
            keep_from - OLD - HOUR / 60 * index
        } else {
            // The first of them is of the very moment that is kept.
            keep_from + Duration::from_secs(u64::from(index))
        };
        let name = format!("evt-{index}");
        let message = with(&stage.a_full_message(app, at), |event| {
            event.event_id = Some(event_id(&name));
        });
        let attempt = stage.an_attempt(&message, endpoint, at + Duration::from_secs(1));
        let destination = Destination {
            app,
            message: id(&message),
            endpoint,
            status: DestinationStatus::Delivered,
            next_attempt: None,
            at: at + Duration::from_secs(1),
        };
        stage
            .record([
                LogRecord::Message(message.clone()),
                LogRecord::Attempt(attempt.clone()),
                LogRecord::Destination(destination),
            ])
            .await;
        rows.push((old, app, name, message, attempt));
    }
    // Resumed: its identifier is older than what is kept, its acceptance is not.
    let elsewhere = stage.an_app_id();
    let made = stage.a_message(elsewhere, keep_from - HOUR / 2);
    let resumed = with(&made, |event| event.accepted_at = keep_from + HOUR / 2);
    stage.record_messages(std::slice::from_ref(&resumed)).await;
    let touched = stage.retain_log(keep_from).await;
    assert_eq!(
        stage.message(elsewhere, id(&resumed)).await,
        Some(resumed),
        "a message is as old as its acceptance, whenever its identifier was made"
    );
    assert!(touched > 0, "retention says how much it has touched");

    let log = stage.log();
    for (old, app, name, message, attempt) in &rows {
        let found = stage.message(*app, id(message)).await;
        assert_eq!(
            found.as_ref(),
            (!old).then_some(message),
            "what is older than {keep_from} is removed, the rest stays whole: {}",
            message.event.accepted_at
        );
        let found = stage.message_by_event_id(*app, name).await;
        assert_eq!(found.is_some(), !old, "an event id goes with its message");
        let found = stage.attempt(*app, attempt.message, attempt.id).await;
        assert_eq!(found.as_ref(), (!old).then_some(attempt));
        let scope = AttemptScope::Message(id(message));
        assert_eq!(stage.attempts_of(*app, scope).await.is_empty(), *old);
        assert_eq!(
            stage.destinations_of(*app, id(message)).await.is_empty(),
            *old,
            "destinations go with their message"
        );
    }
    for app in apps {
        let kept: Vec<_> = rows
            .iter()
            .filter(|(old, of, ..)| !old && *of == app)
            .collect();
        let wanted: Vec<_> = kept.iter().map(|(.., message, _)| id(message)).collect();
        for filter in [
            MessageFilter::default(),
            MessageFilter {
                tag: Some("a,b".to_owned()),
                before: Some(now),
                ..MessageFilter::default()
            },
        ] {
            let listed = log.messages(app, &filter, all()).await.unwrap();
            let listed: Vec<_> = listed.items.iter().map(id).collect();
            assert_same(&listed, &wanted, "lists show what is there");
        }
        let scope = AttemptScope::Endpoint(endpoint);
        let listed = stage.attempts_of(app, scope).await;
        let listed: Vec<_> = listed.iter().map(|attempt| attempt.id).collect();
        let wanted: Vec<_> = kept.iter().map(|(.., attempt)| attempt.id).collect();
        assert_same(&listed, &wanted, "lists show what is there");
    }
    assert_eq!(stage.retain_log(keep_from).await, 0, "once is enough");
    let stage = stage.crash().await;
    for (old, app, _, message, _) in &rows {
        let found = stage.message(*app, id(message)).await;
        assert_eq!(found.is_some(), !old, "what was removed stays removed");
    }
}

fn emptied(message: &MessageRecord) -> MessageRecord {
    MessageRecord {
        has_payload: false,
        ..with(message, |event| event.payload = bytes::Bytes::new())
    }
}

/// At its own time a payload goes, and says so; the message stays, and so do the payloads of others.
pub async fn retention_empties_payloads_that_have_outlived_their_time(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let keep_from = now - HOUR * 24 * 30;
    let app = stage.an_app_id();
    let mut rows = Vec::new();
    for index in 0..150 {
        let until = match index % 3 {
            // Over now, to the millisecond, or for long.
            0 if index % 2 == 0 => now,
            0 => now - HOUR,
            1 => now + SHORT,
            _ => now + HOUR * 24 * 5,
        };
        let large = (index % 50 == 0).then(|| stage.chance.bytes(200_000));
        let message = with(&stage.a_message(app, now - HOUR * 2), |event| {
            event.payload_until = until;
            if let Some(large) = large {
                event.payload = large;
            }
        });
        stage.record_messages(std::slice::from_ref(&message)).await;
        rows.push((until, message));
    }
    if stage.time.stands_still() {
        stage.retain_log(keep_from).await;
        for (until, message) in &rows {
            let wanted = if *until > now {
                message.clone()
            } else {
                emptied(message)
            };
            assert_eq!(
                stage.message(app, id(message)).await,
                Some(wanted),
                "a payload is kept until {until}; it is {now}"
            );
        }
    }
    let now = stage.time.pass_until(now + SHORT).await;
    stage.retain_log(keep_from).await;
    for (until, message) in &rows {
        let wanted = if *until > now {
            message.clone()
        } else {
            emptied(message)
        };
        assert_eq!(
            stage.message(app, id(message)).await.as_ref(),
            Some(&wanted),
            "a payload is kept until {until}; it is {now}"
        );
    }
    let listed = stage.messages_of(app).await;
    assert_eq!(listed.len(), rows.len(), "the messages stay");
    let without = listed.iter().filter(|message| !message.has_payload);
    assert_eq!(without.count(), rows.len() / 3 * 2, "lists say so, too");
    assert_eq!(stage.retain_log(keep_from).await, 0, "once is enough");
}

/// Records that arrive between batches are kept, and retention still comes to an end.
pub async fn retention_disturbs_nobody_who_records(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let keep_from = now - HOUR * 10;
    let (app, endpoint) = (stage.an_app_id(), stage.an_endpoint_id());
    let mut old = Vec::new();
    for _ in 0..1_500 {
        let message = stage.a_message(app, keep_from - OLD);
        let attempt = stage.an_attempt(&message, endpoint, keep_from - OLD);
        old.push(LogRecord::Message(message));
        old.push(LogRecord::Attempt(attempt));
    }
    for batch in old.chunks(500) {
        stage.record(batch.iter().cloned()).await;
    }
    let new: Vec<MessageRecord> = (0..60).map(|_| stage.a_message(app, now)).collect();
    let writing = tokio::spawn({
        let (log, new) = (stage.log(), new.clone());
        async move {
            for message in new {
                log.record(vec![LogRecord::Message(message)]).await.unwrap();
            }
        }
    });
    stage.retain_log(keep_from).await;
    writing.await.unwrap();
    let listed: Vec<_> = stage.messages_of(app).await.iter().map(id).collect();
    let wanted: Vec<_> = new.iter().map(id).collect();
    assert_same(
        &listed,
        &wanted,
        "the old is gone, and what came meanwhile is there",
    );
    for message in new {
        assert_eq!(stage.message(app, id(&message)).await, Some(message));
    }
}
