//! Claims, one caller after the other.

use super::helpers::{TASK, assert_one_granted, ended, waiting};
use crate::conformance::Fixture;
use crate::conformance::stage::Stage;
use crate::pair::{ChainId, PairOutcome, PairState, Verdict};
use crate::ports::Claim;

/// The table of [`crate::pair`], through the port.
pub async fn claims_follow_the_table(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    assert_eq!(
        stage.pair_record(pair).await,
        None,
        "no record before the first claim"
    );
    let claim = stage.claim_of(pair, ChainId::FIRST, 2);
    assert_eq!(
        stage.claim(&[claim]).await,
        [Verdict::Granted],
        "no record: granted"
    );
    let leased = waiting(ChainId::FIRST, 2, Some(claim.lease_until));
    assert_eq!(stage.pair_record(pair).await, Some(leased));
    let lease = Verdict::Leased(claim.lease_until);
    assert_eq!(stage.claim_one(pair, ChainId::FIRST, 2).await, lease);
    assert_eq!(
        stage.claim_one(pair, ChainId::FIRST, 3).await,
        lease,
        "a later attempt waits, too"
    );
    assert_eq!(
        stage.claim_one(pair, ChainId::FIRST, 1).await,
        Verdict::Finished(PairState::Waiting),
        "an earlier attempt has been made"
    );
    assert_eq!(stage.claim_one(pair, TASK, 2).await, Verdict::Superseded);
    assert_eq!(
        stage.pair_record(pair).await,
        Some(leased),
        "a refused claim changes nothing"
    );

    let lapsed = stage.pair();
    let mut claim = stage.claim_of(lapsed, ChainId::FIRST, 1);
    claim.lease_until = stage.now();
    assert_eq!(stage.claim(&[claim]).await, [Verdict::Granted]);
    assert_eq!(
        stage.claim_one(lapsed, ChainId::FIRST, 1).await,
        Verdict::Granted,
        "the lease has ended"
    );

    for state in [PairState::Delivered, PairState::Dead, PairState::Canceled] {
        let pair = stage.pair();
        stage.settle_one(pair, 1, PairOutcome::Ended(state)).await;
        assert_eq!(
            stage.pair_record(pair).await,
            Some(ended(ChainId::FIRST, 1, state)),
            "an unguarded first attempt leaves its record when it is settled"
        );
        for attempt in [1, 2] {
            assert_eq!(
                stage.claim_one(pair, ChainId::FIRST, attempt).await,
                Verdict::Finished(state)
            );
        }
        assert_eq!(stage.claim_one(pair, TASK, 1).await, Verdict::Superseded);
    }
}

/// A list of claims is answered in its order, entry by entry.
pub async fn verdicts_come_in_the_order_of_the_claims(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    assert_eq!(stage.claim(&[]).await, [], "no claims, no verdicts");
    stage.settle(Vec::new()).await;
    let mut claims = Vec::new();
    let mut wanted = Vec::new();
    let mut settlements = Vec::new();
    for index in 0..200 {
        let pair = stage.pair();
        let claim = stage.claim_of(pair, ChainId::FIRST, 1);
        let (claim, verdict) = match index % 4 {
            0 => (claim, Verdict::Granted),
            1 => {
                stage.claim(&[claim]).await;
                (claim, Verdict::Leased(claim.lease_until))
            }
            2 => {
                let outcome = PairOutcome::Ended(PairState::Delivered);
                settlements.push(stage.settlement_of(pair, ChainId::FIRST, 1, outcome));
                (claim, Verdict::Finished(PairState::Delivered))
            }
            _ => {
                let outcome = PairOutcome::HandedOn { next_attempt: 2 };
                settlements.push(stage.settlement_of(pair, ChainId::FIRST, 1, outcome));
                let chain = TASK;
                (Claim { chain, ..claim }, Verdict::Superseded)
            }
        };
        claims.push(claim);
        wanted.push(verdict);
    }
    stage.settle(settlements).await;
    assert_eq!(
        stage.claim(&claims).await,
        wanted,
        "verdicts come in the order of the claims"
    );
    let pair = stage.pair();
    let claim = stage.claim_of(pair, ChainId::FIRST, 1);
    let twins = stage.claim(&[claim, claim, claim]).await;
    assert_one_granted(&twins, claim.lease_until);
}
