//! Pair records.

use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairRecord, PairState, Verdict};
use postrider_core::ports::{Claim, PortError, Settlement};
use postrider_core::time::Timestamp;
use redis::{FromRedisValue, Value};
use sha2::{Digest, Sha256};

use super::calls::Groups;
use super::{companion, corrupt, millis, six_bytes};
use crate::redis::keys::{Space, Tag};
use crate::redis::script::{Atomic, Call};
use crate::redis::server::Link;

/// An application's pairs lie in so many slots: a big application is not one slot.
const PARTS: u64 = 16;

macro_rules! script {
    ($name:literal) => {
        Atomic::new(concat!(
            include_str!("lua/entries.lua"),
            include_str!("lua/pairs.lua"),
            include_str!($name)
        ))
    };
}

#[derive(Debug)]
pub(super) struct Pairs {
    space: Space,
    claim: Atomic,
    settle: Atomic,
    open_chain: Atomic,
    pair: Atomic,
}

/// Where a pair's record is found.
struct Place {
    key: Vec<u8>,
    made: i64,
    digest: [u8; 12],
}

impl Place {
    /// What is common to claims and settlements, as scripts unpack it.
    fn packed(&self, number: usize, chain: ChainId, attempt: u16, keep: Timestamp) -> Vec<u8> {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        [
            &number.to_be_bytes()[..],
            &six_bytes(self.made),
            &self.digest,
            &chain.0.to_be_bytes(),
            &attempt.to_be_bytes(),
            &six_bytes(millis(keep)),
        ]
        .concat()
    }
}

impl Pairs {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            claim: script!("lua/claim.lua"),
            settle: script!("lua/settle.lua"),
            open_chain: script!("lua/open_chain.lua"),
            pair: script!("lua/pair.lua"),
        }
    }

    fn place(&self, pair: &PairKey) -> Place {
        let hash = Sha256::new_with_prefix(pair.message.as_bytes())
            .chain_update(pair.endpoint.as_bytes())
            .finalize();
        let [.., last] = pair.message.as_bytes();
        let tag = Tag::app_part(pair.app, u64::from(*last) % PARTS);
        let mut digest = [0; 12];
        digest.copy_from_slice(&hash[..12]);
        Place {
            key: self.space.key(&tag, "lp", b""),
            made: millis(pair.message.created_at()),
            digest,
        }
    }

    pub(super) async fn claim(
        &self,
        link: &Link,
        now: Timestamp,
        claims: &[Claim],
    ) -> Result<Vec<Verdict>, PortError> {
        let mut groups = Groups::new(link);
        for claim in claims {
            let place = self.place(&claim.pair);
            groups.add(place.key.clone(), |number| {
                let common = place.packed(number, claim.chain, claim.attempt, claim.keep_until);
                vec![[&common[..], &six_bytes(millis(claim.lease_until))].concat()]
            });
        }
        let answers = groups.run(&self.claim, link, &first(now)).await?;
        in_order(claims.len(), answers).ok_or_else(|| corrupt("a verdict"))
    }

    pub(super) async fn settle(
        &self,
        link: &Link,
        now: Timestamp,
        settlements: &[Settlement],
    ) -> Result<(), PortError> {
        let mut groups = Groups::new(link);
        for settled in settlements {
            let place = self.place(&settled.pair);
            let (after, state) = effect(settled);
            groups.add(place.key.clone(), |number| {
                let common =
                    place.packed(number, settled.chain, settled.attempt, settled.keep_until);
                vec![[&common[..], &after.to_be_bytes(), &[state as u8]].concat()]
            });
        }
        groups.run::<()>(&self.settle, link, &first(now)).await?;
        Ok(())
    }

    pub(super) fn open_chain(
        &self,
        now: Timestamp,
        pair: &PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Call<'_> {
        let place = self.place(pair);
        self.open_chain
            .call(&[&place.key, &companion(&place.key)])
            .arg(millis(now))
            .arg(place.made)
            .arg(&place.digest[..])
            .arg(&chain.0.to_be_bytes()[..])
            .arg(millis(keep_until))
    }

    pub(super) fn pair(&self, now: Timestamp, pair: &PairKey) -> Call<'_> {
        let place = self.place(pair);
        self.pair
            .call(&[&place.key, &companion(&place.key)])
            .arg(millis(now))
            .arg(place.made)
            .arg(&place.digest[..])
    }
}

fn first(now: Timestamp) -> [Vec<u8>; 1] {
    [millis(now).to_string().into_bytes()]
}

/// The attempt and the state that an outcome leaves, where it counts.
const fn effect(settled: &Settlement) -> (u16, PairState) {
    match settled.outcome {
        PairOutcome::Ended(state) => (settled.attempt, state),
        PairOutcome::HandedOn { next_attempt } => (next_attempt, PairState::Waiting),
        PairOutcome::Released => (settled.attempt, PairState::Waiting),
    }
}

/// Verdicts of several calls, in the order of the claims.
fn in_order(count: usize, answers: Vec<(Vec<usize>, Vec<i64>)>) -> Option<Vec<Verdict>> {
    let mut verdicts = vec![None; count];
    for (places, numbers) in answers {
        for (place, verdict) in places.into_iter().zip(numbers.chunks_exact(2)) {
            verdicts[place] = read(verdict[0], verdict[1]);
        }
    }
    verdicts.into_iter().collect()
}

fn read(verdict: i64, value: i64) -> Option<Verdict> {
    match verdict {
        0 => Some(Verdict::Granted),
        1 => Some(Verdict::Leased(Timestamp::from_millis(value))),
        2 => state(value).map(Verdict::Finished),
        3 => Some(Verdict::Superseded),
        _ => None,
    }
}

fn state(value: i64) -> Option<PairState> {
    PairState::from_u8(u8::try_from(value).ok()?)
}

/// A record as the script tells it, if there is one.
pub(super) fn record(found: &[Value]) -> Result<Option<PairRecord>, PortError> {
    let read = match found {
        [] => return Ok(None),
        [attempt, state, chain] => told(attempt, state, chain, None),
        [attempt, state, chain, lease] => told(attempt, state, chain, Some(lease)),
        _ => None,
    };
    read.map(Some).ok_or_else(|| corrupt("a pair record"))
}

fn told(
    attempt: &Value,
    in_state: &Value,
    chain: &Value,
    lease: Option<&Value>,
) -> Option<PairRecord> {
    let chain = Vec::<u8>::from_redis_value_ref(chain).ok()?;
    let leased_until = match lease {
        Some(lease) => Some(Timestamp::from_millis(
            i64::from_redis_value_ref(lease).ok()?,
        )),
        None => None,
    };
    Some(PairRecord {
        chain: ChainId(u64::from_be_bytes(chain.try_into().ok()?)),
        attempt: u16::from_redis_value_ref(attempt).ok()?,
        state: state(i64::from_redis_value_ref(in_state).ok()?)?,
        leased_until,
    })
}
