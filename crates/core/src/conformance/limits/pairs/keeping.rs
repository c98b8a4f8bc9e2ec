//! How long a record is there.

use std::sync::Arc;

use super::helpers::TASK;
use crate::conformance::Fixture;
use crate::conformance::stage::{SHORT, Stage};
use crate::pair::{ChainId, PairKey, PairOutcome, PairState, Verdict};

/// A record is there until the longest wish for it has passed, and counts as absent from then on.
pub async fn pair_records_are_kept_as_long_as_asked(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let short = now + SHORT;
    let [claimed, settled, opened] = [stage.pair(), stage.pair(), stage.pair()];
    let [long_then_short, short_then_long, long_claim] = [stage.pair(), stage.pair(), stage.pair()];

    let mut claim = stage.claim_of(claimed, ChainId::FIRST, 1);
    claim.keep_until = short;
    claim.lease_until = short;
    stage.claim(&[claim]).await;
    let ended = PairOutcome::Ended(PairState::Delivered);
    let mut settlement = stage.settlement_of(settled, ChainId::FIRST, 1, ended);
    settlement.keep_until = short;
    let limits = Arc::clone(&stage.ports.limits);
    limits.open_chain(now, opened, TASK, short).await.unwrap();
    let handed_on = PairOutcome::HandedOn { next_attempt: 2 };
    let long = stage.settlement_of(long_then_short, ChainId::FIRST, 1, handed_on);
    let mut then_short = stage.settlement_of(long_then_short, ChainId::FIRST, 2, ended);
    then_short.keep_until = short;
    let mut first_short = stage.settlement_of(short_then_long, ChainId::FIRST, 1, handed_on);
    first_short.keep_until = short;
    let then_long = stage.settlement_of(short_then_long, ChainId::FIRST, 2, ended);
    let claim = stage.claim_of(long_claim, ChainId::FIRST, 1);
    stage.claim(&[claim]).await;
    let mut after_claim = stage.settlement_of(long_claim, ChainId::FIRST, 1, ended);
    after_claim.keep_until = short;
    stage
        .settle(vec![settlement, long, first_short, after_claim])
        .await;
    stage.settle(vec![then_short, then_long]).await;

    let all = [
        claimed,
        settled,
        opened,
        long_then_short,
        short_then_long,
        long_claim,
    ];
    if stage.time.pass_almost_until(short).await {
        for pair in all {
            assert!(
                stage.pair_record(pair).await.is_some(),
                "a record is kept until the time that was asked for"
            );
        }
    }
    stage.time.pass_until(short).await;
    for pair in [claimed, settled, opened] {
        assert_eq!(
            stage.pair_record(pair).await,
            None,
            "an expired record counts as absent without anybody removing it"
        );
        assert_eq!(
            stage.claim_one(pair, ChainId::FIRST, 1).await,
            Verdict::Granted,
            "an expired record refuses nobody"
        );
    }
    for pair in [long_then_short, short_then_long, long_claim] {
        let record = stage.pair_record(pair).await.map(|record| record.state);
        assert_eq!(
            record,
            Some(PairState::Delivered),
            "the longest wish for a record stands"
        );
    }
}

/// Claims, settlements and chains are durable when their calls return.
pub async fn pair_records_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pairs: Vec<PairKey> = (0..60).map(|_| stage.pair()).collect();
    let mut wanted = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        match index % 4 {
            0 => {
                stage.claim_one(*pair, ChainId::FIRST, 3).await;
            }
            1 => {
                stage
                    .settle_one(*pair, 1, PairOutcome::Ended(PairState::Dead))
                    .await;
            }
            2 => {
                stage
                    .settle_one(*pair, 1, PairOutcome::HandedOn { next_attempt: 2 })
                    .await;
            }
            _ => stage.open_chain(*pair, TASK).await,
        }
        wanted.push(stage.pair_record(*pair).await);
    }
    let mut stage = stage.crash().await;
    for (pair, wanted) in pairs.iter().zip(wanted) {
        assert!(wanted.is_some());
        assert_eq!(
            stage.pair_record(*pair).await,
            wanted,
            "a pair record survives a crash, its lease included"
        );
    }
}
