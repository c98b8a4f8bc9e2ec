//! Many carriers of one attempt at the same moment.

use std::collections::HashSet;
use std::sync::Arc;

use super::helpers::{assert_one_granted, ended, race};
use crate::conformance::Fixture;
use crate::conformance::stage::{SHORT, Stage, together};
use crate::pair::{ChainId, PairOutcome, PairState, Verdict};
use crate::ports::{Claim, Settlement};

/// However many carry an attempt, one gets it.
pub async fn of_concurrent_claims_one_is_granted(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    for _ in 0..10 {
        let pair = stage.pair();
        let claim = stage.claim_of(pair, ChainId::FIRST, 1);
        let verdicts = race(&mut stage, vec![claim; 16]).await;
        assert_one_granted(&verdicts, claim.lease_until);
    }
}

/// A lease that lives protects; one that has ended goes to exactly one of those who wait for it.
pub async fn of_concurrent_claims_after_a_lease_one_is_granted(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    let mut claim = stage.claim_of(pair, ChainId::FIRST, 1);
    let until = stage.now() + SHORT;
    claim.lease_until = until;
    assert_eq!(stage.claim(&[claim]).await, [Verdict::Granted]);
    let verdict = stage.claim_one(pair, ChainId::FIRST, 1).await;
    assert!(
        verdict == Verdict::Leased(until) || stage.now() >= until,
        "the lease lives, yet the verdict is {verdict:?}"
    );
    if stage.time.pass_almost_until(until).await {
        let verdict = stage.claim_one(pair, ChainId::FIRST, 1).await;
        assert_eq!(
            verdict,
            Verdict::Leased(until),
            "a lease lives to its last millisecond"
        );
    }
    stage.time.pass_until(until).await;
    let claim = stage.claim_of(pair, ChainId::FIRST, 1);
    let verdicts = race(&mut stage, vec![claim; 16]).await;
    assert_one_granted(&verdicts, claim.lease_until);
}

/// Eight carriers run through a schedule of thirty attempts: each attempt is granted once.
pub async fn each_attempt_is_made_once_however_many_carry_it(fixture: &dyn Fixture) {
    const ATTEMPTS: u16 = 30;
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    let template = stage.claim_of(pair, ChainId::FIRST, 1);
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    let made = together(8, |_| {
        let limits = Arc::clone(&limits);
        async move {
            let mut made = Vec::new();
            let mut attempt = 1;
            while attempt <= ATTEMPTS {
                let claim = Claim {
                    attempt,
                    ..template
                };
                match limits.claim(now, &[claim]).await.unwrap()[0] {
                    Verdict::Granted => {
                        made.push(attempt);
                        let outcome = match attempt {
                            ATTEMPTS => PairOutcome::Ended(PairState::Dead),
                            _ => PairOutcome::HandedOn {
                                next_attempt: attempt + 1,
                            },
                        };
                        let settlement = Settlement {
                            pair,
                            chain: ChainId::FIRST,
                            attempt,
                            outcome,
                            keep_until: template.keep_until,
                        };
                        limits.settle(now, vec![settlement]).await.unwrap();
                        attempt += 1;
                    }
                    Verdict::Finished(_) => attempt += 1,
                    Verdict::Leased(_) => tokio::task::yield_now().await,
                    Verdict::Superseded => panic!("no other chain was opened"),
                }
            }
            made
        }
    })
    .await
    .concat();
    let different: HashSet<u16> = made.iter().copied().collect();
    assert_eq!(
        made.len(),
        different.len(),
        "an attempt was granted twice: {made:?}"
    );
    assert_eq!(
        made.len(),
        usize::from(ATTEMPTS),
        "an attempt was granted to nobody"
    );
    assert_eq!(
        stage.pair_record(pair).await,
        Some(ended(ChainId::FIRST, ATTEMPTS, PairState::Dead))
    );
}

/// Of concurrent and later final outcomes one is kept, for good.
pub async fn the_first_final_state_stands(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let states = [PairState::Delivered, PairState::Dead, PairState::Canceled];
    for _ in 0..6 {
        let pair = stage.pair();
        let now = stage.now();
        let settlements: Vec<Settlement> = (0..9)
            .map(|index| {
                stage.settlement_of(
                    pair,
                    ChainId::FIRST,
                    1,
                    PairOutcome::Ended(states[index % 3]),
                )
            })
            .collect();
        let limits = Arc::clone(&stage.ports.limits);
        let seen = together(settlements.len(), |index| {
            let (limits, settlement) = (Arc::clone(&limits), settlements[index]);
            async move {
                limits.settle(now, vec![settlement]).await.unwrap();
                limits.pair(now, pair).await.unwrap()
            }
        })
        .await;
        let first = stage.pair_record(pair).await;
        assert!(
            seen.iter().all(|record| *record == first),
            "once a final state was seen it stands: {seen:?}"
        );
        for outcome in [
            PairOutcome::HandedOn { next_attempt: 2 },
            PairOutcome::Released,
            PairOutcome::Ended(PairState::Delivered),
            PairOutcome::Ended(PairState::Dead),
        ] {
            for attempt in [1, 2] {
                stage.settle_one(pair, attempt, outcome).await;
            }
        }
        assert_eq!(stage.pair_record(pair).await, first, "a final state stands");
    }
}
