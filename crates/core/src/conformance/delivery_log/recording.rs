//! What is recorded can be read: once, whole, by its own application, after a crash, too.

use std::sync::Arc;

use bytes::Bytes;

use super::records::{channel, event_id, id, type_name, with};
use crate::attempt::AttemptRecord;
use crate::conformance::Fixture;
use crate::conformance::paging::all;
use crate::conformance::stage::{Stage, assert_same, together};
use crate::message::{MessageRecord, Trigger};
use crate::pair::ChainId;
use crate::ports::{AttemptScope, Destination, DestinationStatus, LogRecord, MessageFilter};

/// A message is read again in every field, by its identifier and by its event id; its payload to the byte.
pub async fn a_message_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    stage.ports.log.probe().await.expect("an open log is well");
    let (app, now) = (stage.an_app_id(), stage.now());
    let full = stage.a_full_message(app, now);
    let plain = stage.a_message(app, now);
    let empty = with(&stage.a_message(app, now), |event| {
        event.payload = Bytes::new();
    });
    let messages = [full.clone(), plain, empty];
    stage.record_messages(&messages).await;
    for message in &messages {
        assert_eq!(
            stage.message(app, id(message)).await.as_ref(),
            Some(message),
            "a message comes back whole"
        );
    }
    assert_eq!(
        stage.message_by_event_id(app, "order-1042_a.b").await,
        Some(full),
        "a message is found by its event id"
    );
    let listed = stage.messages_of(app).await;
    assert_eq!(listed.len(), messages.len());
    for message in &messages {
        assert!(listed.contains(message), "a list shows messages whole");
    }
}

/// An attempt is read again in every field, alone and in lists.
pub async fn an_attempt_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let message = stage.a_message(app, now);
    let plain = stage.an_attempt(&message, endpoint, now);
    let full = AttemptRecord {
        chain: ChainId(u64::MAX),
        attempt: u16::MAX,
        trigger: Trigger::Manual,
        url: "https://hooks.example.org:8443/in?a=%20#x".to_owned(),
        succeeded: false,
        status_code: 503,
        response: "kaputt \u{1f4a5} \u{0} ".repeat(800),
        duration_ms: u32::MAX,
        event_type: type_name("build.failed"),
        channels: vec![channel("us"), channel("eu")],
        ..stage.an_attempt(&message, endpoint, now)
    };
    let attempts = [plain, full];
    stage.record_attempts(&attempts).await;
    let listed = stage
        .attempts_of(app, AttemptScope::Endpoint(endpoint))
        .await;
    for attempt in &attempts {
        assert_eq!(
            stage
                .attempt(app, attempt.message, attempt.id)
                .await
                .as_ref(),
            Some(attempt),
            "an attempt comes back whole"
        );
        assert!(listed.contains(attempt), "a list shows attempts whole");
    }
}

/// `None` and empty lists: never an error.
pub async fn what_was_never_recorded_is_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let message = stage.a_message(app, now);
    let attempt = stage.an_attempt(&message, endpoint, now);
    stage.record([]).await;
    assert_eq!(stage.message(app, id(&message)).await, None);
    assert_eq!(stage.message_by_event_id(app, "nothing").await, None);
    assert_eq!(stage.attempt(app, attempt.message, attempt.id).await, None);
    assert!(stage.messages_of(app).await.is_empty());
    for scope in [
        AttemptScope::Endpoint(endpoint),
        AttemptScope::Message(id(&message)),
    ] {
        assert!(stage.attempts_of(app, scope).await.is_empty());
    }
    assert!(stage.destinations_of(app, id(&message)).await.is_empty());
}

/// A record that arrives again, in the same call or in another, is there once.
pub async fn recording_twice_is_recording_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let message = stage.a_full_message(app, now);
    let attempt = stage.an_attempt(&message, endpoint, now);
    let destination = Destination {
        app,
        message: id(&message),
        endpoint,
        status: DestinationStatus::Delivered,
        next_attempt: None,
        at: now,
    };
    for _ in 0..3 {
        let once = [
            LogRecord::Message(message.clone()),
            LogRecord::Attempt(attempt.clone()),
            LogRecord::Destination(destination.clone()),
        ];
        let twice = once.iter().chain(&once).cloned();
        stage.record(twice).await;
    }
    let log = stage.log();
    assert_eq!(stage.messages_of(app).await, [message.clone()]);
    for scope in [
        AttemptScope::Endpoint(endpoint),
        AttemptScope::Message(id(&message)),
    ] {
        assert_eq!(stage.attempts_of(app, scope).await, [attempt.clone()]);
    }
    assert_eq!(
        stage.destinations_of(app, id(&message)).await,
        [destination]
    );
    let filter = MessageFilter {
        tag: message.event.tags.first().cloned(),
        ..MessageFilter::default()
    };
    let tagged = log.messages(app, &filter, all()).await.unwrap();
    assert_eq!(tagged.items, [message], "an index holds it once, too");
}

/// Whoever accepted a message may say so again, and others may have recorded it before.
pub async fn an_accepted_message_is_there_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let message = stage.a_full_message(app, now);
    let attempt = stage.an_attempt(&message, endpoint, now);
    let expunged = MessageRecord {
        has_payload: false,
        ..with(&message, |event| event.payload = Bytes::new())
    };
    for (record, expected) in [
        (LogRecord::Accepted(message.clone()), &message),
        (LogRecord::Accepted(message.clone()), &message),
        (LogRecord::Attempt(attempt.clone()), &message),
        (LogRecord::Message(message.clone()), &message),
        (LogRecord::Accepted(message.clone()), &message),
        (LogRecord::Message(expunged.clone()), &expunged),
        (LogRecord::Accepted(message.clone()), &expunged),
        (LogRecord::Message(message.clone()), &expunged),
    ] {
        stage.record([record]).await;
        assert_eq!(stage.messages_of(app).await, [expected.clone()]);
        assert_eq!(
            stage.message(app, id(&message)).await.as_ref(),
            Some(expected)
        );
    }
    let scope = AttemptScope::Message(id(&message));
    assert_eq!(stage.attempts_of(app, scope).await, [attempt]);
}

/// What was expunged does not come back with a record that was on its way, nor does anything else of it change.
pub async fn a_record_without_payload_takes_it_away_for_good(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_app_id(), stage.now());
    for recorded_before in [true, false] {
        let message = stage.a_full_message(app, now);
        let other = stage.a_message(app, now);
        stage.record_messages(std::slice::from_ref(&other)).await;
        if recorded_before {
            stage.record_messages(std::slice::from_ref(&message)).await;
        }
        let emptied = MessageRecord {
            has_payload: false,
            ..with(&message, |event| event.payload = Bytes::new())
        };
        for record in [&emptied, &message, &emptied] {
            stage.record_messages(std::slice::from_ref(record)).await;
            assert_eq!(
                stage.message(app, id(&message)).await.as_ref(),
                Some(&emptied),
                "a payload that was taken away does not come back"
            );
        }
        assert_eq!(
            stage.message(app, id(&other)).await,
            Some(other),
            "other messages keep theirs"
        );
    }
}

/// Records are made by different processes: which of them arrives first is chance.
pub async fn an_attempt_may_come_before_its_message(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let message = stage.a_full_message(app, now);
    let attempt = stage.an_attempt(&message, endpoint, now);
    stage.record_attempts(std::slice::from_ref(&attempt)).await;
    assert_eq!(
        stage
            .attempt(app, attempt.message, attempt.id)
            .await
            .as_ref(),
        Some(&attempt),
        "an attempt does not need its message"
    );
    assert_eq!(stage.message(app, id(&message)).await, None);
    stage.record_messages(std::slice::from_ref(&message)).await;
    assert_eq!(
        stage.message(app, id(&message)).await.as_ref(),
        Some(&message),
        "an attempt that came first does not stand for its message"
    );
    for scope in [
        AttemptScope::Endpoint(endpoint),
        AttemptScope::Message(id(&message)),
    ] {
        assert_eq!(stage.attempts_of(app, scope).await, [attempt.clone()]);
    }
}

/// Event ids are forgotten sooner than messages; one that was used again leads to the newest.
pub async fn an_event_id_leads_to_the_newest_message(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, other, now) = (stage.an_app_id(), stage.an_app_id(), stage.now());
    for (name, newest_first) in [("evt-1", false), ("evt-2", true)] {
        let named = |message| with(&message, |event| event.event_id = Some(event_id(name)));
        let older = named(stage.a_message(app, now - super::records::HOUR));
        let newer = named(stage.a_message(app, now));
        let elsewhere = named(stage.a_message(other, now));
        let mut order = [older.clone(), newer.clone()];
        if newest_first {
            order.reverse();
        }
        for message in order {
            stage.record_messages(&[message]).await;
        }
        stage
            .record_messages(std::slice::from_ref(&elsewhere))
            .await;
        assert_eq!(
            stage.message_by_event_id(app, name).await,
            Some(newer),
            "an event id leads to the newest message, in whichever order they came"
        );
        assert_eq!(stage.message(app, id(&older)).await, Some(older));
        assert_eq!(
            stage.message_by_event_id(other, name).await,
            Some(elsewhere),
            "another application has event ids of its own"
        );
    }
}

/// A call of a thousand records, and payloads of a megabyte.
pub async fn large_batches_and_payloads_are_recorded(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let mut records = Vec::new();
    let mut messages = Vec::new();
    let mut attempts = Vec::new();
    for index in 0..500 {
        let mut message = stage.a_message(app, now);
        if index % 250 == 0 {
            let payload = stage.chance.bytes(1024 * 1024);
            message = with(&message, |event| event.payload = payload);
        }
        let attempt = stage.an_attempt(&message, endpoint, now);
        records.push(LogRecord::Message(message.clone()));
        records.push(LogRecord::Attempt(attempt.clone()));
        messages.push(message);
        attempts.push(attempt.id);
    }
    stage.record(records).await;
    for message in &messages {
        assert_eq!(
            stage.message(app, id(message)).await.as_ref(),
            Some(message),
            "every record of a large batch is there, its payload to the byte"
        );
    }
    let scope = AttemptScope::Endpoint(endpoint);
    let listed = stage.attempts_of(app, scope).await;
    let listed: Vec<_> = listed.iter().map(|attempt| attempt.id).collect();
    assert_same(
        &listed,
        &attempts,
        "every record of a large batch is listed",
    );
}

/// Calls at the same moment do not lose each other's records.
pub async fn concurrent_records_are_all_there(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now, endpoint) = (stage.an_app_id(), stage.now(), stage.an_endpoint_id());
    let mut all_ids = Vec::new();
    let mut shares = Vec::new();
    for _ in 0..8 {
        let mut share = Vec::new();
        for _ in 0..30 {
            let message = stage.a_message(app, now);
            let attempt = stage.an_attempt(&message, endpoint, now);
            all_ids.push(id(&message));
            share.push([LogRecord::Message(message), LogRecord::Attempt(attempt)]);
        }
        shares.push(share);
    }
    let log = stage.log();
    together(shares.len(), |index| {
        let (log, share) = (Arc::clone(&log), shares[index].clone());
        async move {
            for records in share {
                log.record(records.to_vec()).await.unwrap();
            }
        }
    })
    .await;
    let listed: Vec<_> = stage.messages_of(app).await.iter().map(id).collect();
    assert_same(&listed, &all_ids, "concurrent records are all there");
    let scope = AttemptScope::Endpoint(endpoint);
    let tried = stage.attempts_of(app, scope).await;
    let tried: Vec<_> = tried.iter().map(|attempt| attempt.message).collect();
    assert_same(&tried, &all_ids, "concurrent records are all there");
}

/// Identifiers of another application lead nowhere, in look-ups as in lists.
pub async fn another_application_sees_nothing_of_the_log(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, stranger, now) = (stage.an_app_id(), stage.an_app_id(), stage.now());
    let endpoint = stage.an_endpoint_id();
    let message = stage.a_full_message(app, now);
    let attempt = stage.an_attempt(&message, endpoint, now);
    let destination = Destination {
        app,
        message: id(&message),
        endpoint,
        status: DestinationStatus::Pending,
        next_attempt: Some(now),
        at: now,
    };
    stage
        .record([
            LogRecord::Message(message.clone()),
            LogRecord::Attempt(attempt.clone()),
            LogRecord::Destination(destination),
        ])
        .await;
    assert_eq!(stage.message(stranger, id(&message)).await, None);
    assert_eq!(
        stage.message_by_event_id(stranger, "order-1042_a.b").await,
        None
    );
    assert_eq!(
        stage.attempt(stranger, attempt.message, attempt.id).await,
        None
    );
    assert!(stage.messages_of(stranger).await.is_empty());
    for scope in [
        AttemptScope::Endpoint(endpoint),
        AttemptScope::Message(id(&message)),
    ] {
        assert!(
            stage.attempts_of(stranger, scope).await.is_empty(),
            "{scope:?} of another application"
        );
    }
    assert!(
        stage
            .destinations_of(stranger, id(&message))
            .await
            .is_empty()
    );
}

/// `record` returns once its records would survive.
pub async fn the_log_survives_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_app_id(), stage.now());
    let mut recorded = Vec::new();
    for _ in 0..40 {
        let endpoint = stage.an_endpoint_id();
        let message = stage.a_full_message(app, now);
        let attempt = stage.an_attempt(&message, endpoint, now);
        let destination = Destination {
            app,
            message: id(&message),
            endpoint,
            status: DestinationStatus::Failed,
            next_attempt: None,
            at: now,
        };
        stage
            .record([
                LogRecord::Message(message.clone()),
                LogRecord::Attempt(attempt.clone()),
                LogRecord::Destination(destination.clone()),
            ])
            .await;
        recorded.push((message, attempt, destination));
    }
    let stage = stage.crash().await;
    for (message, attempt, destination) in recorded {
        let message_id = id(&message);
        assert_eq!(
            stage.message(app, message_id).await,
            Some(message),
            "a message survives a crash"
        );
        assert_eq!(
            stage
                .attempt(app, attempt.message, attempt.id)
                .await
                .as_ref(),
            Some(&attempt),
            "an attempt survives a crash"
        );
        let scope = AttemptScope::Endpoint(attempt.endpoint);
        assert_eq!(stage.attempts_of(app, scope).await, [attempt]);
        assert_eq!(stage.destinations_of(app, message_id).await, [destination]);
    }
}
