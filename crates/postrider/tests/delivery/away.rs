//! A store that can be taken away: everything is handed on to the embedded one, unless it is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use postrider_core::pair::{ChainId, PairKey, PairRecord, Verdict};
use postrider_core::ports::{
    Answer, BreakerRecord, Claim, Limits, PortError, Probe, RateGrant, RateRequest, Reservation,
    ReservationKey, Reserved, Settlement, TrialEnd, TrialKey,
};
use postrider_core::{EndpointId, MessageId, Timestamp};

pub(crate) struct Away {
    store: Arc<dyn Limits>,
    away: AtomicBool,
}

impl Away {
    pub(crate) fn new(store: Arc<dyn Limits>) -> Arc<Self> {
        Arc::new(Self {
            store,
            away: AtomicBool::new(false),
        })
    }

    pub(crate) fn set(&self, away: bool) {
        self.away.store(away, Relaxed);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    fn store(&self) -> Result<&dyn Limits, PortError> {
        if self.is_away() {
            return Err(PortError::Full {
                part: "the store",
                cause: "a test says so".to_owned(),
            });
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Probe for Away {
    async fn probe(&self) -> Result<(), PortError> {
        self.store()?.probe().await
    }
}

#[async_trait]
impl Limits for Away {
    async fn reserve(&self, now: Timestamp, wish: &Reservation) -> Result<Reserved, PortError> {
        self.store()?.reserve(now, wish).await
    }

    async fn complete(
        &self,
        now: Timestamp,
        done: Vec<(ReservationKey, Answer)>,
    ) -> Result<(), PortError> {
        self.store()?.complete(now, done).await
    }

    async fn release(&self, key: &ReservationKey) -> Result<(), PortError> {
        self.store()?.release(key).await
    }

    async fn lapse(
        &self,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Result<(), PortError> {
        self.store()?.lapse(now, key, message, until).await
    }

    async fn claim(&self, now: Timestamp, claims: &[Claim]) -> Result<Vec<Verdict>, PortError> {
        self.store()?.claim(now, claims).await
    }

    async fn settle(&self, now: Timestamp, settlements: Vec<Settlement>) -> Result<(), PortError> {
        self.store()?.settle(now, settlements).await
    }

    async fn open_chain(
        &self,
        now: Timestamp,
        pair: PairKey,
        chain: ChainId,
        keep_until: Timestamp,
    ) -> Result<(), PortError> {
        self.store()?.open_chain(now, pair, chain, keep_until).await
    }

    async fn pair(&self, now: Timestamp, pair: PairKey) -> Result<Option<PairRecord>, PortError> {
        self.store()?.pair(now, pair).await
    }

    async fn take(&self, now: Timestamp, request: &RateRequest) -> Result<RateGrant, PortError> {
        self.store()?.take(now, request).await
    }

    async fn breaker(
        &self,
        endpoint: EndpointId,
    ) -> Result<Option<(BreakerRecord, u64)>, PortError> {
        self.store()?.breaker(endpoint).await
    }

    async fn set_breaker(
        &self,
        endpoint: EndpointId,
        record: &BreakerRecord,
        expect: Option<u64>,
        keep_until: Timestamp,
    ) -> Result<bool, PortError> {
        self.store()?
            .set_breaker(endpoint, record, expect, keep_until)
            .await
    }

    async fn begin_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        keep_until: Timestamp,
    ) -> Result<u32, PortError> {
        self.store()?.begin_trial(now, key, keep_until).await
    }

    async fn end_trial(
        &self,
        now: Timestamp,
        key: TrialKey,
        end: TrialEnd,
    ) -> Result<(), PortError> {
        self.store()?.end_trial(now, key, end).await
    }

    async fn retain(&self, now: Timestamp) -> Result<u64, PortError> {
        self.store()?.retain(now).await
    }
}
