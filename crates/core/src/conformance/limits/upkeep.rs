//! Cleaning up.

use std::sync::Arc;
use std::time::Duration;

use super::reservations::answer;
use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, SHORT, Stage};
use crate::id::EndpointId;
use crate::pair::{ChainId, PairKey, PairOutcome, PairState};
use crate::ports::{
    BreakerRecord, BreakerState, RateRequest, Reservation, ReservationKey, Reserved, Settlement,
};
use crate::time::Timestamp;

impl Stage<'_> {
    /// Retains until nothing is left to do. Each batch is small, but there are not endless ones.
    async fn retain_limits(&mut self) {
        let now = self.now();
        for _ in 0..10_000 {
            let removed = self.ports.limits.retain(now).await;
            if removed.expect("what has expired can be removed") == 0 {
                return;
            }
        }
        panic!("retaining never ends with 0");
    }
}

/// Where nothing is stored there is nothing to remove.
pub async fn retaining_nothing_ends_at_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    assert_eq!(stage.ports.limits.retain(now).await.unwrap(), 0);
    let pair = stage.pair();
    let settlement = Settlement {
        pair,
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: PairOutcome::Released,
        keep_until: now + LONG,
    };
    stage.settle(vec![settlement]).await;
    assert_eq!(
        stage.ports.limits.retain(now).await.unwrap(),
        0,
        "nothing has expired"
    );
}

/// How long an entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Ends,
    Lasts,
    /// It was to end, and then somebody asked for it to be kept.
    WasProlonged,
}

impl Life {
    fn of(index: usize) -> Self {
        match index % 10 {
            0 => Self::Lasts,
            1 => Self::WasProlonged,
            _ => Self::Ends,
        }
    }
}

/// What a store holds of everything, and until when.
struct Mixture {
    end: Timestamp,
    far: Timestamp,
}

impl Mixture {
    fn first_wish(&self, life: Life) -> Timestamp {
        match life {
            Life::Lasts => self.far,
            Life::Ends | Life::WasProlonged => self.end,
        }
    }

    async fn reservations(&self, stage: &mut Stage<'_>) -> Vec<(Life, Reservation)> {
        let partition = stage.partition();
        let mut reservations = Vec::new();
        for index in 0..300 {
            let life = Life::of(index);
            let (key, event) = (stage.key(), format!("evt-{index}"));
            let mut wish = stage.wish(partition, Some(key), Some(&event));
            let until = self.first_wish(life);
            (wish.key_until, wish.event_id_until) = (until, until);
            wish.lease_until = stage.now();
            stage.reserve(&wish).await;
            if life == Life::WasProlonged {
                (wish.key_until, wish.event_id_until) = (self.far, self.far);
                wish.lease_until = self.far;
                let resumed = stage.reserve(&wish).await;
                assert!(matches!(resumed, Reserved::Resume { .. }), "{resumed:?}");
            }
            reservations.push((life, wish));
        }
        reservations
    }

    async fn pairs(&self, stage: &mut Stage<'_>) -> Vec<(Life, PairKey)> {
        let mut pairs = Vec::new();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for index in 0..300 {
            let life = Life::of(index);
            let settlement = Settlement {
                pair: stage.pair(),
                chain: ChainId::FIRST,
                attempt: 1,
                outcome: PairOutcome::HandedOn { next_attempt: 2 },
                keep_until: self.first_wish(life),
            };
            first.push(settlement);
            if life == Life::WasProlonged {
                second.push(Settlement {
                    attempt: 2,
                    outcome: PairOutcome::Ended(PairState::Delivered),
                    keep_until: self.far,
                    ..settlement
                });
            }
            pairs.push((life, settlement.pair));
        }
        stage.settle(first).await;
        stage.settle(second).await;
        pairs
    }

    async fn breakers(&self, stage: &mut Stage<'_>) -> Vec<(Life, EndpointId)> {
        let mut breakers = Vec::new();
        let now = stage.now();
        let record = BreakerRecord {
            state: BreakerState::Open,
            since: now,
            until: now,
            openings: 1,
        };
        let limits = Arc::clone(&stage.ports.limits);
        for index in 0..100 {
            let life = Life::of(index);
            let endpoint = stage.chance.endpoint(now);
            let until = self.first_wish(life);
            let set = limits.set_breaker(endpoint, &record, None, until).await;
            assert!(set.unwrap());
            if life == Life::WasProlonged {
                let (_, version) = limits.breaker(endpoint).await.unwrap().expect("it is set");
                let set = limits.set_breaker(endpoint, &record, Some(version), self.far);
                assert!(set.await.unwrap());
            }
            breakers.push((life, endpoint));
        }
        breakers
    }
}

/// Of each kind many expire, and some live on, because they were to or because they were asked for anew.
pub async fn retaining_removes_what_has_expired_and_nothing_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let mixture = Mixture {
        // Late enough for all of it to be stored before.
        end: now + SHORT * 2,
        far: now + LONG,
    };
    let reservations = mixture.reservations(&mut stage).await;
    let pairs = mixture.pairs(&mut stage).await;
    let breakers = mixture.breakers(&mut stage).await;
    let done = &reservations[0].1;
    let answer = answer(done.candidate, now);
    stage.complete(done, &answer).await;
    let slow = RateRequest {
        subject: b"slow".to_vec(),
        interval: Duration::from_secs(3600),
        burst: 2,
        want: 2,
    };
    assert_eq!(stage.take(&slow).await.granted, 2);

    stage.time.pass_until(mixture.end).await;
    stage.retain_limits().await;

    for (life, pair) in pairs {
        assert_eq!(
            stage.pair_record(pair).await.is_some(),
            life != Life::Ends,
            "of pair records, what has expired is removed and nothing else: {life:?}"
        );
    }
    for (life, endpoint) in breakers {
        assert_eq!(
            stage
                .ports
                .limits
                .breaker(endpoint)
                .await
                .unwrap()
                .is_some(),
            life != Life::Ends,
            "of breakers, what has expired is removed and nothing else: {life:?}"
        );
    }
    assert_eq!(
        stage.take(&slow).await.granted,
        0,
        "a rate that is still used up is not forgotten"
    );
    for (index, (life, wish)) in reservations.iter().enumerate() {
        let stranger = stage.key();
        let stranger = stage.wish(wish.key.partition, Some(stranger), None);
        let stranger = Reservation {
            key: ReservationKey {
                event_id: wish.key.event_id.clone(),
                ..stranger.key
            },
            ..stranger
        };
        let event = stage.reserve(&stranger).await;
        let key = stage.reserve_again(wish).await;
        let right = match (life, &event, &key) {
            (Life::Ends, Reserved::Fresh { .. }, Reserved::EventIdTaken { by }) => {
                *by == stranger.candidate
            }
            (Life::Lasts, Reserved::EventIdTaken { .. }, Reserved::Done(found)) => {
                index == 0 && *found == answer
            }
            (Life::Lasts, Reserved::EventIdTaken { .. }, Reserved::Resume { .. }) => index != 0,
            (Life::WasProlonged, Reserved::EventIdTaken { .. }, Reserved::Pending { .. }) => true,
            _ => false,
        };
        assert!(
            right,
            "of reservations, what has expired is removed and nothing else: {life:?}, \
             its event id is {event:?}, its key {key:?}"
        );
    }
}
