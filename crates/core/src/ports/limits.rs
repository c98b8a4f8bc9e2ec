//! What keeps a delivery from happening twice, too often, or in vain, and from ending one process after the other.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{PortError, Probe};
use crate::id::{AppId, EndpointId, MessageId, OrgId};
use crate::name::Uid;
use crate::pair::{ChainId, PairKey, PairOutcome, PairRecord, Verdict};
use crate::time::Timestamp;

/// Short-lived shared state: reservations, pair records, rate limits, breakers, trials. Each call is atomic per entry of
/// its list; entries are applied in their order and are otherwise independent of each other. Where several calls ask
/// for a record to be kept, the longest wish stands.
///
/// Rate limits need not survive a crash. Everything else does.
#[async_trait]
pub trait Limits: Probe {
    /// Reserves an idempotency key and, for messages, an event id, before the work that they protect is done.
    ///
    /// | what is stored under the key | answer |
    /// |---|---|
    /// | nothing, or it has expired | `Fresh`: reserved, pending, leased to this caller |
    /// | another request's hash | `KeyReused` |
    /// | pending, and its lease lives | `Pending` until then |
    /// | pending by this very wish, and nobody resumed it since | `Fresh`, as before: a connection that broke made it be asked twice |
    /// | pending, and its lease has ended | `Resume` with the identifier of the first try: reserved anew for this caller, with its times |
    /// | done | `Done` with what was answered |
    ///
    /// A reservation with a key is named by it, and takes its event id along. One without a key is named by its event
    /// id: the table holds for what is stored under that.
    ///
    /// An event id that belongs to another reservation, whatever has become of that one, answers `EventIdTaken` with
    /// that one's identifier; nothing is reserved then. A resumed reservation keeps its own event id. Of concurrent
    /// callers with one key, exactly one gets `Fresh` or `Resume`; of concurrent callers with one event id under
    /// different keys, too.
    /// A reservation that names neither stores nothing and is `Fresh`: it is how a version is asked for.
    async fn reserve(
        &self,
        now: Timestamp,
        reservation: &Reservation,
    ) -> Result<Reserved, PortError>;

    /// Marks reservations as done, with the answer to be replayed. The caller need not wait for it: a reservation
    /// that stays pending is resumed.
    async fn complete(
        &self,
        now: Timestamp,
        done: Vec<(ReservationKey, Answer)>,
    ) -> Result<(), PortError>;

    /// Gives a reservation up with its event id, where nothing was done for certain: the next caller is `Fresh`.
    /// What belongs to another reservation is left alone, and nothing to give up is no error.
    async fn release(&self, key: &ReservationKey) -> Result<(), PortError>;

    /// The try that reserved for `message` has ended, and nobody knows what came of it: from `until` on it may be resumed,
    /// not only when its lease would have ended. A lease that ends earlier is left alone, and so are reservations that
    /// are done or another message's.
    async fn lapse(
        &self,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Result<(), PortError>;

    /// Claims attempts, as [`crate::pair::claim`] decides. Verdicts come in the order of the claims.
    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Verdict>, PortError>;

    /// Settles attempts, as [`crate::pair::settle`] decides.
    async fn settle(&self, now: Timestamp, settlements: Vec<Settlement>) -> Result<(), PortError>;

    /// Makes `chain` the current one, waiting for its attempt 1, whatever was before. Opening the current chain
    /// again changes nothing but how long the record is kept.
    async fn open_chain(
        &self,
        now: Timestamp,
        pair: PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Result<(), PortError>;

    async fn pair(&self, now: Timestamp, pair: PairKey) -> Result<Option<PairRecord>, PortError>;

    /// Takes permits by the generic cell rate algorithm (GCRA): never more than rate × time + burst are granted,
    /// over all callers together, also where their clocks differ; and not fewer: after a pause the burst is there, and
    /// one more with each interval, however short. What is not granted costs nothing.
    async fn take(&self, now: Timestamp, request: &RateRequest) -> Result<RateGrant, PortError>;

    /// An endpoint's breaker, with the version that `set_breaker` expects; `None` is closed and without history.
    async fn breaker(
        &self,
        endpoint: EndpointId,
    ) -> Result<Option<(BreakerRecord, u64)>, PortError>;

    /// Compare and set: stores `record` where the version is still `expect` (`None`: none is stored). Returns
    /// whether it was. Exactly one of several concurrent callers wins, which is how a single probe is chosen.
    async fn set_breaker(
        &self,
        endpoint: EndpointId,
        record: &BreakerRecord,
        expect: Option<u64>,
        keep_until: Timestamp,
    ) -> Result<bool, PortError>;

    /// Counts one more trial of something that may end the process, before it is begun. Returns how many have begun and
    /// were not ended, this one included: whoever comes back from the dead knows how often it died of it. Of concurrent
    /// callers each is told another number. The count is kept until `keep_until` at least, and begins anew after that.
    async fn begin_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        keep_until: Timestamp,
    ) -> Result<u32, PortError>;

    /// Ends the trial that was begun last, as [`TrialEnd`] says. Ending what was never begun is no error.
    async fn end_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        end: TrialEnd,
    ) -> Result<(), PortError>;

    /// Removes what has expired at `now`, in one small batch. Returns how much; 0 means nothing is left to do.
    /// Expired entries count as absent whether or not this was called. Only breakers, which are read without a time,
    /// are there until they have been removed. A rate limit has expired when it is as good as unused.
    async fn retain(&self, now: Timestamp) -> Result<u64, PortError>;
}

/// What is tried, as the caller names it: a hash, so that it can be named without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrialKey(pub [u8; 16]);

/// How a trial ended, where whoever began it lives to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialEnd {
    /// It does not kill: none of its trials counts any more.
    Acquitted,
    /// Nothing was tried after all: this one does not count, those before it do.
    Withdrawn,
}

/// Where an entry lives: all that one reservation touches lies in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partition {
    Org(OrgId),
    App(AppId),
}

/// Names a reservation: by the hash of an idempotency key with its scope, by an event id, or by both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReservationKey {
    pub partition: Partition,
    pub key: Option<IdempotencyKey>,
    pub event_id: Option<Uid>,
}

/// An idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Of (who asks, method and path, key).
    pub hash: [u8; 16],
    /// Made by a client library, for one call and its repetitions. There is one with nearly every call, and it is soon
    /// forgotten: a backend may keep these otherwise than those that somebody chose. A hash is of one kind only.
    pub automatic: bool,
}

/// A wish to do something once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub key: ReservationKey,
    /// What the new thing will be called if this caller is the first.
    pub candidate: MessageId,
    /// Hash of the request's body: the same key with another body is a mistake.
    pub body: [u8; 16],
    /// When a pending reservation may be resumed by somebody else.
    pub lease_until: Timestamp,
    /// How long the idempotency key is remembered.
    pub key_until: Timestamp,
    /// How long the event id is remembered.
    pub event_id_until: Timestamp,
}

impl Reservation {
    /// A lease that ends later than one's own by more than this is that of somebody who resumed it; by less it ends later
    /// where the call was held up on its way.
    pub const SAME_LEASE: Duration = Duration::from_secs(15);
}

/// The answer to a reservation. `version` is the application's registry version, read in the same step (0 in an
/// organisation's partition, or where there is no such application).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    Fresh { version: u64 },
    Resume { first: MessageId, version: u64 },
    Pending { until: Timestamp },
    Done(Answer),
    KeyReused,
    EventIdTaken { by: MessageId },
}

/// What was answered when the work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub id: MessageId,
    pub at: Timestamp,
    /// Empty where the answer can be made again from the request.
    pub status: u16,
    pub body: Bytes,
}

/// A wish to make one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub pair: PairKey,
    pub chain: ChainId,
    pub attempt: u16,
    pub lease_until: Timestamp,
    /// How long the record is kept at least.
    pub keep_until: Timestamp,
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub pair: PairKey,
    pub chain: ChainId,
    pub attempt: u16,
    pub outcome: PairOutcome,
    /// How long the record is kept at least; a longer wish of before stands.
    pub keep_until: Timestamp,
}

/// A wish for permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRequest {
    /// What is limited: the caller's own scheme of bytes.
    pub subject: Vec<u8>,
    /// The time one permit costs: 1 s divided by the rate.
    pub interval: Duration,
    /// Permits that may be taken at once after a pause.
    pub burst: u32,
    /// Permits wanted.
    pub want: u32,
}

/// Permits that were granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateGrant {
    pub granted: u32,
    /// When one more will be there, where fewer than wanted were granted.
    pub next_at: Option<Timestamp>,
}

/// The shared state of an endpoint's circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRecord {
    pub state: BreakerState,
    /// When it came to this state.
    pub since: Timestamp,
    /// Open: until when. Half-open: until when the probe is leased.
    pub until: Timestamp,
    /// How often it opened in a row; the time it stays open doubles with it.
    pub openings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}
