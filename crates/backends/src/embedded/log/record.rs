//! Writing the log.

use std::collections::BTreeMap;

use postrider_core::attempt::AttemptRecord;
use postrider_core::id::OrgId;
use postrider_core::message::MessageRecord;
use postrider_core::name::{Channel, Uid};
use postrider_core::ports::{Destination, LogRecord};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::skew::Skew;
use crate::embedded::columns::{Result, to_pack};
use crate::embedded::filing;

/// What the log keeps of a message beside its columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Details {
    pub(super) org: OrgId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) channels: Vec<Channel>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deliver_at: Option<Timestamp>,
    pub(super) registry_version: u64,
}

pub(super) fn record(connection: &Connection, records: &[LogRecord]) -> Result<()> {
    note_skew(connection, records)?;
    for record in records {
        match record {
            LogRecord::Accepted(message) | LogRecord::Message(message) => {
                record_message(connection, message)?;
            }
            LogRecord::Attempt(attempt) => record_attempt(connection, attempt)?,
            LogRecord::Destination(destination) => record_destination(connection, destination)?,
        }
    }
    Ok(())
}

fn note_skew(connection: &Connection, records: &[LogRecord]) -> Result<()> {
    let messages = records.iter().filter_map(|record| match record {
        LogRecord::Accepted(message) | LogRecord::Message(message) => Some((
            message.event.message.created_at(),
            message.event.accepted_at,
        )),
        LogRecord::Attempt(_) | LogRecord::Destination(_) => None,
    });
    Skew::Message.note(connection, messages)?;
    let attempts = records.iter().filter_map(|record| match record {
        LogRecord::Attempt(attempt) => Some((attempt.id.created_at(), attempt.at)),
        LogRecord::Accepted(_) | LogRecord::Message(_) | LogRecord::Destination(_) => None,
    });
    Skew::Attempt.note(connection, attempts)
}

/// A message that is there already stands, but for its payload: once expunged it does not come back, and a record
/// without one expunges it.
fn record_message(connection: &Connection, message: &MessageRecord) -> Result<()> {
    let event = &*message.event;
    let details = Details {
        org: event.org,
        channels: event.channels.clone(),
        tags: event.tags.clone(),
        headers: event.headers.clone(),
        deliver_at: event.deliver_at,
        registry_version: event.registry_version,
    };
    let inserted = connection
        .prepare_cached(
            "INSERT INTO message \
             (n, app, id, event_id, event_type, accepted_at, payload_until, details, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (app, id) DO NOTHING",
        )?
        .execute(params![
            filing::next(connection, "message", event.accepted_at)?,
            event.app.as_bytes(),
            event.message.as_bytes(),
            event.event_id.as_ref().map(Uid::as_str),
            event.event_type.as_str(),
            event.accepted_at.as_millis(),
            event.payload_until.as_millis(),
            to_pack(&details)?,
            message.has_payload.then_some(&*event.payload),
        ])?;
    if inserted == 0 && !message.has_payload {
        connection
            .prepare_cached("UPDATE message SET payload = NULL WHERE app = ?1 AND id = ?2")?
            .execute((event.app.as_bytes(), event.message.as_bytes()))?;
    }
    Ok(())
}

fn record_attempt(connection: &Connection, attempt: &AttemptRecord) -> Result<()> {
    let channels = match &*attempt.channels {
        [] => None,
        some => Some(to_pack(&some)?),
    };
    connection
        .prepare_cached(
            "INSERT INTO attempt \
             (n, id, app, message, endpoint, chain, attempt, trigger, at, succeeded, status_code, \
              duration_ms, event_type, channels, url, response) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
             ON CONFLICT (id, app) DO NOTHING",
        )?
        .execute(params![
            filing::next(connection, "attempt", attempt.at)?,
            attempt.id.as_bytes(),
            attempt.app.as_bytes(),
            attempt.message.as_bytes(),
            attempt.endpoint.as_bytes(),
            attempt.chain.0.cast_signed(),
            attempt.attempt,
            u8::from(attempt.trigger),
            attempt.at.as_millis(),
            attempt.succeeded,
            attempt.status_code,
            attempt.duration_ms,
            attempt.event_type.as_str(),
            channels,
            attempt.url,
            attempt.response,
        ])?;
    Ok(())
}

fn record_destination(connection: &Connection, destination: &Destination) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO destination (message, endpoint, app, status, next_attempt, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT DO UPDATE SET status = ?4, next_attempt = ?5, at = ?6 WHERE at <= ?6",
        )?
        .execute(params![
            destination.message.as_bytes(),
            destination.endpoint.as_bytes(),
            destination.app.as_bytes(),
            destination.status as u8,
            destination.next_attempt.map(Timestamp::as_millis),
            destination.at.as_millis(),
        ])?;
    Ok(())
}
