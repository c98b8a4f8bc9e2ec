//! Faults between the API and the embedded backend: the real thing, out of reach when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_api::ApiConfig;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::{Item, MessageRecord};
use postrider_core::name::DocumentName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    AttemptFilter, AttemptScope, Attempted, AttemptedFilter, Broker, BrokerCapabilities,
    DeliveryLog, Depth, Destination, Document, Documents, Expect, HandOff, Leased, LogRecord,
    MessageFilter, MessageKey, MessageKind, NewDocument, Pack, Place, PortError, Ports, Probe,
    Receipt, Tally, Window,
};
use postrider_core::{AttemptRecord, Timestamp};
use tokio::sync::Semaphore;

use crate::support::Server;

/// What happens to the next calls that publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Unavailable,
    Full,
    /// It is done, and nobody hears of it.
    DoneButUnknown,
    Panic,
    /// It waits until the gate lets one through.
    Gated,
}

fn away() -> PortError {
    PortError::Unavailable {
        part: "broker",
        cause: "a test said so".to_owned(),
    }
}

/// A server whose broker fails when a test says so, and that broker.
pub(crate) fn with_faulty_broker(
    configure: impl FnOnce(&mut ApiConfig),
) -> (Server, Arc<FaultyBroker>) {
    let mut faulty = None;
    let tamper = |mut ports: Ports| {
        let broker = FaultyBroker::new(ports.broker);
        faulty = Some(Arc::clone(&broker));
        ports.broker = broker;
        ports
    };
    let server = Server::with(tamper, configure);
    (server, faulty.unwrap())
}

pub(crate) struct FaultyBroker {
    inner: Arc<dyn Broker>,
    fault: Mutex<Fault>,
    /// Permits are calls that may go on.
    pub(crate) gate: Semaphore,
    /// Permits are calls that have come to the gate.
    pub(crate) arrived: Semaphore,
    /// Permits are calls that were told that it is away.
    pub(crate) refused: Semaphore,
}

impl FaultyBroker {
    pub(crate) fn new(inner: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault: Mutex::new(Fault::None),
            gate: Semaphore::new(0),
            arrived: Semaphore::new(0),
            refused: Semaphore::new(0),
        })
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    async fn before(&self) -> Result<bool, PortError> {
        let fault = *self.fault.lock();
        match fault {
            Fault::None => Ok(true),
            Fault::Unavailable => {
                self.refused.add_permits(1);
                Err(away())
            }
            Fault::Full => Err(PortError::Full {
                part: "broker",
                cause: "a test said so".to_owned(),
            }),
            Fault::DoneButUnknown => Ok(false),
            Fault::Panic => panic!("a test said so"),
            Fault::Gated => {
                self.arrived.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                Ok(true)
            }
        }
    }

    fn after(heard: bool) -> Result<(), PortError> {
        if heard {
            return Ok(());
        }
        Err(PortError::Unknown {
            part: "broker",
            cause: "a test said so".to_owned(),
        })
    }
}

#[async_trait]
impl Probe for FaultyBroker {
    async fn probe(&self) -> Result<(), PortError> {
        if *self.fault.lock() == Fault::Unavailable {
            return Err(away());
        }
        self.inner.probe().await
    }
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn publish(&self, now: Timestamp, items: Vec<Item>) -> Result<(), PortError> {
        let heard = self.before().await?;
        self.inner.publish(now, items).await?;
        Self::after(heard)
    }

    async fn lease(&self, now: Timestamp, room: usize) -> Result<Leased, PortError> {
        self.inner.lease(now, room).await
    }

    async fn wait(&self) {
        self.inner.wait().await;
    }

    async fn hand_off(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        let heard = self.before().await?;
        self.inner.hand_off(now, items).await?;
        Self::after(heard)
    }

    async fn hand_off_singly(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        self.hand_off(now, items).await
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.inner.ack(receipts).await
    }

    async fn give_back(&self, now: Timestamp, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.inner.give_back(now, receipts).await
    }

    async fn quarantine(&self, now: Timestamp, pack: &Pack) -> Result<(), PortError> {
        self.inner.quarantine(now, pack).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, PortError> {
        self.inner.depth(now).await
    }

    fn capabilities(&self) -> BrokerCapabilities {
        self.inner.capabilities()
    }

    fn windows(&self) -> Vec<Window> {
        self.inner.windows()
    }

    async fn stop_leasing(&self) {
        self.inner.stop_leasing().await;
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A log that takes no records while it is shut.
pub(crate) struct ShutLog {
    inner: Arc<dyn DeliveryLog>,
    shut: Mutex<bool>,
    /// Permits are look-ups of a message.
    pub(crate) asked: Semaphore,
    /// Permits are records that were refused.
    pub(crate) refused: Semaphore,
    /// They come right after the next list of messages was read.
    pub(crate) late: Mutex<Vec<LogRecord>>,
}

impl ShutLog {
    pub(crate) fn new(inner: Arc<dyn DeliveryLog>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            shut: Mutex::new(true),
            asked: Semaphore::new(0),
            refused: Semaphore::new(0),
            late: Mutex::default(),
        })
    }

    pub(crate) fn open(&self) {
        *self.shut.lock() = false;
    }
}

#[async_trait]
impl Probe for ShutLog {
    async fn probe(&self) -> Result<(), PortError> {
        self.inner.probe().await
    }
}

#[async_trait]
impl DeliveryLog for ShutLog {
    async fn record(&self, records: Vec<LogRecord>) -> Result<(), PortError> {
        if *self.shut.lock() {
            self.refused.add_permits(records.len());
            return Err(PortError::Unavailable {
                part: "delivery log",
                cause: "a test said so".to_owned(),
            });
        }
        self.inner.record(records).await
    }

    async fn message(
        &self,
        app: AppId,
        key: &MessageKey,
    ) -> Result<Option<MessageRecord>, PortError> {
        let found = self.inner.message(app, key).await;
        self.asked.add_permits(1);
        found
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageRecord>, PortError> {
        let found = self.inner.messages(app, filter, page).await?;
        let late = std::mem::take(&mut *self.late.lock());
        self.inner.record(late).await?;
        Ok(found)
    }

    async fn kinds(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageKind>, PortError> {
        self.inner.kinds(app, from, until, page).await
    }

    async fn attempt(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<Option<AttemptRecord>, PortError> {
        self.inner.attempt(app, message, attempt).await
    }

    async fn attempts(
        &self,
        app: AppId,
        scope: AttemptScope,
        filter: &AttemptFilter,
        page: Page<AttemptId>,
    ) -> Result<Slice<AttemptRecord>, PortError> {
        self.inner.attempts(app, scope, filter, page).await
    }

    async fn destinations(
        &self,
        app: AppId,
        message: MessageId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Destination>, PortError> {
        self.inner.destinations(app, message, page).await
    }

    async fn attempted(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<Attempted>, PortError> {
        self.inner.attempted(app, endpoint, filter, page).await
    }

    async fn tally(
        &self,
        app: AppId,
        endpoint: EndpointId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Tally, PortError> {
        self.inner.tally(app, endpoint, from, until).await
    }

    async fn expunge_response(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<bool, PortError> {
        self.inner.expunge_response(app, message, attempt).await
    }

    async fn retain(&self, now: Timestamp, keep_from: Timestamp) -> Result<u64, PortError> {
        self.inner.retain(now, keep_from).await
    }
}

/// Documents that are counted as they are asked for by name, and cannot be while they are away.
pub(crate) struct CountedDocuments {
    inner: Arc<dyn Documents>,
    is_away: AtomicBool,
    asked: AtomicUsize,
}

impl CountedDocuments {
    pub(crate) fn new(inner: Arc<dyn Documents>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            is_away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        })
    }

    pub(crate) fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Questions since this was called last.
    pub(crate) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    fn ask(&self) -> Result<(), PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(PortError::Unavailable {
                part: "documents",
                cause: "a test said so".to_owned(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Probe for CountedDocuments {
    async fn probe(&self) -> Result<(), PortError> {
        self.inner.probe().await
    }
}

#[async_trait]
impl Documents for CountedDocuments {
    async fn get(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<Option<Document>, PortError> {
        self.ask()?;
        self.inner.get(now, place, name).await
    }

    async fn get_some(
        &self,
        now: Timestamp,
        place: Place,
        names: &[DocumentName],
    ) -> Result<Vec<Document>, PortError> {
        self.ask()?;
        self.inner.get_some(now, place, names).await
    }

    async fn list(
        &self,
        now: Timestamp,
        place: Place,
        page: Page<DocumentName>,
    ) -> Result<Slice<Document>, PortError> {
        self.inner.list(now, place, page).await
    }

    async fn put(
        &self,
        now: Timestamp,
        place: Place,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, PortError> {
        self.inner.put(now, place, document, expect).await
    }

    async fn delete(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<bool, PortError> {
        self.inner.delete(now, place, name).await
    }
}
