//! A broker that can be made to take nothing: what it has can still be leased and settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use postrider_core::ports::{
    Broker, BrokerCapabilities, Depth, HandOff, Leased, Pack, PortError, Probe, Receipt, Window,
};
use postrider_core::{Item, Timestamp};

pub(crate) struct Shut {
    broker: Arc<dyn Broker>,
    shut: AtomicBool,
}

impl Shut {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            shut: AtomicBool::new(false),
        })
    }

    pub(crate) fn set(&self, shut: bool) {
        self.shut.store(shut, Relaxed);
    }

    fn open(&self) -> Result<&dyn Broker, PortError> {
        if self.shut.load(Relaxed) {
            return Err(PortError::Unavailable {
                part: "the broker",
                cause: "a test says so".to_owned(),
            });
        }
        Ok(&*self.broker)
    }
}

#[async_trait]
impl Probe for Shut {
    async fn probe(&self) -> Result<(), PortError> {
        self.open()?.probe().await
    }
}

#[async_trait]
impl Broker for Shut {
    async fn publish(&self, now: Timestamp, items: Vec<Item>) -> Result<(), PortError> {
        self.open()?.publish(now, items).await
    }

    async fn lease(&self, now: Timestamp, room: usize) -> Result<Leased, PortError> {
        self.broker.lease(now, room).await
    }

    async fn wait(&self) {
        self.broker.wait().await;
    }

    async fn hand_off(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        self.open()?.hand_off(now, items).await
    }

    async fn hand_off_singly(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        self.open()?.hand_off_singly(now, items).await
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.broker.ack(receipts).await
    }

    async fn give_back(&self, now: Timestamp, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.broker.give_back(now, receipts).await
    }

    async fn quarantine(&self, now: Timestamp, pack: &Pack) -> Result<(), PortError> {
        self.open()?.quarantine(now, pack).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, PortError> {
        self.broker.depth(now).await
    }

    fn capabilities(&self) -> BrokerCapabilities {
        self.broker.capabilities()
    }

    fn windows(&self) -> Vec<Window> {
        self.broker.windows()
    }

    async fn stop_leasing(&self) {
        self.broker.stop_leasing().await;
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

impl std::fmt::Debug for Shut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shut")
    }
}
