//! Messages: an event as it was accepted, the work that is left to do for it, and its record in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dead_letter::DeadNote;
use crate::id::{AppId, EndpointId, MessageId, OrgId};
use crate::name::{Channel, EventTypeName, Uid};
use crate::pair::ChainId;
use crate::time::Timestamp;

/// An event as it was accepted. Never changed afterwards, so all work for it shares one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub org: OrgId,
    pub app: AppId,
    pub message: MessageId,
    /// The operator's own identifier of the event; unique within the application.
    pub event_id: Option<Uid>,
    pub event_type: EventTypeName,
    pub channels: Vec<Channel>,
    pub tags: Vec<String>,
    /// Headers that this one message adds to its requests.
    pub headers: BTreeMap<String, String>,
    pub accepted_at: Timestamp,
    /// From when on it is matched and delivered, where that was asked for.
    pub deliver_at: Option<Timestamp>,
    /// Until when the payload is kept in the log.
    pub payload_until: Timestamp,
    /// The application's version at acceptance: matching is as of this version.
    pub registry_version: u64,
    /// The bytes as received: what is signed and sent.
    pub payload: Bytes,
}

/// A unit of durable work: an event and what is left to do for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub event: Arc<Event>,
    pub work: Work,
    /// Set on everything published a second time: some of it may have been done already, so claim first.
    pub maybe_dup: bool,
}

/// What is left to do for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Find the endpoints that want it and try each for the first time.
    Match,
    /// Try these; nothing is matched any more.
    Targets(Vec<Target>),
    /// Given up: file a dead letter.
    Dead(DeadNote),
}

/// One attempt to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub endpoint: EndpointId,
    /// The endpoint's era when the work was made; older than the endpoint's means canceled.
    pub era: u32,
    pub chain: ChainId,
    /// Which attempt of its chain is to be made; the first is 1.
    pub attempt: u16,
    /// Not before this.
    pub due: Timestamp,
    pub trigger: Trigger,
}

/// Who asked for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Trigger {
    /// The schedule.
    Scheduled = 0,
    /// A person or a program, by resend, recover or redrive.
    Manual = 1,
}

impl From<Trigger> for u8 {
    fn from(trigger: Trigger) -> Self {
        trigger as Self
    }
}

impl TryFrom<u8> for Trigger {
    type Error = &'static str;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        match value {
            0 => Ok(Self::Scheduled),
            1 => Ok(Self::Manual),
            _ => Err("a trigger is 0 (scheduled) or 1 (manual)"),
        }
    }
}

/// What the delivery log keeps of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    pub event: Arc<Event>,
    /// False once the payload has been expunged or has outlived its retention; it is empty then.
    pub has_payload: bool,
}

impl From<Arc<Event>> for MessageRecord {
    fn from(event: Arc<Event>) -> Self {
        Self {
            event,
            has_payload: true,
        }
    }
}
