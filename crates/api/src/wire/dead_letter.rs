//! Dead letters: deliveries that were given up.

use postrider_core::dead_letter::DeadNote;
use postrider_core::message::Event;
use postrider_core::{
    AppId, Channel, DeadLetter, DeadLetterId, EndpointId, EventTypeName, MessageId, Timestamp, Uid,
};
use serde::Serialize;

use super::message::some_unless_empty;
use super::payload::Payload;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterOut<'a> {
    id: DeadLetterId,
    app_id: AppId,
    endpoint_id: EndpointId,
    msg_id: MessageId,
    event_id: Option<&'a Uid>,
    event_type: &'a EventTypeName,
    channels: Option<&'a [Channel]>,
    tags: Option<&'a [String]>,
    payload: Payload<'a>,
    reason: &'static str,
    /// Attempts that were made before it was given up.
    attempts: u16,
    last_response_status_code: u16,
    last_response: &'a str,
    /// When the message was accepted.
    #[serde(serialize_with = "super::time")]
    timestamp: Timestamp,
    #[serde(serialize_with = "super::time")]
    died_at: Timestamp,
}

impl<'a> DeadLetterOut<'a> {
    /// `None` for what could not be read: it belongs to no application.
    pub(crate) fn new(letter: &'a DeadLetter, with_content: bool) -> Option<Self> {
        match letter {
            DeadLetter::Delivery { event, note } => Some(Self::delivery(event, note, with_content)),
            DeadLetter::Unreadable { .. } => None,
        }
    }

    fn delivery(event: &'a Event, note: &'a DeadNote, with_content: bool) -> Self {
        Self {
            id: note.id,
            app_id: event.app,
            endpoint_id: note.endpoint,
            msg_id: event.message,
            event_id: event.event_id.as_ref(),
            event_type: &event.event_type,
            channels: some_unless_empty(&event.channels),
            tags: some_unless_empty(&event.tags),
            payload: Payload::of(event, true, with_content),
            reason: note.reason.as_str(),
            attempts: note.attempts,
            last_response_status_code: note.last_status,
            last_response: if with_content {
                &note.last_response
            } else {
                "{}"
            },
            timestamp: event.accepted_at,
            died_at: note.died_at,
        }
    }
}
