//! What is on the wire: requests as they are read, responses as they are printed. Nothing in here does anything.

pub(crate) mod api_key;
pub(crate) mod app;
pub(crate) mod attempt;
pub(crate) mod auth;
pub(crate) mod dead_letter;
pub(crate) mod endpoint;
pub(crate) mod event_type;
pub(crate) mod event_type_import;
pub(crate) mod fields;
pub(crate) mod headers;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod msg_batch;
pub(crate) mod msgpack;
pub(crate) mod payload;
pub(crate) mod secret;
pub(crate) mod task;
pub(crate) mod usage;

use postrider_core::Timestamp;
use serde::Serializer;

use crate::error::ApiError;
use fields::{Fields, Given};

/// For `serialize_with`.
pub(crate) fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// For `serialize_with`.
pub(crate) fn optional_time<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// How long payloads can be kept: 90 days at most.
const RETENTION_HOURS: std::ops::RangeInclusive<u64> = 1..=2160;

/// `throttleRate`, or `rateLimit` as older clients call it: a whole number per second.
fn throttle_rate(fields: &mut Fields) -> Result<Given<u16>, ApiError> {
    let name = fields.either("throttleRate", "rateLimit");
    let rate = fields.integer(name, 1..=u64::from(u16::MAX))?;
    Ok(rate.map(|rate| u16::try_from(rate).unwrap_or(u16::MAX)))
}
