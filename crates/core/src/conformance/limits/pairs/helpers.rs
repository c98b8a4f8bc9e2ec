//! Claims, settlements, and the calls that every case makes.

use std::sync::Arc;

use crate::conformance::stage::{LONG, Stage, together};
use crate::pair::{ChainId, PairKey, PairOutcome, PairRecord, PairState, Verdict};
use crate::ports::{Claim, Settlement};
use crate::time::Timestamp;

pub(super) const TASK: ChainId = ChainId(0xfeed_0000_0000_0001);

impl Stage<'_> {
    pub(crate) fn pair(&mut self) -> PairKey {
        let now = self.now();
        PairKey {
            app: self.chance.app(now),
            message: self.chance.message(now),
            endpoint: self.chance.endpoint(now),
        }
    }

    /// A claim whose lease and record last for as long as the case runs.
    pub(super) fn claim_of(&mut self, pair: PairKey, chain: ChainId, attempt: u16) -> Claim {
        let now = self.now();
        Claim {
            pair,
            chain,
            attempt,
            lease_until: now + LONG,
            keep_until: now + LONG * 2,
        }
    }

    pub(super) fn settlement_of(
        &mut self,
        pair: PairKey,
        chain: ChainId,
        attempt: u16,
        outcome: PairOutcome,
    ) -> Settlement {
        Settlement {
            pair,
            chain,
            attempt,
            outcome,
            keep_until: self.now() + LONG * 2,
        }
    }

    pub(crate) async fn claim(&mut self, claims: &[Claim]) -> Vec<Verdict> {
        let now = self.now();
        let verdicts = self.ports.limits.claim(now, claims).await;
        let verdicts = verdicts.expect("attempts can be claimed");
        assert_eq!(verdicts.len(), claims.len(), "one verdict for each claim");
        verdicts
    }

    pub(crate) async fn claim_one(
        &mut self,
        pair: PairKey,
        chain: ChainId,
        attempt: u16,
    ) -> Verdict {
        let claim = self.claim_of(pair, chain, attempt);
        self.claim(&[claim]).await[0]
    }

    pub(crate) async fn settle(&mut self, settlements: Vec<Settlement>) {
        let now = self.now();
        let settled = self.ports.limits.settle(now, settlements).await;
        settled.expect("attempts can be settled");
    }

    pub(crate) async fn settle_one(&mut self, pair: PairKey, attempt: u16, outcome: PairOutcome) {
        let settlement = self.settlement_of(pair, ChainId::FIRST, attempt, outcome);
        self.settle(vec![settlement]).await;
    }

    pub(crate) async fn pair_record(&mut self, pair: PairKey) -> Option<PairRecord> {
        let now = self.now();
        let record = self.ports.limits.pair(now, pair).await;
        record.expect("pair records can be read")
    }

    pub(super) async fn open_chain(&mut self, pair: PairKey, chain: ChainId) {
        let now = self.now();
        let opened = self
            .ports
            .limits
            .open_chain(now, pair, chain, now + LONG * 2)
            .await;
        opened.expect("a chain can be opened");
    }
}

pub(super) const fn waiting(
    chain: ChainId,
    attempt: u16,
    leased_until: Option<Timestamp>,
) -> PairRecord {
    PairRecord {
        chain,
        attempt,
        state: PairState::Waiting,
        leased_until,
    }
}

pub(super) const fn ended(chain: ChainId, attempt: u16, state: PairState) -> PairRecord {
    PairRecord {
        chain,
        attempt,
        state,
        leased_until: None,
    }
}

/// Claims all of `claims` at the same moment, each in a call of its own.
pub(super) async fn race(stage: &mut Stage<'_>, claims: Vec<Claim>) -> Vec<Verdict> {
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    together(claims.len(), |index| {
        let (limits, claim) = (Arc::clone(&limits), claims[index]);
        async move { limits.claim(now, &[claim]).await.unwrap()[0] }
    })
    .await
}

pub(super) fn assert_one_granted(verdicts: &[Verdict], until: Timestamp) {
    let granted = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Granted)
        .count();
    assert_eq!(
        granted, 1,
        "exactly one of concurrent claims is granted: {verdicts:?}"
    );
    let leased = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Leased(until));
    assert_eq!(
        leased.count(),
        verdicts.len() - 1,
        "the others are told until when it is leased: {verdicts:?}"
    );
}
