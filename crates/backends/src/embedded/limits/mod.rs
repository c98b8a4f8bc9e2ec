//! Short-lived shared state: reservations, pair records, rate limits, breakers, trials.
//!
//! What is decided is decided by pure functions of `core`; here a decision is read for, taken and written within
//! one transaction, which is what makes it the only one. Rate limits alone live in memory: one process holds
//! them, each request would be a write otherwise, and a restart costs no more than one burst.

mod breakers;
mod pairs;
mod reservations;
mod trials;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_core::id::{EndpointId, MessageId};
use postrider_core::pair::{ChainId, PairKey, PairRecord, Verdict};
use postrider_core::ports::{
    Answer, BreakerRecord, Claim, Limits, PortError, Probe, RateGrant, RateRequest, Reservation,
    ReservationKey, Reserved, Settlement, TrialEnd, TrialKey,
};
use postrider_core::rate::{self, Tat};
use postrider_core::time::Timestamp;

use super::engine::Engine;
use super::filing;

/// Rows of each kind that one call of `retain` removes.
const BATCH: u32 = 1_000;
/// So many subjects may have a rate before those that are as good as unused are looked for.
const RATES: usize = 10_000;

#[derive(Debug)]
pub(super) struct EmbeddedLimits {
    engine: Arc<Engine>,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Rates {
    by_subject: HashMap<Vec<u8>, Tat>,
    /// How many there may be before the next look.
    look_at: usize,
}

impl Rates {
    fn take(&mut self, now: Timestamp, request: &RateRequest) -> RateGrant {
        let before = self.by_subject.get(&request.subject).copied();
        let (grant, after) = rate::take(before, now, request.interval, request.burst, request.want);
        self.by_subject.insert(request.subject.clone(), after);
        if self.by_subject.len() > self.look_at {
            self.forget(now);
            self.look_at = (2 * self.by_subject.len()).max(RATES);
        }
        grant
    }

    /// Forgets the rates that are as good as unused.
    fn forget(&mut self, now: Timestamp) -> u64 {
        let before = self.by_subject.len();
        self.by_subject.retain(|_, tat| !tat.is_past(now));
        (before - self.by_subject.len()) as u64
    }
}

impl EmbeddedLimits {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let rates = Rates {
            look_at: RATES,
            ..Rates::default()
        };
        Self {
            engine,
            rates: Mutex::new(rates),
        }
    }
}

#[async_trait]
impl Limits for EmbeddedLimits {
    async fn reserve(
        &self,
        now: Timestamp,
        reservation: &Reservation,
    ) -> Result<Reserved, PortError> {
        let wish = reservation.clone();
        if wish.key.key.is_none() && wish.key.event_id.is_none() {
            let read = self
                .engine
                .readers
                .read(move |connection| reservations::version(connection, &wish.key));
            return Ok(Reserved::Fresh {
                version: read.await?,
            });
        }
        self.engine
            .writer
            .write(move |connection| reservations::reserve(connection, now, &wish))
            .await
    }

    async fn complete(
        &self,
        _now: Timestamp,
        done: Vec<(ReservationKey, Answer)>,
    ) -> Result<(), PortError> {
        let named = done.iter().any(|(key, _)| reservations::is_named(key));
        if !named {
            return Ok(());
        }
        self.engine
            .writer
            .write(move |connection| reservations::complete(connection, &done))
            .await
    }

    async fn release(&self, key: &ReservationKey) -> Result<(), PortError> {
        if !reservations::is_named(key) {
            return Ok(());
        }
        let key = key.clone();
        self.engine
            .writer
            .write(move |connection| reservations::release(connection, &key))
            .await
    }

    async fn lapse(
        &self,
        _now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Result<(), PortError> {
        if !reservations::is_named(key) {
            return Ok(());
        }
        let key = key.clone();
        self.engine
            .writer
            .write(move |connection| reservations::lapse(connection, &key, message, until))
            .await
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Verdict>, PortError> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let claims = claims.to_vec();
        let work = move |connection: &rusqlite::Connection| {
            claims
                .iter()
                .map(|claim| pairs::claim(connection, now, claim))
                .collect()
        };
        self.engine.writer.write(work).await
    }

    async fn settle(&self, now: Timestamp, settlements: Vec<Settlement>) -> Result<(), PortError> {
        if settlements.is_empty() {
            return Ok(());
        }
        let work = move |connection: &rusqlite::Connection| {
            settlements
                .iter()
                .try_for_each(|settlement| pairs::settle(connection, now, settlement))
        };
        self.engine.writer.write(work).await
    }

    async fn open_chain(
        &self,
        now: Timestamp,
        pair: PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Result<(), PortError> {
        let work = move |connection: &rusqlite::Connection| {
            pairs::open_chain(connection, now, &pair, chain, keep_until)
        };
        self.engine.writer.write(work).await
    }

    async fn pair(&self, now: Timestamp, pair: PairKey) -> Result<Option<PairRecord>, PortError> {
        self.engine
            .readers
            .read(move |connection| pairs::pair(connection, now, &pair))
            .await
    }

    async fn take(&self, now: Timestamp, request: &RateRequest) -> Result<RateGrant, PortError> {
        Ok(self.rates.lock().take(now, request))
    }

    async fn breaker(
        &self,
        endpoint: EndpointId,
    ) -> Result<Option<(BreakerRecord, u64)>, PortError> {
        self.engine
            .readers
            .read(move |connection| breakers::breaker(connection, endpoint))
            .await
    }

    async fn set_breaker(
        &self,
        endpoint: EndpointId,
        record: &BreakerRecord,
        expect: Option<u64>,
        keep_until: Timestamp,
    ) -> Result<bool, PortError> {
        let record = *record;
        let work = move |connection: &rusqlite::Connection| {
            breakers::set(connection, endpoint, &record, expect, keep_until)
        };
        self.engine.writer.write(work).await
    }

    async fn begin_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        keep_until: Timestamp,
    ) -> Result<u32, PortError> {
        self.engine
            .writer
            .write(move |connection| trials::begin(connection, now, key, keep_until))
            .await
    }

    async fn end_trial(
        &self,
        _now: Timestamp,
        key: TrialKey,
        end: TrialEnd,
    ) -> Result<(), PortError> {
        self.engine
            .writer
            .write(move |connection| trials::end(connection, key, end))
            .await
    }

    async fn retain(&self, now: Timestamp) -> Result<u64, PortError> {
        let forgotten = self.rates.lock().forget(now);
        let work = move |connection: &rusqlite::Connection| {
            let mut removed = breakers::forget(connection, now, BATCH)?;
            for table in ["reservation", "event_id", "pair", "trial"] {
                removed += filing::sweep(connection, table, now, BATCH)?;
            }
            Ok(removed)
        };
        Ok(forgotten + self.engine.writer.write(work).await?)
    }
}

#[async_trait]
impl Probe for EmbeddedLimits {
    async fn probe(&self) -> Result<(), PortError> {
        self.engine.probe().await
    }
}
