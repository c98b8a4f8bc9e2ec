//! Messages. Reading one is on the hot path: a single pass splits the body into its fields and leaves each as it
//! stands; the payload is never looked into, and the others are parsed on their own, so that an error names the field.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::message::{Event, MessageRecord};
use postrider_core::ports::AppKey;
use postrider_core::{Channel, EventTypeName, MessageId, Timestamp, Uid};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::RETENTION_HOURS;
use super::app::AppIn;
use super::fields::{Check, Fields, distinct};
use super::json;
use super::payload::Payload;
use crate::error::{ApiError, kind};
use crate::validate;

/// Channels that a message may name.
const MAX_CHANNELS: usize = 5;
const RETENTION_DAYS: std::ops::RangeInclusive<u64> = 5..=90;

/// A message as submitted, without its payload.
#[derive(Debug)]
pub(crate) struct MessageIn {
    pub(crate) event_type: EventTypeName,
    pub(crate) event_id: Option<Uid>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) tags: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) retention: Option<Duration>,
    pub(crate) deliver_at: Option<Timestamp>,
    /// The application to be created where the path's does not exist.
    pub(crate) application: Option<AppIn>,
}

/// The fields as they stand in the body. `null` counts as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Split<'a> {
    #[serde(borrow, default)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    /// What `payload` is also called.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload_retention_period: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload_retention_hours: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deliver_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    application: Option<&'a RawValue>,
    #[serde(borrow, default)]
    transformations_params: Option<&'a RawValue>,
}

impl MessageIn {
    /// Reads a body. The second value is the payload, as it stands in the body or in a string there.
    pub(crate) fn read(body: &Bytes) -> Result<(Self, Cow<'_, str>), ApiError> {
        Self::of(&split(body)?)
    }

    /// Reads the body of a message that no path goes with. `application` names the one it belongs to, by uid or identifier;
    /// or it is an object as in other messages, whose uid does.
    pub(crate) fn read_addressed(body: &Bytes) -> Result<(AppKey, Self, Cow<'_, str>), ApiError> {
        let mut split = split(body)?;
        let named = split.application.ok_or_else(|| missing("application"))?;
        if named.get().starts_with('"') {
            let key = checked("application", Some(named), validate::app_key)?;
            split.application = None;
            let (message, payload) = Self::of(&split)?;
            return Ok((key.ok_or_else(|| missing("application"))?, message, payload));
        }
        let (message, payload) = Self::of(&split)?;
        let wanted = message.application.as_ref();
        let uid = wanted.and_then(|wanted| wanted.uid.clone());
        let loc = ["body", "application", "uid"];
        let uid = uid.ok_or_else(|| ApiError::invalid(&loc, kind::MISSING, "is required"))?;
        Ok((AppKey::Uid(uid), message, payload))
    }

    fn of<'a>(split: &Split<'a>) -> Result<(Self, Cow<'a, str>), ApiError> {
        let params = Params::read(split.transformations_params)?;
        let payload = match params.payload {
            Some(raw) => Cow::Owned(raw),
            None => payload(split)?,
        };
        let event_type = checked("eventType", split.event_type, validate::event_type)?;
        let message = Self {
            event_type: event_type.ok_or_else(|| missing("eventType"))?,
            event_id: checked("eventId", split.event_id, validate::event_id)?,
            channels: channels(split.channels)?,
            tags: tags(split.tags)?,
            headers: params.headers,
            retention: retention(split)?,
            deliver_at: checked("deliverAt", split.deliver_at, validate::time)?,
            application: application(split.application)?,
        };
        Ok((message, payload))
    }
}

fn split(body: &Bytes) -> Result<Split<'_>, ApiError> {
    let text = json::text(body)?;
    // A list would be read as the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| json::syntax(&error))?;
        return Err(ApiError::invalid(
            &["body"],
            kind::TYPE,
            "must be an object",
        ));
    }
    serde_json::from_str(text).map_err(|error| json::syntax(&error))
}

fn missing(field: &str) -> ApiError {
    ApiError::invalid(&["body", field], kind::MISSING, "is required")
}

fn payload<'a>(split: &Split<'a>) -> Result<Cow<'a, str>, ApiError> {
    let (field, raw) = match (split.payload, split.data) {
        (Some(payload), _) => ("payload", payload),
        (None, Some(data)) => ("data", data),
        (None, None) => return Err(missing("payload")),
    };
    let text = raw.get();
    if text.starts_with('{') {
        return Ok(Cow::Borrowed(text));
    }
    // Svix's client for Java has a string there, with the object in it.
    let inner = serde_json::from_str(text).ok();
    let object = inner.and_then(|inner: String| within(inner).ok());
    object.map(Cow::Owned).ok_or_else(|| {
        let problem = "must be an object, or a string that holds one as JSON";
        ApiError::invalid(&["body", field], kind::TYPE, problem)
    })
}

/// A payload that came in a string: what holds for a body holds for it.
fn within(inner: String) -> Result<String, ApiError> {
    let text = json::text(inner.as_bytes())?;
    if !text.starts_with('{') {
        return Err(json::malformed("it is no object".to_owned()));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| json::syntax(&error))?;
    Ok(inner)
}

/// One field as a `T`; an error says what was expected.
fn typed<T: DeserializeOwned>(
    field: &str,
    expected: &str,
    raw: Option<&RawValue>,
) -> Result<Option<T>, ApiError> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    serde_json::from_str(raw.get())
        .map(Some)
        .map_err(|_| ApiError::invalid(&["body", field], kind::TYPE, format!("must be {expected}")))
}

fn checked<T>(
    field: &str,
    raw: Option<&RawValue>,
    check: impl FnOnce(&str) -> Check<T>,
) -> Result<Option<T>, ApiError> {
    let text: Option<String> = typed(field, "a string", raw)?;
    text.map(|text| check(&text))
        .transpose()
        .map_err(|message| ApiError::body_value(field, message))
}

/// A list of strings, each checked, repetitions dropped.
fn set<T>(
    field: &str,
    raw: Option<&RawValue>,
    check: impl Fn(&str) -> Check<T>,
) -> Result<Option<Vec<T>>, ApiError> {
    let Some(texts) = typed::<Vec<String>>(field, "a list of strings", raw)? else {
        return Ok(None);
    };
    distinct(&texts)
        .map(check)
        .collect::<Result<_, _>>()
        .map(Some)
        .map_err(|message| ApiError::body_value(field, message))
}

fn channels(raw: Option<&RawValue>) -> Result<Vec<Channel>, ApiError> {
    let Some(channels) = set("channels", raw, validate::channel)? else {
        return Ok(Vec::new());
    };
    if !(1..=MAX_CHANNELS).contains(&channels.len()) {
        let message = format!("must name 1 to {MAX_CHANNELS} channels");
        return Err(ApiError::body_value("channels", message));
    }
    Ok(channels)
}

fn tags(raw: Option<&RawValue>) -> Result<Vec<String>, ApiError> {
    let tags = set("tags", raw, validate::tag)?.unwrap_or_default();
    if tags.len() > validate::MAX_TAGS {
        let message = format!("must be at most {}", validate::MAX_TAGS);
        return Err(ApiError::body_value("tags", message));
    }
    Ok(tags)
}

fn retention(split: &Split<'_>) -> Result<Option<Duration>, ApiError> {
    let (days, hours) = ("payloadRetentionPeriod", "payloadRetentionHours");
    let in_days = bounded(days, split.payload_retention_period, RETENTION_DAYS)?;
    let in_hours = bounded(hours, split.payload_retention_hours, RETENTION_HOURS)?;
    if in_days.is_some() && in_hours.is_some() {
        let message = format!("cannot be given together with {days}");
        return Err(ApiError::body_value(hours, message));
    }
    let as_hours = in_hours.or_else(|| in_days.map(|days| days * 24));
    Ok(as_hours.map(|hours| Duration::from_secs(hours * 3600)))
}

fn bounded(
    field: &str,
    raw: Option<&RawValue>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let number: Option<i64> = typed(field, "an integer", raw)?;
    let Some(number) = number else {
        return Ok(None);
    };
    let inside = u64::try_from(number).ok().filter(|n| range.contains(n));
    inside.map(Some).ok_or_else(|| {
        let message = format!("must be between {} and {}", range.start(), range.end());
        ApiError::body_value(field, message)
    })
}

fn object(field: &'static str, raw: Option<&RawValue>) -> Result<Option<Fields>, ApiError> {
    let Some(value) = typed(field, "an object", raw)? else {
        return Ok(None);
    };
    Fields::of(value, vec!["body", field]).map(Some)
}

fn application(raw: Option<&RawValue>) -> Result<Option<AppIn>, ApiError> {
    object("application", raw)?.map(AppIn::read).transpose()
}

/// What client libraries carry in `transformationsParams`: a message's own headers, and its payload as text.
#[derive(Debug, Default)]
struct Params {
    headers: BTreeMap<String, String>,
    payload: Option<String>,
}

impl Params {
    fn read(raw: Option<&RawValue>) -> Result<Self, ApiError> {
        let Some(mut params) = object("transformationsParams", raw)? else {
            return Ok(Self::default());
        };
        let payload = params.string("rawPayload")?.value().map(within);
        // Ignoring what is no object would send something else than what was meant.
        let payload = payload.transpose().map_err(|_| {
            let problem = "must hold an object as JSON: other payloads are not supported";
            params.wrong("rawPayload", problem)
        })?;
        let headers = params.string_map("headers")?.value().unwrap_or_default();
        validate::headers(&headers).map_err(|message| params.wrong("headers", message))?;
        Ok(Self { headers, payload })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageOut<'a> {
    id: MessageId,
    event_id: Option<&'a Uid>,
    event_type: &'a EventTypeName,
    channels: Option<&'a [Channel]>,
    tags: Option<&'a [String]>,
    payload: Payload<'a>,
    /// What `payload` is also called.
    data: Payload<'a>,
    #[serde(serialize_with = "super::time")]
    timestamp: Timestamp,
    #[serde(
        serialize_with = "super::optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    deliver_at: Option<Timestamp>,
}

impl<'a> MessageOut<'a> {
    pub(crate) fn of_event(event: &'a Event, with_content: bool) -> Self {
        Self::new(event, Payload::of(event, true, with_content))
    }

    pub(crate) fn of_record(record: &'a MessageRecord, with_content: bool) -> Self {
        let event = &record.event;
        let payload = Payload::of(event, record.has_payload, with_content);
        Self::new(event, payload)
    }

    fn new(event: &'a Event, payload: Payload<'a>) -> Self {
        Self {
            id: event.message,
            event_id: event.event_id.as_ref(),
            event_type: &event.event_type,
            channels: some_unless_empty(&event.channels),
            tags: some_unless_empty(&event.tags),
            payload,
            data: payload,
            timestamp: event.accepted_at,
            deliver_at: event.deliver_at,
        }
    }
}

pub(super) fn some_unless_empty<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}
