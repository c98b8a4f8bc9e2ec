//! What happened.

use async_trait::async_trait;

use super::{PortError, Probe};
use crate::attempt::AttemptRecord;
use crate::id::{AppId, AttemptId, EndpointId, MessageId};
use crate::message::MessageRecord;
use crate::name::{Channel, EventTypeName, Uid};
use crate::page::{Page, Slice};
use crate::time::Timestamp;

/// The history of messages and attempts: for people to read, never for delivery to depend on.
///
/// **Idempotent.** Recording a message or an attempt twice is recording it once; a destination's later record
/// (by `at`) replaces the earlier one. Records may arrive in any order: an attempt may come before its message, a
/// destination's earlier record after its later one. A message's record without its payload (`has_payload` is false)
/// takes the payload away from the one that is there, for good: no later record brings it back.
///
/// **Read your writes.** A read that begins after `record` returned sees it, through the same port.
///
/// **Derived.** The log may be shed by age or size while deliveries go on. Lists show what is there.
///
/// **Times.** A record is as old as its identifier or younger, never older: whoever makes both reads a clock once, or the record's
/// time from the identifier. So a list of what is older than a time has nothing above that time's identifiers.
///
/// **Paging.** Rows that are inserted while somebody pages never make a page repeat or skip a row that was
/// there when paging began. A list by a filter that few rows pass may be left before its page is full, even empty, where that
/// would take long; the page says behind which row it goes on.
#[async_trait]
pub trait DeliveryLog: Probe {
    async fn record(&self, records: Vec<LogRecord>) -> Result<(), PortError>;

    async fn message(
        &self,
        app: AppId,
        key: &MessageKey,
    ) -> Result<Option<MessageRecord>, PortError>;

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageRecord>, PortError>;

    /// Messages and their event types, and nothing else of them: accepted from `from` on and before `until`.
    async fn kinds(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageKind>, PortError>;

    /// One attempt of a message; `None` where it belongs to another one.
    async fn attempt(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<Option<AttemptRecord>, PortError>;

    async fn attempts(
        &self,
        app: AppId,
        scope: AttemptScope,
        filter: &AttemptFilter,
        page: Page<AttemptId>,
    ) -> Result<Slice<AttemptRecord>, PortError>;

    /// Endpoints that a message was tried at, or waits for.
    async fn destinations(
        &self,
        app: AppId,
        message: MessageId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Destination>, PortError>;

    /// Messages that an endpoint was tried with or that wait for it, with how far each has come there. Only messages whose
    /// own record is there.
    async fn attempted(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<Attempted>, PortError>;

    /// How many messages have come how far at an endpoint: of those whose own record is there, accepted from `from` on and
    /// before `until`.
    async fn tally(
        &self,
        app: AppId,
        endpoint: EndpointId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Tally, PortError>;

    /// Takes the response of an attempt away for good: it reads [`EXPUNGED`] from now on, whatever is recorded later.
    /// `false` where there is no such attempt of this message. Doing it twice is doing it once.
    async fn expunge_response(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<bool, PortError>;

    /// Removes what is older than `keep_from`, and payloads that have outlived their own retention at `now`, in
    /// one small batch, so that it never holds up anybody. Returns how many messages and attempts that touched;
    /// 0 means there is nothing left to do.
    ///
    /// A message is as old as its `accepted_at`, an attempt as its `at`; an attempt or a destination may go with its
    /// message. What is not older stays. What is older goes, though where the log is kept in portions of time it may
    /// stay up to a day longer, with the rest of its portion.
    async fn retain(&self, now: Timestamp, keep_from: Timestamp) -> Result<u64, PortError>;
}

/// Something to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// A message that was just accepted, from who accepted it: a store need not look whether it has it.
    Accepted(MessageRecord),
    /// A message that may be there already; then what is there stands, but for its payload where that is gone.
    Message(MessageRecord),
    Attempt(AttemptRecord),
    Destination(Destination),
}

/// How far a message has come at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub app: AppId,
    pub message: MessageId,
    pub endpoint: EndpointId,
    pub status: DestinationStatus,
    /// When the next attempt is due, where there will be one.
    pub next_attempt: Option<Timestamp>,
    /// When it came to this status.
    pub at: Timestamp,
}

/// The numbers are those of the HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DestinationStatus {
    Delivered = 0,
    /// Waiting for its next attempt.
    Pending = 1,
    /// Given up.
    Failed = 2,
    /// Being tried.
    Sending = 3,
    /// Will not be tried any more: the endpoint was disabled or deleted, or the message withdrawn.
    Canceled = 4,
}

impl DestinationStatus {
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Delivered),
            1 => Some(Self::Pending),
            2 => Some(Self::Failed),
            3 => Some(Self::Sending),
            4 => Some(Self::Canceled),
            _ => None,
        }
    }
}

/// What stands in the place of a response that was taken away.
pub const EXPUNGED: &str = "EXPUNGED";

/// What is counted of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageKind {
    pub message: MessageId,
    pub event_type: EventTypeName,
}

/// A message, and how far it has come at the endpoint that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    pub message: MessageRecord,
    pub destination: Destination,
}

/// How many messages have come how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub delivered: u64,
    pub pending: u64,
    pub failed: u64,
    pub sending: u64,
    pub canceled: u64,
}

impl Tally {
    pub fn count(&mut self, status: DestinationStatus) {
        let number = match status {
            DestinationStatus::Delivered => &mut self.delivered,
            DestinationStatus::Pending => &mut self.pending,
            DestinationStatus::Failed => &mut self.failed,
            DestinationStatus::Sending => &mut self.sending,
            DestinationStatus::Canceled => &mut self.canceled,
        };
        *number += 1;
    }
}

impl FromIterator<DestinationStatus> for Tally {
    fn from_iter<I: IntoIterator<Item = DestinationStatus>>(statuses: I) -> Self {
        let mut tally = Self::default();
        statuses.into_iter().for_each(|status| tally.count(status));
        tally
    }
}

/// Which of an endpoint's messages; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptedFilter {
    pub messages: MessageFilter,
    /// Any of these; empty means all.
    pub statuses: Vec<DestinationStatus>,
}

/// How a message is named in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKey {
    Id(MessageId),
    /// The newest message with this event id: event ids are forgotten, and used again, sooner than messages.
    EventId(Uid),
}

/// Which messages; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Any of these; empty means all.
    pub event_types: Vec<EventTypeName>,
    pub channel: Option<Channel>,
    pub tag: Option<String>,
    /// Accepted before this, exclusively.
    pub before: Option<Timestamp>,
    /// Accepted after this, exclusively.
    pub after: Option<Timestamp>,
}

/// Whose attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptScope {
    Endpoint(EndpointId),
    Message(MessageId),
}

/// Which attempts; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptFilter {
    /// Within a message's attempts: those at this endpoint.
    pub endpoint: Option<EndpointId>,
    pub succeeded: Option<bool>,
    /// Status codes from this one to the hundredth after it, exclusively; 0 is "no answer" alone.
    pub status_class: Option<u16>,
    pub event_types: Vec<EventTypeName>,
    pub channel: Option<Channel>,
    /// Begun before this, exclusively.
    pub before: Option<Timestamp>,
    /// Begun after this, exclusively.
    pub after: Option<Timestamp>,
}
