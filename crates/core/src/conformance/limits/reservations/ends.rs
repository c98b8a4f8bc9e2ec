//! How a reservation ends: forgotten, given up, never by a crash.

use std::sync::Arc;

use super::helpers::{FRESH, answer};
use crate::conformance::Fixture;
use crate::conformance::stage::{SHORT, Stage};
use crate::ports::Reserved;

/// Keys and event ids have lifetimes of their own, counted as over without anybody cleaning up.
pub async fn a_key_and_an_event_id_are_forgotten_each_at_its_time(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let [key_a, key_b, key_c] = [stage.key(), stage.key(), stage.key()];
    let end = stage.now() + SHORT;
    let mut short_key = stage.wish(partition, Some(key_a), Some("evt-long"));
    short_key.key_until = end;
    let mut short_event = stage.wish(partition, Some(key_b), Some("evt-short"));
    short_event.event_id_until = end;
    let mut both_short = stage.wish(partition, Some(key_c), Some("evt-brief"));
    (both_short.key_until, both_short.event_id_until) = (end, end);
    for wish in [&short_key, &short_event, &both_short] {
        assert_eq!(stage.reserve(wish).await, FRESH);
        let answer = answer(wish.candidate, stage.now());
        stage.complete(wish, &answer).await;
    }
    if stage.time.pass_almost_until(end).await {
        let still = stage.reserve_again(&both_short).await;
        assert!(
            matches!(still, Reserved::Done(_)),
            "remembered until the last millisecond: {still:?}"
        );
    }
    stage.time.pass_until(end).await;

    let by = short_key.candidate;
    assert_eq!(
        stage.reserve_again(&short_key).await,
        Reserved::EventIdTaken { by },
        "the key is forgotten, the event id is not"
    );
    let key_alone = stage.wish(partition, Some(key_a), None);
    assert_eq!(
        stage.reserve(&key_alone).await,
        FRESH,
        "a forgotten key is free"
    );

    let done = stage.reserve_again(&short_event).await;
    assert!(
        matches!(done, Reserved::Done(_)),
        "the event id is forgotten, the key is not: {done:?}"
    );
    let other = stage.key();
    let event = stage.wish(partition, Some(other), Some("evt-short"));
    assert_eq!(
        stage.reserve(&event).await,
        FRESH,
        "a forgotten event id is free"
    );

    let mut anew = stage.again(&both_short);
    anew.body = [99; 16];
    assert_eq!(
        stage.reserve(&anew).await,
        FRESH,
        "what is forgotten can be reserved by anybody, for anything"
    );
    let until = anew.lease_until;
    let mut twin = stage.again(&anew);
    twin.body = anew.body;
    assert_eq!(stage.reserve(&twin).await, Reserved::Pending { until });
}

/// After a release it is as if nothing had been reserved: neither key nor event id.
pub async fn a_release_lets_the_next_caller_begin(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (partition, key, other) = (stage.partition(), stage.key(), stage.key());
    for (keyed, event) in [(true, None), (true, Some("evt-1")), (false, Some("evt-2"))] {
        let wish = stage.wish(partition, keyed.then_some(key), event);
        let limits = Arc::clone(&stage.ports.limits);
        limits
            .release(&wish.key)
            .await
            .expect("nothing to release is no error");
        assert_eq!(stage.reserve(&wish).await, FRESH);
        limits.release(&wish.key).await.unwrap();
        let mut next = stage.again(&wish);
        next.body = [9; 16];
        assert_eq!(
            stage.reserve(&next).await,
            FRESH,
            "after a release the next caller begins, with whatever body"
        );
        limits.release(&next.key).await.unwrap();
        if event.is_some() {
            let stranger = stage.wish(partition, Some(other), event);
            assert_eq!(
                stage.reserve(&stranger).await,
                FRESH,
                "a release frees the event id, too"
            );
            limits.release(&stranger.key).await.unwrap();
        }
    }
}

/// Releasing what was never granted does not touch the reservation that stood in its way.
pub async fn a_release_takes_nothing_from_another_reservation(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (partition, key, other) = (stage.partition(), stage.key(), stage.key());
    let owner = stage.wish(partition, Some(key), Some("evt-1"));
    assert_eq!(stage.reserve(&owner).await, FRESH);
    let refused = stage.wish(partition, Some(other), Some("evt-1"));
    let by = owner.candidate;
    assert_eq!(stage.reserve(&refused).await, Reserved::EventIdTaken { by });
    stage.ports.limits.release(&refused.key).await.unwrap();
    let answer_of_refused = answer(refused.candidate, stage.now());
    stage.complete(&refused, &answer_of_refused).await;
    let third = stage.key();
    let third = stage.wish(partition, Some(third), Some("evt-1"));
    assert_eq!(
        stage.reserve(&third).await,
        Reserved::EventIdTaken { by },
        "an event id is freed by its owner alone"
    );
    let until = owner.lease_until;
    assert_eq!(
        stage.reserve_again(&owner).await,
        Reserved::Pending { until },
        "its owner's reservation stands"
    );
}

/// A try that ended without a result need not be waited for: it is resumed under its own identifier.
pub async fn what_has_lapsed_is_resumed_before_its_lease_ends(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (partition, key) = (stage.partition(), stage.key());
    for (keyed, event) in [(true, Some("evt-1")), (false, Some("evt-2"))] {
        let wish = stage.wish(partition, keyed.then_some(key), event);
        assert_eq!(stage.reserve(&wish).await, FRESH);
        let soon = stage.now() + SHORT;
        stage.lapse(&wish, wish.candidate, soon).await;
        let later = wish.lease_until;
        stage.lapse(&wish, wish.candidate, later).await;
        assert_eq!(
            stage.reserve_again(&wish).await,
            Reserved::Pending { until: soon },
            "never made longer"
        );
        stage.time.pass_until(soon).await;
        let first = wish.candidate;
        assert_eq!(
            stage.reserve_again(&wish).await,
            Reserved::Resume { first, version: 0 }
        );
    }
}

/// What is done stays done, and what is another message's, or not there, is left alone.
pub async fn a_lapse_touches_no_other_reservation(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let [key_a, key_b, key_c] = [stage.key(), stage.key(), stage.key()];
    let now = stage.now();
    let pending = stage.wish(partition, Some(key_a), None);
    assert_eq!(stage.reserve(&pending).await, FRESH);
    let stranger = stage.wish(partition, Some(key_a), None);
    stage.lapse(&pending, stranger.candidate, now).await;
    let until = pending.lease_until;
    assert_eq!(
        stage.reserve_again(&pending).await,
        Reserved::Pending { until }
    );
    let done = stage.wish(partition, Some(key_b), None);
    stage.reserve(&done).await;
    let answer = answer(done.candidate, now);
    stage.complete(&done, &answer).await;
    stage.lapse(&done, done.candidate, now).await;
    assert_eq!(stage.reserve_again(&done).await, Reserved::Done(answer));
    let nothing = stage.wish(partition, Some(key_c), None);
    stage.lapse(&nothing, nothing.candidate, now).await;
    assert_eq!(stage.reserve(&nothing).await, FRESH);
}

/// Reservations and answers are durable when their calls return.
pub async fn reservations_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let [key_a, key_b, key_c, key_d] = [stage.key(), stage.key(), stage.key(), stage.key()];
    let pending = stage.wish(partition, Some(key_a), Some("evt-1"));
    stage.reserve(&pending).await;
    let done = stage.wish(partition, Some(key_b), Some("evt-2"));
    stage.reserve(&done).await;
    let answer = answer(done.candidate, stage.now());
    stage.complete(&done, &answer).await;
    let released = stage.wish(partition, Some(key_c), Some("evt-3"));
    stage.reserve(&released).await;
    stage.ports.limits.release(&released.key).await.unwrap();
    let mut lapsed = stage.wish(partition, Some(key_d), None);
    lapsed.lease_until = stage.now();
    stage.reserve(&lapsed).await;

    let mut stage = stage.crash().await;
    let until = pending.lease_until;
    assert_eq!(
        stage.reserve_again(&pending).await,
        Reserved::Pending { until },
        "a pending reservation survives"
    );
    assert_eq!(
        stage.reserve_again(&done).await,
        Reserved::Done(answer),
        "an answer survives"
    );
    assert_eq!(
        stage.reserve_again(&released).await,
        FRESH,
        "a release survives"
    );
    let first = lapsed.candidate;
    assert_eq!(
        stage.reserve_again(&lapsed).await,
        Reserved::Resume { first, version: 0 },
        "the first try's identifier survives"
    );
}
