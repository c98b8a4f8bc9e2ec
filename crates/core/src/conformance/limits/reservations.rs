//! Idempotency: of everybody who asks for the same thing, one does it, and all get the same answer.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, SHORT, Stage, together};
use crate::id::MessageId;
use crate::name::Uid;
use crate::ports::{Answer, Partition, Reservation, ReservationKey, Reserved};
use crate::samples;
use crate::time::Timestamp;

pub(super) fn event_id(text: &str) -> Uid {
    Uid::new(text).expect("a valid event id")
}

impl Stage<'_> {
    pub(super) fn partition(&mut self) -> Partition {
        let now = self.now();
        Partition::App(self.chance.app(now))
    }

    pub(super) fn key(&mut self) -> [u8; 16] {
        let bytes = self.chance.bytes(16);
        bytes[..].try_into().unwrap()
    }

    /// A wish that stays leased and remembered for as long as the case runs.
    pub(super) fn wish(
        &mut self,
        partition: Partition,
        key: Option<[u8; 16]>,
        event: Option<&str>,
    ) -> Reservation {
        let now = self.now();
        Reservation {
            key: ReservationKey {
                partition,
                key,
                event_id: event.map(event_id),
            },
            candidate: self.chance.message(now),
            body: [7; 16],
            lease_until: now + LONG,
            key_until: now + LONG,
            event_id_until: now + LONG,
        }
    }

    /// The same wish by another caller, whose new thing would have another name.
    fn again(&mut self, wish: &Reservation) -> Reservation {
        let now = self.now();
        Reservation {
            candidate: self.chance.message(now),
            lease_until: now + LONG,
            key_until: now + LONG,
            event_id_until: now + LONG,
            ..wish.clone()
        }
    }

    pub(super) async fn reserve(&mut self, wish: &Reservation) -> Reserved {
        let now = self.now();
        let reserved = self.ports.limits.reserve(now, wish).await;
        reserved.expect("reservations can be made")
    }

    async fn reserve_again(&mut self, wish: &Reservation) -> Reserved {
        let again = self.again(wish);
        self.reserve(&again).await
    }

    pub(super) async fn complete(&mut self, wish: &Reservation, answer: &Answer) {
        let now = self.now();
        let done = vec![(wish.key.clone(), answer.clone())];
        let completed = self.ports.limits.complete(now, done).await;
        completed.expect("a reservation can be completed");
    }
}

pub(super) fn answer(id: MessageId, at: Timestamp) -> Answer {
    Answer {
        id,
        at,
        status: 202,
        body: Bytes::from_static(b"{\"id\":\xff}"),
    }
}

const FRESH: Reserved = Reserved::Fresh { version: 0 };

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

/// However many ask at once with one key, one is to do it.
pub async fn of_concurrent_reservations_one_is_fresh(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    for with_event in [true, false, true, false] {
        let key = stage.key();
        let event = format!("evt-{}", key[0]);
        let wish = stage.wish(partition, Some(key), with_event.then_some(&event[..]));
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

/// Reserves all of `wishes` at the same moment.
async fn race(stage: &mut Stage<'_>, wishes: Vec<Reservation>) -> Vec<Reserved> {
    let now = stage.now();
    let wishes: Vec<Reservation> = wishes
        .into_iter()
        .map(|wish| Reservation {
            candidate: stage.chance.message(now),
            ..wish
        })
        .collect();
    let limits = Arc::clone(&stage.ports.limits);
    together(wishes.len(), |index| {
        let (limits, wish) = (Arc::clone(&limits), wishes[index].clone());
        async move { limits.reserve(now, &wish).await.unwrap() }
    })
    .await
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
