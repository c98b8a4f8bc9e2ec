//! Many callers at the same moment.

use super::helpers::{FRESH, race};
use crate::conformance::Fixture;
use crate::conformance::stage::{SHORT, Stage};
use crate::ports::Reserved;

/// However many ask at once with one key, one is to do it.
pub async fn of_concurrent_reservations_one_is_fresh(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    for event in [Some("evt-1"), None, Some("evt-2"), None] {
        let key = stage.key();
        let wish = stage.wish(partition, Some(key), event);
        let answers = race(&mut stage, vec![wish.clone(); 16]).await;
        let fresh = answers.iter().filter(|answer| **answer == FRESH).count();
        assert_eq!(fresh, 1, "exactly one of concurrent callers is fresh");
        let until = wish.lease_until;
        assert!(
            answers
                .iter()
                .all(|answer| *answer == FRESH || *answer == Reserved::Pending { until }),
            "the others see it pending: {answers:?}"
        );
    }
}

/// However many ask at once for one event id, each with a key of its own, one gets it; the others get nothing.
pub async fn of_concurrent_reservations_of_an_event_id_one_is_fresh(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    for event in ["evt-1", "evt-2", "evt-3"] {
        let mut wishes = Vec::new();
        for _ in 0..12 {
            let key = stage.key();
            wishes.push(stage.wish(partition, Some(key), Some(event)));
        }
        let answers = race(&mut stage, wishes.clone()).await;
        let fresh = answers.iter().filter(|answer| **answer == FRESH).count();
        assert_eq!(fresh, 1, "an event id goes to exactly one: {answers:?}");
        for (wish, answer) in wishes.iter().zip(&answers) {
            if *answer == FRESH {
                continue;
            }
            assert!(
                matches!(answer, Reserved::EventIdTaken { .. }),
                "the others are told that it is taken: {answer:?}"
            );
            let key_alone = stage.wish(partition, wish.key.key, None);
            assert_eq!(
                stage.reserve(&key_alone).await,
                FRESH,
                "who was refused has reserved nothing"
            );
        }
    }
}

/// However many find a reservation lapsed, one resumes it, under the identifier of the first try.
pub async fn of_concurrent_resumptions_one_wins(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    for with_event in [true, false] {
        let key = stage.key();
        let mut wish = stage.wish(partition, Some(key), with_event.then_some("evt-1"));
        wish.lease_until = stage.now() + SHORT;
        assert_eq!(stage.reserve(&wish).await, FRESH);
        let first = wish.candidate;
        // Twice: who resumes may die, too.
        for _ in 0..2 {
            stage.time.pass_until(wish.lease_until).await;
            let mut again = stage.again(&wish);
            again.lease_until = stage.now() + SHORT;
            let answers = race(&mut stage, vec![again.clone(); 16]).await;
            let resume = Reserved::Resume { first, version: 0 };
            let until = again.lease_until;
            let pending = Reserved::Pending { until };
            let count = |wanted: &Reserved| answers.iter().filter(|found| *found == wanted).count();
            assert_eq!(
                (count(&resume), count(&pending)),
                (1, 15),
                "exactly one resumes, the others wait for it: {answers:?}"
            );
            wish.lease_until = until;
        }
    }
}
