//! What follows from an attempt, and from a new chain.

use super::helpers::{TASK, waiting};
use crate::conformance::Fixture;
use crate::conformance::stage::Stage;
use crate::pair::{ChainId, PairOutcome, PairState, Verdict};

/// `HandedOn` ends the lease and lets the next attempt be claimed, and no earlier one.
pub async fn a_pair_that_was_handed_on_waits_for_its_next_attempt(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    let handed_on = PairOutcome::HandedOn { next_attempt: 2 };
    stage.claim_one(pair, ChainId::FIRST, 1).await;
    stage.settle_one(pair, 1, handed_on).await;
    assert_eq!(
        stage.pair_record(pair).await,
        Some(waiting(ChainId::FIRST, 2, None))
    );
    assert_eq!(
        stage.claim_one(pair, ChainId::FIRST, 1).await,
        Verdict::Finished(PairState::Waiting),
        "attempt 1 has been made"
    );
    assert_eq!(
        stage.claim_one(pair, ChainId::FIRST, 2).await,
        Verdict::Granted
    );
    let held = stage.pair_record(pair).await;
    stage.settle_one(pair, 1, handed_on).await;
    stage.settle_one(pair, 1, PairOutcome::Released).await;
    assert_eq!(
        stage.pair_record(pair).await,
        held,
        "a late report of attempt 1 does not take attempt 2 from its holder"
    );
    stage
        .settle_one(pair, 1, PairOutcome::Ended(PairState::Delivered))
        .await;
    assert_eq!(
        stage.claim_one(pair, ChainId::FIRST, 2).await,
        Verdict::Finished(PairState::Delivered),
        "a late success ends the pair"
    );
}

/// `Released` ends the lease and nothing else.
pub async fn a_released_attempt_can_be_claimed_again(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    for _ in 0..3 {
        assert_eq!(
            stage.claim_one(pair, ChainId::FIRST, 1).await,
            Verdict::Granted
        );
        stage.settle_one(pair, 1, PairOutcome::Released).await;
        assert_eq!(
            stage.pair_record(pair).await,
            Some(waiting(ChainId::FIRST, 1, None))
        );
    }
}

/// Whatever a pair has come to, a new chain starts it at attempt 1, and the old chain is over.
pub async fn a_new_chain_takes_over(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let absent = stage.pair();
    let leased = stage.pair();
    stage.claim_one(leased, ChainId::FIRST, 1).await;
    let later = stage.pair();
    stage
        .settle_one(later, 4, PairOutcome::HandedOn { next_attempt: 5 })
        .await;
    let delivered = stage.pair();
    stage
        .settle_one(delivered, 1, PairOutcome::Ended(PairState::Delivered))
        .await;
    for pair in [absent, leased, later, delivered] {
        stage.open_chain(pair, TASK).await;
        let fresh = Some(waiting(TASK, 1, None));
        assert_eq!(
            stage.pair_record(pair).await,
            fresh,
            "a new chain waits for its attempt 1"
        );
        for attempt in [1, 5, 6] {
            assert_eq!(
                stage.claim_one(pair, ChainId::FIRST, attempt).await,
                Verdict::Superseded
            );
        }
        for outcome in [
            PairOutcome::Ended(PairState::Delivered),
            PairOutcome::HandedOn { next_attempt: 6 },
            PairOutcome::Released,
        ] {
            stage.settle_one(pair, 5, outcome).await;
        }
        assert_eq!(
            stage.pair_record(pair).await,
            fresh,
            "what the old chain settles does not count"
        );
        assert_eq!(stage.claim_one(pair, TASK, 1).await, Verdict::Granted);
    }
}

/// A task that runs again opens its chain again: nothing that has happened in it is undone.
pub async fn opening_the_current_chain_again_changes_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let pair = stage.pair();
    stage.open_chain(pair, TASK).await;
    stage.claim_one(pair, TASK, 1).await;
    let held = stage.pair_record(pair).await;
    stage.open_chain(pair, TASK).await;
    assert_eq!(
        stage.pair_record(pair).await,
        held,
        "it takes no lease away"
    );
    let handed_on = PairOutcome::HandedOn { next_attempt: 2 };
    let ended = PairOutcome::Ended(PairState::Dead);
    for (attempt, outcome) in [(1, handed_on), (2, ended)] {
        let settlement = stage.settlement_of(pair, TASK, attempt, outcome);
        stage.settle(vec![settlement]).await;
        let before = stage.pair_record(pair).await;
        stage.open_chain(pair, TASK).await;
        assert_eq!(
            stage.pair_record(pair).await,
            before,
            "it begins nothing anew after {outcome:?}"
        );
    }
}
