//! Pair records.

use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairRecord, PairState, Verdict};
use postrider_core::ports::{Claim, PortError, Settlement};
use postrider_core::time::Timestamp;
use redis::{FromRedisValue, Value};
use sha2::{Digest, Sha256};

use super::calls::{Groups, in_part};
use super::{companion, corrupt, failed, millis, six_bytes};
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
    /// What the names of its windows begin with.
    key: Vec<u8>,
    /// Its own key.
    own: Vec<u8>,
    made: i64,
    digest: [u8; 12],
}

impl Place {
    /// What is common to claims and settlements, as scripts unpack it.
    fn packed(&self, numbers: &[u8; 4], chain: ChainId, attempt: u16, keep: Timestamp) -> Vec<u8> {
        [
            &numbers[..],
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

    /// On a single server a record's own key need not share the slot of the windows.
    fn place(&self, pair: &PairKey, is_cluster: bool) -> Place {
        let hash = Sha256::new_with_prefix(pair.message.as_bytes())
            .chain_update(pair.endpoint.as_bytes())
            .finalize();
        let [.., last] = pair.message.as_bytes();
        let tag = Tag::app_part(pair.app, u64::from(*last) % PARTS);
        let mut digest = [0; 12];
        digest.copy_from_slice(&hash[..12]);
        let own = if is_cluster {
            self.space.key(&tag, "p", &digest)
        } else {
            self.space.bare("p", &digest)
        };
        Place {
            key: self.space.key(&tag, "lp", b""),
            own,
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
            let place = self.place(&claim.pair, link.is_cluster());
            groups.add(place.key.clone(), place.own.clone(), |numbers| {
                let common = place.packed(numbers, claim.chain, claim.attempt, claim.keep_until);
                [&common[..], &six_bytes(millis(claim.lease_until))].concat()
            });
        }
        let answers = groups.run(&self.claim, link, &first(now)).await?;
        in_order(claims.len(), answers).ok_or_else(|| corrupt("a verdict"))
    }

    pub(super) async fn settle(
        &self,
        link: &Link,
        now: Timestamp,
        offset: Option<i64>,
        settlements: &[Settlement],
    ) -> Result<(), PortError> {
        let is_cluster = link.is_cluster();
        let places: Vec<Place> = settlements
            .iter()
            .map(|settled| self.place(&settled.pair, is_cluster))
            .collect();
        let all: Vec<(&Settlement, &Place)> = settlements.iter().zip(&places).collect();
        let Some(offset) = offset.filter(|_| !is_cluster) else {
            return self.settle_by_script(link, now, &all).await;
        };
        let (ends, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(settled, _)| first_end(settled, now).is_some());
        let mut left = Vec::new();
        for some in ends.chunks(AT_ONCE) {
            left.extend(end_at_once(link, now, offset, some).await?);
        }
        left.extend(others);
        self.settle_by_script(link, now, &left).await
    }

    async fn settle_by_script(
        &self,
        link: &Link,
        now: Timestamp,
        settlements: &[(&Settlement, &Place)],
    ) -> Result<(), PortError> {
        let mut groups = Groups::new(link);
        for (settled, place) in settlements {
            let (after, state) = effect(settled);
            groups.add(place.key.clone(), place.own.clone(), |numbers| {
                let common =
                    place.packed(numbers, settled.chain, settled.attempt, settled.keep_until);
                [&common[..], &after.to_be_bytes(), &[state as u8]].concat()
            });
        }
        groups.run::<()>(&self.settle, link, &first(now)).await?;
        Ok(())
    }

    pub(super) fn open_chain(
        &self,
        link: &Link,
        now: Timestamp,
        pair: &PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Call<'_> {
        let place = self.place(pair, link.is_cluster());
        self.open_chain
            .call(&[&place.key, &place.own, &companion(&place.key)])
            .arg(millis(now))
            .arg(place.made)
            .arg(&place.digest[..])
            .arg(&chain.0.to_be_bytes()[..])
            .arg(millis(keep_until))
    }

    pub(super) fn pair(&self, link: &Link, now: Timestamp, pair: &PairKey) -> Call<'_> {
        let place = self.place(pair, link.is_cluster());
        self.pair
            .call(&[&place.key, &place.own, &companion(&place.key)])
            .arg(millis(now))
            .arg(place.made)
            .arg(&place.digest[..])
    }
}

/// Settlements of one pipeline.
const AT_ONCE: usize = 128;
/// What is kept for longer lies in a window.
const MINUTES: i64 = 600_000;

/// How long to keep the record of a pair that ends with the first attempt of its first chain, in a key of its own: as nearly all
/// do.
fn first_end(settled: &Settlement, now: Timestamp) -> Option<i64> {
    let is_first = settled.chain == ChainId::FIRST && settled.attempt == 1;
    let has_ended = matches!(settled.outcome, PairOutcome::Ended(_));
    let kept = millis(settled.keep_until) - millis(now);
    (is_first && has_ended && (1..=MINUTES).contains(&kept)).then_some(kept)
}

/// Writes each of these records where there is none. Returns those that are left to the script: those of pairs that have one
/// already. Which of them may lie in a window is looked up behind the write: whoever claims a pair after that finds the new
/// record, and whoever claimed it before is found.
async fn end_at_once<'a>(
    link: &Link,
    now: Timestamp,
    offset: i64,
    ends: &[(&'a Settlement, &'a Place)],
) -> Result<Vec<(&'a Settlement, &'a Place)>, PortError> {
    let mut pipeline = redis::pipe();
    for (settled, place) in ends {
        let kept = first_end(settled, now).unwrap_or(1);
        let (attempt, state) = effect(settled);
        let until = six_bytes(millis(now) + kept + offset);
        let record = [&until[..], &attempt.to_be_bytes(), &[state as u8]].concat();
        let set = pipeline.cmd("SET").arg(&place.own).arg(record);
        set.arg("NX").arg("GET").arg("PX").arg(kept);
        // The first hash of the window: with nothing under '' and the digest, there is no record in any.
        let window = place.made.div_euclid(3_600_000).to_string();
        let first = [&place.key[..], b"l", window.as_bytes()].concat();
        pipeline.cmd("HMGET").arg(first).arg("").arg(&place.digest);
    }
    let answers: Vec<Value> = pipeline
        .query_async(&mut link.clone())
        .await
        .map_err(|error| in_part(failed(&error)))?;
    let is_left = |answers: &[Value]| {
        let is_new = matches!(answers[0], Value::Nil);
        let nowhere_else = matches!(&answers[1], Value::Array(found)
            if found.iter().all(|value| matches!(value, Value::Nil)));
        !(is_new && nowhere_else)
    };
    let answered = ends.iter().zip(answers.chunks_exact(2));
    let left = answered.filter(|(_, answers)| is_left(answers));
    Ok(left.map(|(end, _)| *end).collect())
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
