//! Pair records, as both stores have written them since version 1. Included by the tests of each.

use postrider_core::id::MessageId;
use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairRecord, PairState};
use postrider_core::ports::{Claim, Limits, Settlement};
use postrider_core::samples::{self, NOW};
use postrider_core::time::Timestamp;

pub(crate) const CHANGED: &str = "would be stored otherwise. Releases before this one run beside it, and would not read \
     it: a change of how pair records are stored is version 2 of the layout, beside version 1";

/// Records that are kept, and leased, until times that are far away, so that no clock matters.
pub(crate) const KEPT: Timestamp = Timestamp::from_millis(4_000_000_000_000);
const LEASED: Timestamp = Timestamp::from_millis(3_999_999_999_999);

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) pair: PairKey,
    pub(crate) record: PairRecord,
}

fn case(number: u8, name: &'static str, record: PairRecord) -> Case {
    Case {
        name,
        pair: PairKey {
            app: samples::event().app,
            message: MessageId::new(NOW, [number; 15]),
            endpoint: samples::endpoint().id,
        },
        record,
    }
}

/// Nothing here is ever changed, only added to.
pub(crate) fn cases() -> Vec<Case> {
    let record = |chain, attempt, state, leased_until| PairRecord {
        chain,
        attempt,
        state,
        leased_until,
    };
    let (first, resent) = (ChainId::FIRST, ChainId(0xfeed_0000_0000_0001));
    vec![
        case(1, "waiting", record(first, 3, PairState::Waiting, None)),
        case(
            2,
            "leased",
            record(first, 2, PairState::Waiting, Some(LEASED)),
        ),
        case(3, "delivered", record(first, 1, PairState::Delivered, None)),
        case(4, "dead", record(first, u16::MAX, PairState::Dead, None)),
        case(5, "canceled", record(first, 1, PairState::Canceled, None)),
        case(6, "resent", record(resent, 1, PairState::Waiting, None)),
        case(
            7,
            "resent-leased",
            record(ChainId(u64::MAX), 1, PairState::Waiting, Some(LEASED)),
        ),
        case(
            8,
            "resent-delivered",
            record(resent, 9, PairState::Delivered, None),
        ),
    ]
}

/// Brings a record about as the engine would.
pub(crate) async fn write(limits: &dyn Limits, now: Timestamp, case: &Case) {
    let (pair, record) = (case.pair, case.record);
    let PairRecord { chain, attempt, .. } = record;
    if let Some(lease_until) = record.leased_until {
        let claim = Claim {
            pair,
            chain,
            attempt,
            lease_until,
            keep_until: KEPT,
        };
        limits.claim(now, &[claim]).await.unwrap();
        return;
    }
    let (attempt, outcome) = match record.state {
        PairState::Waiting => (
            attempt.max(2) - 1,
            PairOutcome::HandedOn {
                next_attempt: attempt,
            },
        ),
        state => (attempt, PairOutcome::Ended(state)),
    };
    let settlement = Settlement {
        pair,
        chain,
        attempt,
        outcome,
        keep_until: KEPT,
    };
    limits.settle(now, vec![settlement]).await.unwrap();
}
