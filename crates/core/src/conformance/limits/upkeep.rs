//! Cleaning up.

use std::sync::Arc;
use std::time::Duration;

use super::reservations::answer;
use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, PAST_SHORT, SHORT, Stage};
use crate::pair::{ChainId, PairOutcome, PairState};
use crate::ports::{BreakerRecord, BreakerState, RateRequest, Reservation, Reserved, Settlement};

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

/// Of each kind hundreds expire, and some live on.
pub async fn retaining_removes_what_has_expired_and_nothing_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let partition = stage.partition();
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    let mut wishes: Vec<(bool, Reservation)> = Vec::new();
    let mut settlements = Vec::new();
    let mut breakers = Vec::new();
    for index in 0..400 {
        let lives = index % 10 == 0;
        let until = if lives { now + LONG } else { now + SHORT };
        let (key, event) = (stage.key(), format!("evt-{index}"));
        let mut wish = stage.wish(partition, Some(key), Some(&event));
        (wish.key_until, wish.event_id_until) = (until, until);
        stage.reserve(&wish).await;
        wishes.push((lives, wish));
        settlements.push(Settlement {
            pair: stage.pair(),
            chain: ChainId::FIRST,
            attempt: 1,
            outcome: PairOutcome::Ended(PairState::Delivered),
            keep_until: until,
        });
        if index % 4 == 0 || lives {
            let endpoint = stage.chance.endpoint(now);
            let record = BreakerRecord {
                state: BreakerState::Open,
                since: now,
                until: now,
                openings: 1,
            };
            limits
                .set_breaker(endpoint, &record, None, until)
                .await
                .unwrap();
            breakers.push((lives, endpoint));
        }
    }
    let done = &wishes[0].1;
    let answer = answer(done.candidate, now);
    stage.complete(done, &answer).await;
    stage.settle(settlements.clone()).await;
    let slow = RateRequest {
        subject: b"slow".to_vec(),
        interval: Duration::from_secs(3600),
        burst: 2,
        want: 2,
    };
    assert_eq!(stage.take(&slow).await.granted, 2);

    stage.time.pass(PAST_SHORT).await;
    stage.retain_limits().await;

    for settlement in settlements {
        let lives = settlement.keep_until == now + LONG;
        assert_eq!(
            stage.pair_record(settlement.pair).await.is_some(),
            lives,
            "of pair records, what has expired is removed and nothing else"
        );
    }
    for (lives, endpoint) in breakers {
        assert_eq!(
            limits.breaker(endpoint).await.unwrap().is_some(),
            lives,
            "of breakers, what has expired is removed and nothing else"
        );
    }
    assert_eq!(
        stage.take(&slow).await.granted,
        0,
        "a rate that is still used up is not forgotten"
    );
    for (index, (lives, wish)) in wishes.iter().enumerate() {
        let found = stage.reserve(wish).await;
        let right = match found {
            Reserved::Done(ref found) => index == 0 && *found == answer,
            Reserved::Pending { .. } => *lives && index != 0,
            Reserved::Fresh { .. } => !lives,
            _ => false,
        };
        assert!(
            right,
            "of reservations, what has expired is removed and nothing else: {found:?}"
        );
    }
}
