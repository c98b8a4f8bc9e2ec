//! Pair records against the pure decisions of [`crate::pair`]: whatever is asked in whatever order, the port
//! answers as a map would that applies them.

use std::collections::HashMap;
use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, Stage};
use crate::pair::{self, ChainId, PairKey, PairOutcome, PairRecord, PairState};
use crate::ports::{Claim, Settlement};
use crate::time::Timestamp;

const STEPS: usize = 400;

type Model = HashMap<PairKey, PairRecord>;

/// Random claims, settlements, new chains and, where the clock allows it, jumps in time.
pub async fn pairs_behave_like_the_model(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pairs: Vec<PairKey> = (0..5).map(|_| stage.pair()).collect();
    let keep_until = stage.now() + LONG * 1_000;
    let mut model = Model::new();
    for step in 0..STEPS {
        match stage.chance.below(10) {
            0..4 => claim_some(&mut stage, &pairs, keep_until, &mut model, step).await,
            4..8 => settle_some(&mut stage, &pairs, keep_until, &mut model).await,
            8 => open_one(&mut stage, &pairs, keep_until, &mut model).await,
            _ if stage.time.stands_still() => {
                let pass = stage.chance.below(30_000);
                stage.time.pass(Duration::from_millis(pass as u64)).await;
            }
            _ => {}
        }
        for pair in &pairs {
            assert_eq!(
                stage.pair_record(*pair).await,
                model.get(pair).copied(),
                "after step {step} the record is not what the decisions make it"
            );
        }
    }
}

fn chain(stage: &mut Stage<'_>) -> ChainId {
    stage.chance.pick(&[
        ChainId::FIRST,
        ChainId::FIRST,
        ChainId(1),
        ChainId(u64::MAX),
    ])
}

fn attempt(stage: &mut Stage<'_>) -> u16 {
    stage.chance.pick(&[1, 1, 2, 2, 3, 4, u16::MAX])
}

/// On a clock that goes on by itself a lease lives for long or not at all, so that it does not matter how long
/// a step takes.
fn lease_until(stage: &mut Stage<'_>) -> Timestamp {
    let now = stage.now();
    let long = if stage.time.stands_still() {
        Duration::from_millis(1 + stage.chance.below(60_000) as u64)
    } else {
        LONG
    };
    if stage.chance.coin() { now } else { now + long }
}

async fn claim_some(
    stage: &mut Stage<'_>,
    pairs: &[PairKey],
    keep_until: Timestamp,
    model: &mut Model,
    step: usize,
) {
    let claims: Vec<Claim> = stage
        .chance
        .some_of(pairs)
        .into_iter()
        .map(|pair| Claim {
            pair,
            chain: chain(stage),
            attempt: attempt(stage),
            lease_until: lease_until(stage),
            keep_until,
        })
        .collect();
    let now = stage.now();
    let verdicts = stage.claim(&claims).await;
    for (claim, verdict) in claims.iter().zip(verdicts) {
        let (wanted, record) = pair::claim(
            model.get(&claim.pair),
            claim.chain,
            claim.attempt,
            now,
            claim.lease_until,
        );
        assert_eq!(
            verdict, wanted,
            "step {step}: the verdict on {claim:?} is not what the decision says"
        );
        if let Some(record) = record {
            model.insert(claim.pair, record);
        }
    }
}

async fn settle_some(
    stage: &mut Stage<'_>,
    pairs: &[PairKey],
    keep_until: Timestamp,
    model: &mut Model,
) {
    let outcomes = [
        PairOutcome::Released,
        PairOutcome::HandedOn { next_attempt: 2 },
        PairOutcome::HandedOn { next_attempt: 3 },
        PairOutcome::Ended(PairState::Delivered),
        PairOutcome::Ended(PairState::Dead),
        PairOutcome::Ended(PairState::Canceled),
    ];
    let settlements: Vec<Settlement> = stage
        .chance
        .some_of(pairs)
        .into_iter()
        .map(|pair| Settlement {
            pair,
            chain: chain(stage),
            attempt: attempt(stage),
            outcome: stage.chance.pick(&outcomes),
            keep_until,
        })
        .collect();
    for settled in &settlements {
        let record = pair::settle(
            model.get(&settled.pair),
            settled.chain,
            settled.attempt,
            settled.outcome,
        );
        if let Some(record) = record {
            model.insert(settled.pair, record);
        }
    }
    stage.settle(settlements).await;
}

async fn open_one(
    stage: &mut Stage<'_>,
    pairs: &[PairKey],
    keep_until: Timestamp,
    model: &mut Model,
) {
    let (pair, chain) = (stage.chance.pick(pairs), chain(stage));
    let now = stage.now();
    let limits = &stage.ports.limits;
    limits
        .open_chain(now, pair, chain, keep_until)
        .await
        .unwrap();
    if model.get(&pair).is_none_or(|record| record.chain != chain) {
        let opened = PairRecord {
            chain,
            attempt: 1,
            state: PairState::Waiting,
            leased_until: None,
        };
        model.insert(pair, opened);
    }
}
