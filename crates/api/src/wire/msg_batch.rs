//! Many messages in one body. Each is cut out as it stands and read as if it had come alone.

use bytes::Bytes;
use postrider_core::{Event, MessageId, Timestamp, Uid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json;
use crate::error::{ApiError, kind};

/// Messages of one request.
const MAX_MESSAGES: usize = 500;
/// Bytes of a message's own key.
const MAX_KEY: usize = 256;

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
}

/// The messages of a body, as they stand in it.
pub(crate) fn split(body: &Bytes) -> Result<Vec<Bytes>, ApiError> {
    let text = json::text(body)?;
    // A list would be read as the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(ApiError::invalid(
            &["body"],
            kind::TYPE,
            "must be an object",
        ));
    }
    let batch: Batch<'_> = serde_json::from_str(text).map_err(|error| json::syntax(&error))?;
    let place = ["body", "messages"];
    let missing = || ApiError::invalid(&place, kind::MISSING, "is required");
    let messages = batch.messages.ok_or_else(missing)?;
    let messages: Vec<&RawValue> = serde_json::from_str(messages.get())
        .map_err(|_| ApiError::invalid(&place, kind::TYPE, "must be a list"))?;
    if !(1..=MAX_MESSAGES).contains(&messages.len()) {
        let problem = format!("must be 1 to {MAX_MESSAGES}");
        return Err(ApiError::body_value("messages", problem));
    }
    let cut = |message: &RawValue| body.slice_ref(message.get().as_bytes());
    Ok(messages.into_iter().map(cut).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keyed {
    #[serde(default)]
    idempotency_key: Option<Value>,
}

/// The key that a message brings for itself.
pub(crate) fn own_key(message: &[u8]) -> Result<Option<String>, ApiError> {
    let name = "idempotencyKey";
    // What is no object is told by whoever reads the message.
    let Ok(Keyed { idempotency_key }) = serde_json::from_slice(message) else {
        return Ok(None);
    };
    match idempotency_key {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key)),
        Some(Value::String(_)) => {
            let problem = format!("must have 1 to {MAX_KEY} bytes");
            Err(ApiError::body_value(name, problem))
        }
        Some(_) => Err(ApiError::invalid(
            &["body", name],
            kind::TYPE,
            "must be a string",
        )),
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct BatchOut<'a> {
    accepted: usize,
    refused: usize,
    /// In the order of the messages.
    data: Vec<OneOut<'a>>,
}

impl<'a> BatchOut<'a> {
    pub(crate) fn new(data: Vec<OneOut<'a>>) -> Self {
        let accepted = data.iter().filter(|one| one.id.is_some()).count();
        Self {
            accepted,
            refused: data.len() - accepted,
            data,
        }
    }
}

/// What became of one message: what it would have been answered, had it come alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OneOut<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a Uid>,
    #[serde(
        serialize_with = "super::optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl<'a> OneOut<'a> {
    pub(crate) fn accepted(event: &'a Event) -> Self {
        Self {
            status: 202,
            id: Some(event.message),
            event_id: event.event_id.as_ref(),
            timestamp: Some(event.accepted_at),
            error: None,
        }
    }

    pub(crate) fn refused(error: &ApiError, place: usize) -> Self {
        Self {
            status: error.status().as_u16(),
            id: None,
            event_id: None,
            timestamp: None,
            error: Some(error.told_of(&["messages", &place.to_string()])),
        }
    }
}
