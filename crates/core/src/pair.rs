//! The guard against two carriers of one delivery.
//!
//! At most one record exists per (message, endpoint). Whoever is about to make an attempt that somebody else
//! might be making, too, claims it first; whoever knows how an attempt ended settles it. Both are decided
//! here, purely; a backend only has to apply a decision atomically.
//!
//! **Claim** of attempt `n` in chain `c`:
//!
//! | the record | verdict |
//! |---|---|
//! | none | granted |
//! | another chain is current | superseded |
//! | final | finished |
//! | beyond attempt n | finished: that attempt has been made |
//! | leased, and the lease lives | leased: look again at its end |
//! | else | granted: attempt n, leased |
//!
//! **Settle** of attempt `n` in chain `c`:
//!
//! | the record | effect |
//! |---|---|
//! | another chain is current, or final | none: the first final state stands |
//! | beyond attempt n, and the outcome is not final | none |
//! | else | the outcome's state; the lease ends |

use serde::{Deserialize, Serialize};

use crate::id::{AppId, EndpointId, MessageId};
use crate::time::Timestamp;

/// Which pair: the application is part of the key because records are partitioned by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairKey {
    pub app: AppId,
    pub message: MessageId,
    pub endpoint: EndpointId,
}

/// One sequence of attempts for a pair. Resend, recover, redrive and cancel each open another, named by the
/// task that asked, so that opening it twice is opening it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub u64);

impl ChainId {
    /// The chain that begins when a message is matched.
    pub const FIRST: Self = Self(0);
}

/// How far a pair has come in its current chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PairState {
    /// Attempt `attempt` is to be made, or is being made where a lease lives.
    Waiting = 0,
    Delivered = 1,
    Dead = 2,
    Canceled = 3,
}

impl PairState {
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting)
    }

    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Waiting),
            1 => Some(Self::Delivered),
            2 => Some(Self::Dead),
            3 => Some(Self::Canceled),
            _ => None,
        }
    }
}

/// What is stored per pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairRecord {
    pub chain: ChainId,
    /// The attempt that is to be made next, or was the last one.
    pub attempt: u16,
    pub state: PairState,
    /// Until when somebody holds that attempt.
    pub leased_until: Option<Timestamp>,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt is yours until the lease ends.
    Granted,
    /// Somebody else holds it until then.
    Leased(Timestamp),
    /// The attempt has been made, or the pair has ended in this state.
    Finished(PairState),
    /// Another chain has taken over.
    Superseded,
}

/// Decides a claim. Where it is granted, the second value is the record to store.
#[must_use]
pub fn claim(
    record: Option<&PairRecord>,
    chain: ChainId,
    attempt: u16,
    now: Timestamp,
    lease_until: Timestamp,
) -> (Verdict, Option<PairRecord>) {
    if let Some(refusal) = record.and_then(|record| refusal(record, chain, attempt, now)) {
        return (refusal, None);
    }
    let granted = PairRecord {
        chain,
        attempt,
        state: PairState::Waiting,
        leased_until: Some(lease_until),
    };
    (Verdict::Granted, Some(granted))
}

fn refusal(record: &PairRecord, chain: ChainId, attempt: u16, now: Timestamp) -> Option<Verdict> {
    if record.chain != chain {
        return Some(Verdict::Superseded);
    }
    if record.state.is_final() || record.attempt > attempt {
        return Some(Verdict::Finished(record.state));
    }
    record
        .leased_until
        .filter(|end| *end > now)
        .map(Verdict::Leased)
}

/// How an attempt ended, for its pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairOutcome {
    /// A final state.
    Ended(PairState),
    /// The next attempt is durable in the broker.
    HandedOn { next_attempt: u16 },
    /// The attempt was not made after all; it is durable in the broker once more.
    Released,
}

/// Decides what to store when attempt `attempt` of `chain` ended with `outcome`; `None` where the record stands.
#[must_use]
pub fn settle(
    record: Option<&PairRecord>,
    chain: ChainId,
    attempt: u16,
    outcome: PairOutcome,
) -> Option<PairRecord> {
    let (attempt_after, state) = match outcome {
        PairOutcome::Ended(state) => (attempt, state),
        PairOutcome::HandedOn { next_attempt } => (next_attempt, PairState::Waiting),
        PairOutcome::Released => (attempt, PairState::Waiting),
    };
    if let Some(record) = record {
        let overtaken = record.attempt > attempt && !state.is_final();
        if record.chain != chain || record.state.is_final() || overtaken {
            return None;
        }
    }
    Some(PairRecord {
        chain,
        attempt: attempt_after,
        state,
        leased_until: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const LATER: Timestamp = Timestamp::from_millis(21_000);
    const OTHER: ChainId = ChainId(7);

    fn record(attempt: u16, state: PairState, leased_until: Option<Timestamp>) -> PairRecord {
        PairRecord {
            chain: ChainId::FIRST,
            attempt,
            state,
            leased_until,
        }
    }

    fn verdict(record: Option<PairRecord>, chain: ChainId, attempt: u16) -> Verdict {
        claim(record.as_ref(), chain, attempt, NOW, LATER).0
    }

    #[test]
    fn claims_follow_the_table() {
        let waiting = record(2, PairState::Waiting, None);
        let leased = record(2, PairState::Waiting, Some(LATER));
        let lapsed = record(2, PairState::Waiting, Some(NOW));
        assert_eq!(verdict(None, ChainId::FIRST, 1), Verdict::Granted);
        assert_eq!(verdict(Some(waiting), OTHER, 2), Verdict::Superseded);
        assert_eq!(
            verdict(Some(waiting), ChainId::FIRST, 1),
            Verdict::Finished(PairState::Waiting)
        );
        assert_eq!(verdict(Some(waiting), ChainId::FIRST, 2), Verdict::Granted);
        assert_eq!(
            verdict(Some(leased), ChainId::FIRST, 2),
            Verdict::Leased(LATER)
        );
        assert_eq!(
            verdict(Some(leased), ChainId::FIRST, 3),
            Verdict::Leased(LATER)
        );
        assert_eq!(verdict(Some(lapsed), ChainId::FIRST, 2), Verdict::Granted);
        for state in [PairState::Delivered, PairState::Dead, PairState::Canceled] {
            let ended = record(2, state, None);
            assert_eq!(
                verdict(Some(ended), ChainId::FIRST, 3),
                Verdict::Finished(state)
            );
        }
    }

    #[test]
    fn the_first_final_state_stands() {
        let delivered = settle(
            None,
            ChainId::FIRST,
            1,
            PairOutcome::Ended(PairState::Delivered),
        )
        .unwrap();
        let second = settle(
            Some(&delivered),
            ChainId::FIRST,
            1,
            PairOutcome::Ended(PairState::Dead),
        );
        assert_eq!(second, None);
        let late = settle(
            Some(&delivered),
            ChainId::FIRST,
            1,
            PairOutcome::HandedOn { next_attempt: 2 },
        );
        assert_eq!(late, None);
    }

    #[test]
    fn a_late_failure_does_not_take_a_pair_back_but_a_late_success_ends_it() {
        let third = record(3, PairState::Waiting, Some(LATER));
        let failed = settle(
            Some(&third),
            ChainId::FIRST,
            1,
            PairOutcome::HandedOn { next_attempt: 2 },
        );
        assert_eq!(failed, None);
        let delivered = settle(
            Some(&third),
            ChainId::FIRST,
            1,
            PairOutcome::Ended(PairState::Delivered),
        );
        assert_eq!(delivered.unwrap().state, PairState::Delivered);
    }

    proptest! {
        /// Whatever happens in whatever order, one attempt is never granted to two while the first one's lease lives.
        #[test]
        fn no_attempt_has_two_holders(steps in proptest::collection::vec((1u16..4, 0i64..30_000, 0u8..4), 1..60)) {
            let mut stored: Option<PairRecord> = None;
            let mut held: Option<(u16, Timestamp)> = None;
            let mut now = Timestamp::EPOCH;
            for (attempt, pass, action) in steps {
                now = now + std::time::Duration::from_millis(pass.unsigned_abs());
                let end = now + std::time::Duration::from_secs(20);
                if action == 0 {
                    if let Some((held_attempt, _)) = held.take() {
                        let outcome = PairOutcome::HandedOn { next_attempt: held_attempt + 1 };
                        stored = settle(stored.as_ref(), ChainId::FIRST, held_attempt, outcome).or(stored);
                    }
                    continue;
                }
                let (verdict, record) = claim(stored.as_ref(), ChainId::FIRST, attempt, now, end);
                if verdict == Verdict::Granted {
                    prop_assert!(held.is_none_or(|(_, lease)| lease <= now), "two holders at {now}");
                    held = Some((attempt, end));
                    stored = record;
                }
            }
        }
    }
}
