//! Pair records: of everybody who carries an attempt, one makes it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, SHORT, Stage, together};
use crate::pair::{ChainId, PairKey, PairOutcome, PairRecord, PairState, Verdict};
use crate::ports::{Claim, Settlement};
use crate::time::Timestamp;

const TASK: ChainId = ChainId(0xfeed_0000_0000_0001);

impl Stage<'_> {
    pub(super) fn pair(&mut self) -> PairKey {
        let now = self.now();
        PairKey {
            app: self.chance.app(now),
            message: self.chance.message(now),
            endpoint: self.chance.endpoint(now),
        }
    }

    /// A claim whose lease and record last for as long as the case runs.
    fn claim_of(&mut self, pair: PairKey, chain: ChainId, attempt: u16) -> Claim {
        let now = self.now();
        Claim {
            pair,
            chain,
            attempt,
            lease_until: now + LONG,
            keep_until: now + LONG * 2,
        }
    }

    fn settlement_of(
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

    pub(super) async fn claim(&mut self, claims: &[Claim]) -> Vec<Verdict> {
        let now = self.now();
        let verdicts = self.ports.limits.claim(now, claims).await;
        let verdicts = verdicts.expect("attempts can be claimed");
        assert_eq!(verdicts.len(), claims.len(), "one verdict for each claim");
        verdicts
    }

    async fn claim_one(&mut self, pair: PairKey, chain: ChainId, attempt: u16) -> Verdict {
        let claim = self.claim_of(pair, chain, attempt);
        self.claim(&[claim]).await[0]
    }

    pub(super) async fn settle(&mut self, settlements: Vec<Settlement>) {
        let now = self.now();
        let settled = self.ports.limits.settle(now, settlements).await;
        settled.expect("attempts can be settled");
    }

    async fn settle_one(&mut self, pair: PairKey, attempt: u16, outcome: PairOutcome) {
        let settlement = self.settlement_of(pair, ChainId::FIRST, attempt, outcome);
        self.settle(vec![settlement]).await;
    }

    pub(super) async fn pair_record(&mut self, pair: PairKey) -> Option<PairRecord> {
        let now = self.now();
        let record = self.ports.limits.pair(now, pair).await;
        record.expect("pair records can be read")
    }

    async fn open_chain(&mut self, pair: PairKey, chain: ChainId) {
        let now = self.now();
        let opened = self
            .ports
            .limits
            .open_chain(now, pair, chain, now + LONG * 2)
            .await;
        opened.expect("a chain can be opened");
    }
}

const fn waiting(chain: ChainId, attempt: u16, leased_until: Option<Timestamp>) -> PairRecord {
    PairRecord {
        chain,
        attempt,
        state: PairState::Waiting,
        leased_until,
    }
}

const fn ended(chain: ChainId, attempt: u16, state: PairState) -> PairRecord {
    PairRecord {
        chain,
        attempt,
        state,
        leased_until: None,
    }
}

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

/// Claims all of `claims` at the same moment, each in a call of its own.
async fn race(stage: &mut Stage<'_>, claims: Vec<Claim>) -> Vec<Verdict> {
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    together(claims.len(), |index| {
        let (limits, claim) = (Arc::clone(&limits), claims[index]);
        async move { limits.claim(now, &[claim]).await.unwrap()[0] }
    })
    .await
}

fn assert_one_granted(verdicts: &[Verdict], until: Timestamp) {
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
