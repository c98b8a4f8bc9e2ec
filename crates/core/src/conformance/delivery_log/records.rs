//! Records to store, and the calls that every case makes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::attempt::AttemptRecord;
use crate::conformance::paging::all;
use crate::conformance::stage::Stage;
use crate::id::{AppId, AttemptId, EndpointId, MessageId};
use crate::message::{Event, MessageRecord, Trigger};
use crate::name::{Channel, EventTypeName, Uid};
use crate::pair::ChainId;
use crate::ports::{
    AttemptFilter, AttemptScope, DeliveryLog, Destination, LogRecord, MessageFilter, MessageKey,
};
use crate::samples;
use crate::time::Timestamp;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn type_name(text: &str) -> EventTypeName {
    EventTypeName::new(text).expect("a valid event type")
}

pub(super) fn channel(text: &str) -> Channel {
    Channel::new(text).expect("a valid channel")
}

pub(super) fn event_id(text: &str) -> Uid {
    Uid::new(text).expect("a valid event id")
}

/// A message's record, changed before anybody else has it.
pub(super) fn with(record: &MessageRecord, change: impl FnOnce(&mut Event)) -> MessageRecord {
    let mut event = (*record.event).clone();
    change(&mut event);
    MessageRecord::from(Arc::new(event))
}

pub(super) fn id(record: &MessageRecord) -> MessageId {
    record.event.message
}

impl Stage<'_> {
    pub(super) fn log(&self) -> Arc<dyn DeliveryLog> {
        Arc::clone(&self.ports.log)
    }

    pub(super) fn an_app_id(&mut self) -> AppId {
        let now = self.now();
        self.chance.app(now)
    }

    pub(super) fn an_endpoint_id(&mut self) -> EndpointId {
        let now = self.now();
        self.chance.endpoint(now)
    }

    pub(super) fn a_message(&mut self, app: AppId, at: Timestamp) -> MessageRecord {
        let event = Event {
            app,
            message: self.chance.message(at),
            accepted_at: at,
            payload_until: at + HOUR * 24 * 90,
            payload: self.chance.bytes(40),
            ..samples::event()
        };
        Arc::new(event).into()
    }

    /// A message with something in every field.
    pub(super) fn a_full_message(&mut self, app: AppId, at: Timestamp) -> MessageRecord {
        with(&self.a_message(app, at), |event| {
            event.event_id = Some(event_id("order-1042_a.b"));
            event.event_type = type_name("order.paid.twice");
            event.channels = vec![channel("eu"), channel("us")];
            event.tags = vec!["grün \u{1f44b}".to_owned(), String::new(), "a,b".to_owned()];
            event.headers = BTreeMap::from([("x-trace".to_owned(), "a\"b".to_owned())]);
            event.deliver_at = Some(at + HOUR);
            event.registry_version = 1 << 52;
            event.payload = Bytes::from_static(b"{\"not\": \xff\x00 \"utf-8\"}");
        })
    }

    /// An attempt at a message, which succeeded.
    pub(super) fn an_attempt(
        &mut self,
        message: &MessageRecord,
        endpoint: EndpointId,
        at: Timestamp,
    ) -> AttemptRecord {
        let event = &message.event;
        AttemptRecord {
            id: self.chance.attempt(at),
            app: event.app,
            message: event.message,
            endpoint,
            chain: ChainId::FIRST,
            attempt: 1,
            trigger: Trigger::Scheduled,
            at,
            url: "https://hooks.example.org/in".to_owned(),
            succeeded: true,
            status_code: 200,
            response: "ok".to_owned(),
            duration_ms: 12,
            event_type: event.event_type.clone(),
            channels: event.channels.clone(),
        }
    }

    pub(super) async fn record(&self, records: impl IntoIterator<Item = LogRecord>) {
        let recorded = self.ports.log.record(records.into_iter().collect()).await;
        recorded.expect("the log takes records while it has room");
    }

    pub(super) async fn record_messages(&self, messages: &[MessageRecord]) {
        self.record(messages.iter().cloned().map(LogRecord::Accepted))
            .await;
    }

    pub(super) async fn record_attempts(&self, attempts: &[AttemptRecord]) {
        self.record(attempts.iter().cloned().map(LogRecord::Attempt))
            .await;
    }

    pub(super) async fn message(&self, app: AppId, id: MessageId) -> Option<MessageRecord> {
        let found = self.ports.log.message(app, &MessageKey::Id(id)).await;
        found.expect("messages can be read")
    }

    pub(super) async fn message_by_event_id(
        &self,
        app: AppId,
        text: &str,
    ) -> Option<MessageRecord> {
        let key = MessageKey::EventId(event_id(text));
        let found = self.ports.log.message(app, &key).await;
        found.expect("messages can be read")
    }

    pub(super) async fn attempt(
        &self,
        app: AppId,
        message: MessageId,
        id: AttemptId,
    ) -> Option<AttemptRecord> {
        let found = self.ports.log.attempt(app, message, id).await;
        found.expect("attempts can be read")
    }

    pub(super) async fn messages_of(&self, app: AppId) -> Vec<MessageRecord> {
        let filter = MessageFilter::default();
        let listed = self.ports.log.messages(app, &filter, all()).await;
        listed.expect("messages can be listed").items
    }

    pub(super) async fn attempts_of(&self, app: AppId, scope: AttemptScope) -> Vec<AttemptRecord> {
        let filter = AttemptFilter::default();
        let listed = self.ports.log.attempts(app, scope, &filter, all()).await;
        listed.expect("attempts can be listed").items
    }

    pub(super) async fn destinations_of(&self, app: AppId, message: MessageId) -> Vec<Destination> {
        let listed = self.ports.log.destinations(app, message, all()).await;
        listed.expect("destinations can be listed").items
    }
}
