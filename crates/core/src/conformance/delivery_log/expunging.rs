//! Responses that are taken away. Of payloads that are, [`super::recording`] tells.

use std::sync::Arc;
use std::time::Duration;

use super::records::id;
use crate::attempt::AttemptRecord;
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, together};
use crate::ports::{AttemptScope, EXPUNGED, LogRecord};

fn expunged(attempt: &AttemptRecord) -> AttemptRecord {
    AttemptRecord {
        response: EXPUNGED.to_owned(),
        ..attempt.clone()
    }
}

/// Short ones and long ones, in every list; recording the attempt again does not bring it back.
pub async fn an_expunged_response_stays_away(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint, now) = (stage.an_app_id(), stage.an_endpoint_id(), stage.now());
    for response in [String::new(), "s".repeat(20), "l".repeat(60_000)] {
        // The first of a message, and one that follows others.
        for number in [1, 3] {
            let message = stage.a_message(app, now);
            stage.record_messages(&[message.clone()]).await;
            let mut attempt = stage.an_attempt(&message, endpoint, now);
            attempt.attempt = number;
            attempt.response.clone_from(&response);
            stage.record_attempts(&[attempt.clone()]).await;
            for again in [false, true] {
                let log = stage.log();
                let done = log.expunge_response(app, id(&message), attempt.id).await;
                assert!(done.unwrap(), "it is there, the second time, too");
                if again {
                    stage.record_attempts(&[attempt.clone()]).await;
                }
                let wanted = expunged(&attempt);
                let found = stage.attempt(app, id(&message), attempt.id).await;
                assert_eq!(found.as_ref(), Some(&wanted));
                let scope = AttemptScope::Message(id(&message));
                assert_eq!(stage.attempts_of(app, scope).await, [wanted]);
            }
        }
    }
}

/// Neither those of the same message, nor its payload, nor how far it has come; what is not there is told.
pub async fn expunging_disturbs_no_other_attempt(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint, now) = (stage.an_app_id(), stage.an_endpoint_id(), stage.now());
    let (message, other) = (stage.a_message(app, now), stage.a_message(app, now));
    stage
        .record_messages(&[message.clone(), other.clone()])
        .await;
    let mut attempts = Vec::new();
    for number in 1..=9_u16 {
        let at = now + Duration::from_secs(number.into());
        let mut attempt = stage.an_attempt(&message, endpoint, at);
        attempt.attempt = number;
        attempt.response = number.to_string().repeat(300);
        stage.record_attempts(&[attempt.clone()]).await;
        attempts.push(attempt);
    }
    let log = stage.log();
    let gone = attempts[4].id;
    for (app, message) in [(stage.an_app_id(), id(&message)), (app, id(&other))] {
        let done = log.expunge_response(app, message, gone).await;
        assert!(!done.unwrap(), "it belongs to another message");
    }
    let stranger = stage.an_attempt(&message, endpoint, now).id;
    let done = log.expunge_response(app, id(&message), stranger).await;
    assert!(!done.unwrap(), "it was never recorded");
    let scope = AttemptScope::Message(id(&message));
    assert_eq!(stage.attempts_of(app, scope).await, attempts);

    let done = log.expunge_response(app, id(&message), gone).await;
    assert!(done.unwrap());
    attempts[4] = expunged(&attempts[4]);
    assert_eq!(stage.attempts_of(app, scope).await, attempts);
    assert_eq!(stage.message(app, id(&message)).await, Some(message));
}

/// Attempts that are recorded at the same moment are all there, and what was expunged is.
pub async fn of_concurrent_records_and_expunging_nothing_is_lost(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint, now) = (stage.an_app_id(), stage.an_endpoint_id(), stage.now());
    let message = stage.a_message(app, now);
    stage.record_messages(&[message.clone()]).await;
    let attempts: Vec<AttemptRecord> = (1..=20_u16)
        .map(|number| {
            let at = now + Duration::from_secs(number.into());
            let mut attempt = stage.an_attempt(&message, endpoint, at);
            attempt.attempt = number;
            attempt
        })
        .collect();
    let (early, late) = attempts.split_at(10);
    stage.record_attempts(early).await;
    let (log, rows) = (stage.log(), Arc::new(attempts.clone()));
    together(20, |index| {
        let (log, rows) = (Arc::clone(&log), Arc::clone(&rows));
        async move {
            let row = &rows[index];
            if index < 10 {
                let done = log.expunge_response(row.app, row.message, row.id).await;
                assert!(done.unwrap());
            } else {
                let record = LogRecord::Attempt(row.clone());
                log.record(vec![record]).await.unwrap();
            }
        }
    })
    .await;
    let wanted: Vec<AttemptRecord> = early
        .iter()
        .map(expunged)
        .chain(late.iter().cloned())
        .collect();
    let scope = AttemptScope::Message(id(&message));
    assert_eq!(stage.attempts_of(app, scope).await, wanted);
}
