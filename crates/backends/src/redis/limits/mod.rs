//! Short-lived shared state: reservations, pair records, rate limits, breakers, trials.
//!
//! What is decided is decided by tables of `core`; a script transcribes each of them once, and runs it where the
//! data lies, in one step.
//!
//! | what | key | holds | is gone |
//! |---|---|---|---|
//! | automatic keys | `i<digest>`, in a Cluster `{a<app>}i<digest>` | the reservation | to the millisecond |
//! | chosen keys kept ≤ 12 h | `{a<app>}lh<window>…` | hashes: the key's hash → reservation | when the last entry expires, to 10 min |
//! | event ids kept ≤ 3 d | `{a<app>}ld<window>…` | hashes: digest → owner, or reservation | to 1 h |
//! | those that are kept longer, or have a long answer | `{a<app>}lx<digest>` | one entry | to the millisecond |
//! | pair records kept ≤ 10 min | `p<digest>`, in a Cluster `{a<app>.<part>}p<digest>` | the record | to the millisecond |
//! | pair records kept longer | `{a<app>.<part>}lpl<window>…` | hashes: digest → record | to 1 h |
//! | rates | `{s<digest>}lr` | how far the rate is used up | when it is as good as unused |
//! | breakers | `{e<endpoint>}lb` | version and record | when it was to be kept no longer |
//! | trials | `{s<key>}lt` | how many have begun and were not ended | the same |
//!
//! There are two of the records with a key of their own for nearly every event, for ten minutes: they are written by one plain
//! command each, which costs a fifth of a script's step. `lua/entries.lua` says why all others lie in windows. An entry counts as absent from its own end on, whatever its hash does.
//!
//! **Time.** The server's clock counts, the one clock of a fleet. A time in an argument counts as a distance from
//! `now`; a time that is returned is converted back. Clocks that differ by less than 2 s count as the same, so
//! that a time comes back as it was given; leases have a larger margin than that. A breaker, which is set without a
//! `now`, is the exception: its end is taken as it is.
//!
//! **Digests.** Event ids and pairs are stored as 12 bytes of a SHA-256: with 10^9 entries of one window (far more
//! than there can be) two of them are the same by a chance of 10^-11. Of an idempotency key's hash, automatic ones are
//! stored by 12 bytes, chosen ones by 16; of the body's hash, which tells mistakes, 8 are kept.
//!
//! **Lists.** The entries of a call that lie in one slot go in one script, or several of bounded size; slots go side by
//! side. Where one of these fails after another has succeeded, the call has an unknown end.

mod breakers;
mod calls;
mod clock;
mod gathering;
mod leased;
mod pairs;
mod rates;
mod reservations;
mod trials;

use std::sync::Arc;

use async_trait::async_trait;
use postrider_core::id::{EndpointId, MessageId};
use postrider_core::pair::{ChainId, PairKey, PairRecord, Verdict};
use postrider_core::ports::{
    Answer, BreakerRecord, Claim, Limits, PortError, Probe, RateGrant, RateRequest, Reservation,
    ReservationKey, Reserved, Settlement, TrialEnd, TrialKey,
};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue, RedisError, Value};

use self::breakers::Breakers;
use self::clock::ServerClock;
use self::gathering::Gathering;
use self::pairs::Pairs;
use self::rates::Rates;
use self::reservations::Reservations;
use self::trials::Trials;
use super::error::{Asked, told};
use super::keys::Tag;
use super::script::Call;
use super::server::{Link, Server};

const PART: &str = "limits";
/// How long what a probe writes is there, in milliseconds.
const PROBE_KEPT: u32 = 1_000;

/// The port `Limits` on Redis.
#[derive(Debug)]
pub struct RedisLimits {
    server: Arc<Server>,
    reservations: Arc<Reservations>,
    gathering: Arc<Gathering>,
    clock: Arc<ServerClock>,
    pairs: Pairs,
    rates: Rates,
    breakers: Breakers,
    trials: Trials,
}

impl RedisLimits {
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        let space = server.space();
        let reservations = Arc::new(Reservations::new(space));
        let clock = Arc::new(ServerClock::default());
        Self {
            gathering: Gathering::new(
                Arc::clone(&server),
                Arc::clone(&reservations),
                Arc::clone(&clock),
            ),
            clock,
            reservations,
            pairs: Pairs::new(space),
            rates: Rates::new(space),
            breakers: Breakers::new(space),
            trials: Trials::new(space),
            server,
        }
    }

    async fn link(&self) -> Result<Link, PortError> {
        self.server.link(PART).await
    }

    async fn ask<T: FromRedisValue>(&self, asked: Asked, command: &Cmd) -> Result<T, PortError> {
        let mut link = self.link().await?;
        let answered = command.query_async(&mut link).await;
        answered.map_err(|error| told(PART, asked, &error))
    }

    async fn run<T: FromRedisValue>(&self, asked: Asked, call: &Call<'_>) -> Result<T, PortError> {
        run_on(self.link().await?, asked, call).await
    }
}

async fn run_on<T: FromRedisValue>(
    mut link: Link,
    asked: Asked,
    call: &Call<'_>,
) -> Result<T, PortError> {
    let answered = call.run(&mut link).await;
    answered.map_err(|error| told(PART, asked, &error))
}

#[async_trait]
impl Limits for RedisLimits {
    async fn reserve(
        &self,
        now: Timestamp,
        reservation: &Reservation,
    ) -> Result<Reserved, PortError> {
        if reservations::is_named(&reservation.key) {
            return self.gathering.reserve(now, reservation.clone()).await;
        }
        let version: Option<String> = match self.reservations.version(reservation.key.partition) {
            Some(command) => self.ask(Asked::Read, &command).await?,
            None => None,
        };
        let version = reservations::read_version(version.as_deref())?;
        Ok(Reserved::Fresh { version })
    }

    async fn complete(
        &self,
        _now: Timestamp,
        done: Vec<(ReservationKey, Answer)>,
    ) -> Result<(), PortError> {
        let link = self.link().await?;
        self.reservations.complete(&link, &done).await
    }

    async fn release(&self, key: &ReservationKey) -> Result<(), PortError> {
        let link = self.link().await?;
        match self.reservations.release(&link, key) {
            Some(call) => run_on(link, Asked::Write, &call).await,
            None => Ok(()),
        }
    }

    async fn lapse(
        &self,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Result<(), PortError> {
        let link = self.link().await?;
        match self.reservations.lapse(&link, now, key, message, until) {
            Some(call) => run_on(link, Asked::Write, &call).await,
            None => Ok(()),
        }
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Verdict>, PortError> {
        let link = self.link().await?;
        self.pairs.claim(&link, now, claims).await
    }

    async fn settle(&self, now: Timestamp, settlements: Vec<Settlement>) -> Result<(), PortError> {
        let link = self.link().await?;
        let offset = self.clock.ahead_of(now);
        let settled = self.pairs.settle(&link, now, offset, &settlements);
        self.clock.beside(&link, settled).await
    }

    async fn open_chain(
        &self,
        now: Timestamp,
        pair: PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Result<(), PortError> {
        let link = self.link().await?;
        let call = self.pairs.open_chain(&link, now, &pair, chain, keep_until);
        run_on(link, Asked::Write, &call).await
    }

    async fn pair(&self, now: Timestamp, pair: PairKey) -> Result<Option<PairRecord>, PortError> {
        let link = self.link().await?;
        let call = self.pairs.pair(&link, now, &pair);
        let found: Vec<Value> = run_on(link, Asked::Read, &call).await?;
        pairs::record(&found)
    }

    async fn take(&self, now: Timestamp, request: &RateRequest) -> Result<RateGrant, PortError> {
        match self.rates.take(now, request) {
            Some(call) => {
                let answer: Vec<i64> = self.run(Asked::Write, &call).await?;
                rates::grant(&answer)
            }
            None => Ok(rates::unlimited(request)),
        }
    }

    async fn breaker(
        &self,
        endpoint: EndpointId,
    ) -> Result<Option<(BreakerRecord, u64)>, PortError> {
        let found = self.ask(Asked::Read, &self.breakers.get(endpoint)).await?;
        breakers::read(found)
    }

    async fn set_breaker(
        &self,
        endpoint: EndpointId,
        record: &BreakerRecord,
        expect: Option<u64>,
        keep_until: Timestamp,
    ) -> Result<bool, PortError> {
        let call = self.breakers.set(endpoint, record, expect, keep_until);
        self.run(Asked::Write, &call).await
    }

    async fn begin_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        keep_until: Timestamp,
    ) -> Result<u32, PortError> {
        let call = self.trials.begin(now, key, keep_until);
        self.run(Asked::Write, &call).await
    }

    async fn end_trial(
        &self,
        _now: Timestamp,
        key: TrialKey,
        end: TrialEnd,
    ) -> Result<(), PortError> {
        self.run(Asked::Write, &self.trials.end(key, end)).await
    }

    /// Redis removes what has expired by itself.
    async fn retain(&self, _now: Timestamp) -> Result<u64, PortError> {
        Ok(0)
    }
}

#[async_trait]
impl Probe for RedisLimits {
    /// Writes something: a server that only reads, or is full, says so.
    async fn probe(&self) -> Result<(), PortError> {
        let key = self.server.space().key(&Tag::installation(), "l", b"");
        let mut command = redis::cmd("SET");
        command.arg(key).arg("").arg("PX").arg(PROBE_KEPT);
        self.ask(Asked::Read, &command).await
    }
}

/// A second key to name beside `key`; neither is ever stored.
///
/// The hashes of a script are named by the time at which it runs, so that Redis cannot know them beforehand. While a
/// slot is on its way from one server to another, the one that receives it takes what it does not have for absent, where
/// a script names a single key; where it names several and not all are there, the script is refused until the move
/// has ended, which is what we want.
fn companion(key: &[u8]) -> Vec<u8> {
    [key, b"."].concat()
}

fn six_bytes(millis: i64) -> [u8; 6] {
    let [_, _, bytes @ ..] = millis.max(0).to_be_bytes();
    bytes
}

fn corrupt(what: &str) -> PortError {
    PortError::Corrupt {
        part: PART,
        cause: format!("{what} is not as it was written"),
    }
}

fn failed(error: &RedisError) -> PortError {
    told(PART, Asked::Write, error)
}

/// What scripts can count with: times beyond it, which no clock shows, are brought back to it.
fn millis(time: Timestamp) -> i64 {
    const MOST: i64 = (1 << 48) - 1;
    time.as_millis().clamp(-MOST, MOST)
}
