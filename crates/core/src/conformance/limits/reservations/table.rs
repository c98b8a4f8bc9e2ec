//! One caller after the other: the table of [`crate::ports::Limits::reserve`], line by line.

use std::sync::Arc;

use bytes::Bytes;

use super::helpers::{FRESH, answer};
use crate::conformance::Fixture;
use crate::conformance::stage::Stage;
use crate::ports::{Answer, Partition, Reserved};
use crate::samples;

/// Reserved, seen by others as pending, done, replayed.
pub async fn a_reservation_goes_through_its_life(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let probe = stage.ports.limits.probe().await;
    probe.expect("an open store is well");
    let (partition, key) = (stage.partition(), stage.key());
    let wish = stage.wish(partition, Some(key), Some("evt-1"));
    assert_eq!(
        stage.reserve(&wish).await,
        FRESH,
        "nothing was reserved before"
    );
    let pending = Reserved::Pending {
        until: wish.lease_until,
    };
    assert_eq!(stage.reserve_again(&wish).await, pending);
    assert_eq!(
        stage.reserve(&wish).await,
        FRESH,
        "a wish that is asked for once more is answered as before"
    );
    assert_eq!(stage.reserve_again(&wish).await, pending);
    let answer = answer(wish.candidate, stage.now());
    stage.complete(&wish, &answer).await;
    for _ in 0..3 {
        let replayed = stage.reserve_again(&wish).await;
        assert_eq!(
            replayed,
            Reserved::Done(answer.clone()),
            "done is replayed each time"
        );
    }
}

/// Goes through the table of [`crate::ports::Limits::reserve`] line by line, for one way to name a reservation.
async fn follows_the_table(stage: &mut Stage<'_>, keyed: bool, event: bool) {
    let partition = stage.partition();
    let name = |stage: &mut Stage<'_>, line: &str| {
        let key = keyed.then(|| stage.key());
        stage.wish(partition, key, event.then_some(line))
    };

    let wish = name(stage, "pending");
    assert_eq!(stage.reserve(&wish).await, FRESH, "nothing is stored");
    let until = wish.lease_until;
    assert_eq!(
        stage.reserve_again(&wish).await,
        Reserved::Pending { until },
        "pending, and its lease lives"
    );
    let mut other_body = stage.again(&wish);
    other_body.body = [8; 16];
    assert_eq!(
        stage.reserve(&other_body).await,
        Reserved::KeyReused,
        "pending with another request's hash"
    );

    let mut wish = name(stage, "lapsed");
    wish.lease_until = stage.now();
    assert_eq!(stage.reserve(&wish).await, FRESH, "nothing is stored");
    let mut other_body = stage.again(&wish);
    other_body.body = [8; 16];
    assert_eq!(
        stage.reserve(&other_body).await,
        Reserved::KeyReused,
        "lapsed with another request's hash"
    );
    let first = wish.candidate;
    let second = stage.again(&wish);
    assert_eq!(
        stage.reserve(&second).await,
        Reserved::Resume { first, version: 0 },
        "pending, and its lease has ended"
    );
    let until = second.lease_until;
    assert_eq!(
        stage.reserve_again(&wish).await,
        Reserved::Pending { until },
        "a resumed reservation is leased anew"
    );
    let answer_of_second = answer(first, stage.now());
    stage.complete(&second, &answer_of_second).await;
    assert_eq!(
        stage.reserve_again(&wish).await,
        Reserved::Done(answer_of_second),
        "a resumed reservation can be completed"
    );

    let mut wish = name(stage, "late");
    wish.lease_until = stage.now();
    stage.reserve(&wish).await;
    let late_answer = answer(wish.candidate, stage.now());
    stage.complete(&wish, &late_answer).await;
    assert_eq!(
        stage.reserve_again(&wish).await,
        Reserved::Done(late_answer),
        "done is done, also where the lease had ended before"
    );

    let wish = name(stage, "done");
    stage.reserve(&wish).await;
    let answer = answer(wish.candidate, stage.now());
    stage.complete(&wish, &answer).await;
    assert_eq!(stage.reserve_again(&wish).await, Reserved::Done(answer));
    let mut other_body = stage.again(&wish);
    other_body.body = [8; 16];
    assert_eq!(
        stage.reserve(&other_body).await,
        Reserved::KeyReused,
        "done with another request's hash"
    );
}

/// The table, for a reservation by idempotency key.
pub async fn a_reservation_by_key_follows_the_table(fixture: &dyn Fixture) {
    follows_the_table(&mut Stage::open(fixture).await, true, false).await;
}

/// The table, for a reservation that names an event id and no key.
pub async fn a_reservation_by_event_id_follows_the_table(fixture: &dyn Fixture) {
    follows_the_table(&mut Stage::open(fixture).await, false, true).await;
}

/// The table, for a reservation by key that takes an event id along.
pub async fn a_reservation_by_both_follows_the_table(fixture: &dyn Fixture) {
    follows_the_table(&mut Stage::open(fixture).await, true, true).await;
}

/// Who names neither key nor event id is told a version, always `Fresh`.
pub async fn a_reservation_of_nothing_is_fresh_and_stores_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    for body in [1, 1, 2] {
        let mut wish = stage.wish(partition, None, None);
        wish.body = [body; 16];
        assert_eq!(
            stage.reserve(&wish).await,
            FRESH,
            "nothing is stored, so nothing is found"
        );
        let answer = answer(wish.candidate, stage.now());
        stage.complete(&wish, &answer).await;
        stage.ports.limits.release(&wish.key).await.unwrap();
    }
}

/// One call completes many; each answer comes back as it was, byte by byte.
pub async fn answers_are_replayed_to_the_byte(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let now = stage.now();
    let mut done = Vec::new();
    for index in 0..100 {
        let key = stage.key();
        let event = format!("evt-{index}");
        let wish = stage.wish(
            partition,
            Some(key),
            (index % 2 == 0).then_some(event.as_str()),
        );
        assert_eq!(stage.reserve(&wish).await, FRESH);
        let answer = Answer {
            status: 200 + index,
            body: match index {
                0 => Bytes::new(),
                99 => stage.chance.bytes(100_000),
                _ => stage.chance.bytes(usize::from(index)),
            },
            ..answer(wish.candidate, now)
        };
        done.push((wish, answer));
    }
    let call = done
        .iter()
        .map(|(wish, answer)| (wish.key.clone(), answer.clone()));
    stage
        .ports
        .limits
        .complete(now, call.collect())
        .await
        .unwrap();
    for (wish, answer) in done {
        assert_eq!(
            stage.reserve_again(&wish).await,
            Reserved::Done(answer),
            "an answer is replayed as it was"
        );
    }
}

/// `Fresh` and `Resume` tell the version that the application has at that moment.
pub async fn a_reservation_tells_the_registry_version(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let app = samples::application(stage.chance.org(now), stage.chance.app(now));
    let registry = Arc::clone(&stage.ports.registry);
    let mut app = registry.put_application(app, None).await.unwrap();
    let mut seen = 0;
    for round in 0..6 {
        if round % 2 == 0 {
            app.name = format!("Name {round}");
            let expect = Some(app.version);
            app = registry.put_application(app.clone(), expect).await.unwrap();
        } else {
            let endpoint = samples::endpoint_of(app.id, stage.chance.endpoint(now));
            registry.put_endpoint(endpoint, None).await.unwrap();
            let snapshot = registry.snapshot(app.id).await.unwrap();
            app = snapshot.expect("it was just changed").app;
        }
        assert!(app.version > seen);
        seen = app.version;
        let version = app.version;
        let key = stage.key();
        for (key, event) in [(None, None), (Some(key), None)] {
            let mut wish = stage.wish(Partition::App(app.id), key, event);
            wish.lease_until = stage.now();
            assert_eq!(
                stage.reserve(&wish).await,
                Reserved::Fresh { version },
                "the version is that of the registry"
            );
            if key.is_some() {
                let first = wish.candidate;
                assert_eq!(
                    stage.reserve_again(&wish).await,
                    Reserved::Resume { first, version },
                    "a resumed reservation is told the version, too"
                );
            }
        }
    }
    let of_the_org = stage.wish(Partition::Org(app.org), None, None);
    assert_eq!(
        stage.reserve(&of_the_org).await,
        FRESH,
        "an organisation's partition has no version"
    );
    registry.delete_application(app.org, app.id).await.unwrap();
    let of_nothing = stage.wish(Partition::App(app.id), None, None);
    assert_eq!(
        stage.reserve(&of_nothing).await,
        FRESH,
        "a deleted application has no version"
    );
}
