//! The history of messages and attempts.
//!
//! Messages and attempts are filed by time ([`super::filing`]), so that shedding the oldest reads nothing else;
//! lists go by identifier, through indexes on (application, message) and (endpoint or message, attempt). An
//! attempt carries what its lists filter by, so that none of them reads a message. A list between two times
//! looks at the identifiers of about that time ([`skew`]); a page whose filter wants few rows looks at as many
//! as it takes, in short reads ([`super::paging::scan`]).

mod attempted;
mod kinds;
mod query;
mod record;
mod retain;
mod skew;

use std::sync::Arc;

use async_trait::async_trait;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{
    AttemptFilter, AttemptScope, Attempted, AttemptedFilter, DeliveryLog, Destination, LogRecord,
    MessageFilter, MessageKey, MessageKind, PortError, Probe, Tally,
};
use postrider_core::time::Timestamp;

use self::attempted::{AttemptedScan, TallyScan};
use self::kinds::KindScan;
use self::query::{AttemptScan, MessageScan};
use super::engine::Engine;
use super::paging::{Walk, scan};

#[derive(Debug)]
pub(super) struct EmbeddedLog {
    engine: Arc<Engine>,
}

impl EmbeddedLog {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl DeliveryLog for EmbeddedLog {
    async fn record(&self, records: Vec<LogRecord>) -> Result<(), PortError> {
        if records.is_empty() {
            return Ok(());
        }
        self.engine
            .writer
            .write(move |connection| record::record(connection, &records))
            .await
    }

    async fn message(
        &self,
        app: AppId,
        key: &MessageKey,
    ) -> Result<Option<MessageRecord>, PortError> {
        let key = key.clone();
        self.engine
            .readers
            .read(move |connection| query::message(connection, app, &key))
            .await
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageRecord>, PortError> {
        let filter = filter.clone();
        scan(
            &self.engine.readers,
            MessageScan { app, filter },
            Walk::new(&page),
        )
        .await
    }

    async fn kinds(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageKind>, PortError> {
        let wanted = KindScan { app, from, until };
        scan(&self.engine.readers, wanted, Walk::new(&page)).await
    }

    async fn attempt(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<Option<AttemptRecord>, PortError> {
        self.engine
            .readers
            .read(move |connection| query::attempt(connection, app, message, attempt))
            .await
    }

    async fn attempts(
        &self,
        app: AppId,
        scope: AttemptScope,
        filter: &AttemptFilter,
        page: Page<AttemptId>,
    ) -> Result<Slice<AttemptRecord>, PortError> {
        let filter = filter.clone();
        scan(
            &self.engine.readers,
            AttemptScan { app, scope, filter },
            Walk::new(&page),
        )
        .await
    }

    async fn destinations(
        &self,
        app: AppId,
        message: MessageId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Destination>, PortError> {
        let walk = Walk::new(&page);
        self.engine
            .readers
            .read(move |connection| query::destinations(connection, app, message, &walk))
            .await
    }

    async fn attempted(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<Attempted>, PortError> {
        let wanted = AttemptedScan::new(app, endpoint, filter);
        scan(&self.engine.readers, wanted, Walk::new(&page)).await
    }

    async fn tally(
        &self,
        app: AppId,
        endpoint: EndpointId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Tally, PortError> {
        let wanted = TallyScan {
            app,
            endpoint,
            from,
            until,
        };
        let all: Page<MessageId> = Page {
            cursor: Cursor::Start,
            limit: usize::MAX,
            order: Order::Ascending,
        };
        let found = scan(&self.engine.readers, wanted, Walk::new(&all)).await?;
        Ok(found.items.into_iter().collect())
    }

    async fn expunge_response(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<bool, PortError> {
        self.engine
            .writer
            .write(move |connection| attempted::expunge_response(connection, app, message, attempt))
            .await
    }

    async fn retain(&self, now: Timestamp, keep_from: Timestamp) -> Result<u64, PortError> {
        self.engine
            .writer
            .write(move |connection| retain::retain(connection, now, keep_from))
            .await
    }
}

#[async_trait]
impl Probe for EmbeddedLog {
    async fn probe(&self) -> Result<(), PortError> {
        self.engine.probe().await
    }
}
