//! Attempts, and how far a message has come at each endpoint.

use postrider_core::attempt::AttemptRecord;
use postrider_core::message::{MessageRecord, Trigger};
use postrider_core::ports::{Attempted, Destination, DestinationStatus};
use postrider_core::{AttemptId, Endpoint, EndpointId, MessageId, Timestamp};
use serde::Serialize;

use super::endpoint::EndpointOut;
use super::message::MessageOut;

/// A status as the wire has it: a number and a word. Client libraries know these four and refuse a fifth, so a
/// canceled delivery is shown as a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Success = 0,
    Pending = 1,
    Fail = 2,
    Sending = 3,
}

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Success, Self::Pending, Self::Fail, Self::Sending]
            .into_iter()
            .find(|status| (*status as u8).to_string() == text)
    }

    /// The states of deliveries that it stands for.
    pub(crate) fn of_destinations(self) -> Vec<DestinationStatus> {
        match self {
            Self::Success => vec![DestinationStatus::Delivered],
            Self::Pending => vec![DestinationStatus::Pending],
            Self::Fail => vec![DestinationStatus::Failed, DestinationStatus::Canceled],
            Self::Sending => vec![DestinationStatus::Sending],
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Pending => "pending",
            Self::Fail => "fail",
            Self::Sending => "sending",
        }
    }
}

impl From<DestinationStatus> for Status {
    fn from(status: DestinationStatus) -> Self {
        match status {
            DestinationStatus::Delivered => Self::Success,
            DestinationStatus::Pending => Self::Pending,
            DestinationStatus::Failed | DestinationStatus::Canceled => Self::Fail,
            DestinationStatus::Sending => Self::Sending,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptOut<'a> {
    id: AttemptId,
    msg_id: MessageId,
    endpoint_id: EndpointId,
    url: &'a str,
    response: &'a str,
    response_status_code: u16,
    response_duration_ms: u32,
    status: u8,
    status_text: &'static str,
    trigger_type: u8,
    #[serde(serialize_with = "super::time")]
    timestamp: Timestamp,
    /// Which attempt of its sequence this was; the first is 1.
    attempt_number: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<MessageOut<'a>>,
}

impl<'a> AttemptOut<'a> {
    pub(crate) fn new(
        attempt: &'a AttemptRecord,
        message: Option<&'a MessageRecord>,
        with_content: bool,
    ) -> Self {
        let status = if attempt.succeeded {
            Status::Success
        } else {
            Status::Fail
        };
        Self {
            id: attempt.id,
            msg_id: attempt.message,
            endpoint_id: attempt.endpoint,
            url: &attempt.url,
            response: if with_content {
                &attempt.response
            } else {
                "{}"
            },
            response_status_code: attempt.status_code,
            response_duration_ms: attempt.duration_ms,
            status: status as u8,
            status_text: status.text(),
            trigger_type: match attempt.trigger {
                Trigger::Scheduled => 0,
                Trigger::Manual => 1,
            },
            timestamp: attempt.at,
            attempt_number: attempt.attempt,
            msg: message.map(|record| MessageOut::of_record(record, with_content)),
        }
    }
}

/// An endpoint, and how far a message has come there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationOut<'a> {
    #[serde(flatten)]
    endpoint: EndpointOut<'a>,
    status: u8,
    status_text: &'static str,
    #[serde(serialize_with = "super::optional_time")]
    next_attempt: Option<Timestamp>,
}

impl<'a> DestinationOut<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint, destination: &Destination) -> Self {
        let status = Status::from(destination.status);
        Self {
            endpoint: endpoint.into(),
            status: status as u8,
            status_text: status.text(),
            next_attempt: destination.next_attempt,
        }
    }
}

/// A message, and how far it has come at one endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptedOut<'a> {
    #[serde(flatten)]
    message: MessageOut<'a>,
    status: u8,
    status_text: &'static str,
    #[serde(serialize_with = "super::optional_time")]
    next_attempt: Option<Timestamp>,
}

impl<'a> AttemptedOut<'a> {
    pub(crate) fn new(row: &'a Attempted, with_content: bool) -> Self {
        let status = Status::from(row.destination.status);
        Self {
            message: MessageOut::of_record(&row.message, with_content),
            status: status as u8,
            status_text: status.text(),
            next_attempt: row.destination.next_attempt,
        }
    }
}
