//! Whose an event id is, and where it counts.

use super::helpers::{FRESH, answer};
use crate::conformance::Fixture;
use crate::conformance::stage::Stage;
use crate::ports::{Partition, Reserved};

/// Another key with a reserved event id is refused, and reserves nothing of its own.
pub async fn an_event_id_belongs_to_one_reservation(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let [key_a, key_b, key_c] = [stage.key(), stage.key(), stage.key()];
    let owner = stage.wish(partition, Some(key_a), Some("evt-1"));
    assert_eq!(stage.reserve(&owner).await, FRESH);
    let by = owner.candidate;
    let taken = Reserved::EventIdTaken { by };
    let with_key = stage.wish(partition, Some(key_b), Some("evt-1"));
    assert_eq!(
        stage.reserve(&with_key).await,
        taken,
        "pending: it belongs to another key"
    );
    let without = stage.wish(partition, None, Some("evt-1"));
    assert_eq!(
        stage.reserve(&without).await,
        taken,
        "pending: it belongs to a key"
    );
    let answer_of_owner = answer(by, stage.now());
    stage.complete(&owner, &answer_of_owner).await;
    assert_eq!(stage.reserve(&with_key).await, taken, "done: it still does");
    let mut other = stage.wish(partition, Some(key_b), None);
    other.body = [9; 16];
    assert_eq!(
        stage.reserve(&other).await,
        FRESH,
        "who was refused has reserved nothing"
    );
    let unkeyed = stage.wish(partition, None, Some("evt-2"));
    assert_eq!(stage.reserve(&unkeyed).await, FRESH);
    let keyed = stage.wish(partition, Some(key_c), Some("evt-2"));
    let by = unkeyed.candidate;
    assert_eq!(
        stage.reserve(&keyed).await,
        Reserved::EventIdTaken { by },
        "an event id reserved by itself belongs to no key"
    );
}

/// Its own event id does not stand in the way of a resumed reservation, nor does it change hands.
pub async fn a_resumed_reservation_keeps_its_event_id(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (partition, key, stranger) = (stage.partition(), stage.key(), stage.key());
    let mut wish = stage.wish(partition, Some(key), Some("evt-1"));
    wish.lease_until = stage.now();
    assert_eq!(stage.reserve(&wish).await, FRESH);
    let by = wish.candidate;
    let other = stage.wish(partition, Some(stranger), Some("evt-1"));
    assert_eq!(
        stage.reserve(&other).await,
        Reserved::EventIdTaken { by },
        "a lapsed reservation is one still"
    );
    let resumed = stage.reserve_again(&wish).await;
    assert_eq!(
        resumed,
        Reserved::Resume {
            first: by,
            version: 0
        }
    );
    assert_eq!(
        stage.reserve(&other).await,
        Reserved::EventIdTaken { by },
        "the event id stays with the first try's identifier"
    );
}

/// The same key or event id in another application or organisation is another one.
pub async fn partitions_are_apart(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let key = stage.key();
    let now = stage.now();
    let org = Partition::Org(stage.chance.org(now));
    let partitions = [stage.partition(), stage.partition(), org];
    for partition in partitions {
        let wish = stage.wish(partition, Some(key), Some("evt-1"));
        assert_eq!(
            stage.reserve(&wish).await,
            FRESH,
            "partitions do not see each other"
        );
    }
    let wish = stage.wish(partitions[0], Some(key), Some("evt-1"));
    stage.ports.limits.release(&wish.key).await.unwrap();
    for partition in &partitions[1..] {
        let wish = stage.wish(*partition, Some(key), Some("evt-1"));
        let seen = stage.reserve(&wish).await;
        assert!(
            matches!(seen, Reserved::Pending { .. }),
            "a release stays in its partition: {seen:?}"
        );
    }
}
