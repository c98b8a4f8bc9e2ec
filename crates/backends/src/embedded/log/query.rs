//! Reading the log.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::{Event, MessageRecord, Trigger};
use postrider_core::name::{Channel, EventTypeName, Uid};
use postrider_core::page::Slice;
use postrider_core::pair::ChainId;
use postrider_core::ports::{
    AttemptFilter, AttemptScope, Destination, DestinationStatus, MessageFilter, MessageKey,
};
use postrider_core::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql, named_params};

use super::record::Details;
use super::skew::Skew;
use crate::embedded::columns::{Result, from_pack, id, optional_time, parsed, time};
use crate::embedded::paging::{Portion, Scan, Walk};

const MESSAGE: &str = "id, accepted_at, event_type, details, app, event_id, payload_until, payload";
const ATTEMPT: &str = "id, at, event_type, channels, succeeded, status_code, endpoint, app, message, chain, attempt, \
                       trigger, duration_ms, url, response";

pub(super) fn message(
    connection: &Connection,
    app: AppId,
    key: &MessageKey,
) -> Result<Option<MessageRecord>> {
    let (sql, value) = match key {
        MessageKey::Id(id) => (
            format!("SELECT {MESSAGE} FROM message WHERE app = ?1 AND id = ?2"),
            Value::Blob(id.as_bytes().to_vec()),
        ),
        MessageKey::EventId(uid) => (
            format!(
                "SELECT {MESSAGE} FROM message WHERE app = ?1 AND event_id = ?2 ORDER BY id DESC LIMIT 1"
            ),
            Value::Text(uid.as_str().to_owned()),
        ),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((app.as_bytes(), value))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let details = details(row)?;
    read_message(row, details).map(Some)
}

fn details(row: &Row<'_>) -> Result<Details> {
    from_pack(
        "the details of a message",
        row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?,
    )
}

fn read_message(row: &Row<'_>, details: Details) -> Result<MessageRecord> {
    let payload: Option<Vec<u8>> = row.get(7)?;
    let event_id: Option<String> = row.get(5)?;
    let event = Event {
        org: details.org,
        app: id!(row, 4, AppId),
        message: id!(row, 0, MessageId),
        event_id: event_id
            .map(|text| parsed("an event id", Uid::new(&text)))
            .transpose()?,
        event_type: event_type(row)?,
        channels: details.channels,
        tags: details.tags,
        headers: details.headers,
        accepted_at: time(row, 1)?,
        deliver_at: details.deliver_at,
        payload_until: time(row, 6)?,
        registry_version: details.registry_version,
        payload: payload.clone().map(Bytes::from).unwrap_or_default(),
    };
    Ok(MessageRecord {
        event: Arc::new(event),
        has_payload: payload.is_some(),
    })
}

/// Both kinds of rows have it in the same place.
fn event_type(row: &Row<'_>) -> Result<EventTypeName> {
    let text: String = row.get(2)?;
    parsed("an event type", EventTypeName::new(&text))
}

fn within(at: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before)
}

fn of_types(row: &Row<'_>, wanted: &[EventTypeName]) -> Result<bool> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let found = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(wanted.iter().any(|name| name.as_str() == found))
}

/// A list of messages.
#[derive(Debug)]
pub(super) struct MessageScan {
    pub(super) app: AppId,
    pub(super) filter: MessageFilter,
}

impl MessageScan {
    /// Reads only as many columns as it takes to say no.
    pub(super) fn wanted(&self, row: &Row<'_>) -> Result<Option<MessageRecord>> {
        let filter = &self.filter;
        if !within(time(row, 1)?, filter.after, filter.before)
            || !of_types(row, &filter.event_types)?
        {
            return Ok(None);
        }
        let details = details(row)?;
        let on_channel = filter
            .channel
            .as_ref()
            .is_none_or(|channel| details.channels.contains(channel));
        let tagged = filter
            .tag
            .as_ref()
            .is_none_or(|tag| details.tags.contains(tag));
        if on_channel && tagged {
            read_message(row, details).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl Scan for MessageScan {
    type Row = MessageRecord;
    const MAY_STOP: bool = true;

    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<Self::Row>> {
        let MessageFilter { after, before, .. } = self.filter;
        let list = Records {
            of: Skew::Message,
            after,
            before,
            key: "id",
            select: &format!("SELECT {MESSAGE} FROM message WHERE app = :app"),
            values: named_params! { ":app": self.app.as_bytes() },
        };
        list.sift(connection, walk, portion, rows, |row| self.wanted(row))
    }
}

/// A list of attempts.
#[derive(Debug)]
pub(super) struct AttemptScan {
    pub(super) app: AppId,
    pub(super) scope: AttemptScope,
    pub(super) filter: AttemptFilter,
}

impl AttemptScan {
    fn wanted(&self, row: &Row<'_>) -> Result<Option<AttemptRecord>> {
        let filter = &self.filter;
        let ours = id!(row, 7, AppId) == self.app;
        if !ours
            || !within(time(row, 1)?, filter.after, filter.before)
            || !of_types(row, &filter.event_types)?
        {
            return Ok(None);
        }
        let succeeded: bool = row.get(4)?;
        let status: u16 = row.get(5)?;
        let at_endpoint = filter
            .endpoint
            .is_none_or(|wanted| row.get(6).map(EndpointId::from_bytes) == Ok(wanted));
        let of_class = filter
            .status_class
            .is_none_or(|class| in_class(status, class));
        if !at_endpoint || !of_class || filter.succeeded.is_some_and(|wanted| wanted != succeeded) {
            return Ok(None);
        }
        let attempt = read_attempt(row)?;
        let on_channel = filter
            .channel
            .as_ref()
            .is_none_or(|channel| attempt.channels.contains(channel));
        Ok(on_channel.then_some(attempt))
    }
}

fn in_class(status: u16, class: u16) -> bool {
    if class == 0 {
        status == 0
    } else {
        (class..class.saturating_add(100)).contains(&status)
    }
}

impl Scan for AttemptScan {
    type Row = AttemptRecord;
    const MAY_STOP: bool = true;

    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<Self::Row>> {
        let (column, of) = match &self.scope {
            AttemptScope::Endpoint(endpoint) => ("endpoint", endpoint.as_bytes()),
            AttemptScope::Message(message) => ("message", message.as_bytes()),
        };
        let AttemptFilter { after, before, .. } = self.filter;
        let list = Records {
            of: Skew::Attempt,
            after,
            before,
            key: "id",
            select: &format!("SELECT {ATTEMPT} FROM attempt WHERE {column} = :of"),
            values: named_params! { ":of": of },
        };
        list.sift(connection, walk, portion, rows, |row| self.wanted(row))
    }
}

/// A list of records between two times.
pub(super) struct Records<'a> {
    pub(super) of: Skew,
    pub(super) after: Option<Timestamp>,
    pub(super) before: Option<Timestamp>,
    /// By what it is ordered: its first column, as its statement names it.
    pub(super) key: &'a str,
    /// All of it, whatever the time and the place in the list; with a `WHERE`.
    pub(super) select: &'a str,
    pub(super) values: &'a [(&'a str, &'a dyn ToSql)],
}

impl Records<'_> {
    /// Goes through up to `portion` rows on the walk for `rows` wanted ones.
    pub(super) fn sift<T>(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
        wanted: impl Fn(&Row<'_>) -> Result<Option<T>>,
    ) -> Result<Portion<T>> {
        let transaction = connection.unchecked_transaction()?;
        let walk = self
            .of
            .narrow(&transaction, walk, self.after, self.before)?;
        let sql = format!("{} AND {}", self.select, walk.clause(self.key));
        let mut statement = transaction.prepare_cached(&sql)?;
        let count = i64::try_from(portion).unwrap_or(i64::MAX);
        let place = named_params! { ":from": walk.from(), ":until": walk.until(), ":rows": count };
        let values = [self.values, place].concat();
        sift(statement.query(values.as_slice())?, portion, rows, wanted)
    }
}

/// Goes through up to `portion` rows for `rows` wanted ones. The key is the first column.
fn sift<T>(
    mut found: rusqlite::Rows<'_>,
    portion: usize,
    rows: usize,
    wanted: impl Fn(&Row<'_>) -> Result<Option<T>>,
) -> Result<Portion<T>> {
    let mut kept = Vec::new();
    let mut looked = 0;
    let mut last = None;
    while let Some(row) = found.next()? {
        looked += 1;
        kept.extend(wanted(row)?);
        if looked == portion || kept.len() == rows {
            last = Some(row.get(0)?);
            break;
        }
    }
    Ok(Portion { found: kept, last })
}

pub(super) fn attempt(
    connection: &Connection,
    app: AppId,
    message: MessageId,
    attempt: AttemptId,
) -> Result<Option<AttemptRecord>> {
    let sql = format!("SELECT {ATTEMPT} FROM attempt WHERE id = ?1 AND app = ?2 AND message = ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((attempt.as_bytes(), app.as_bytes(), message.as_bytes()))?;
    rows.next()?.map(read_attempt).transpose()
}

fn read_attempt(row: &Row<'_>) -> Result<AttemptRecord> {
    let channels: Option<Vec<u8>> = row.get(3)?;
    Ok(AttemptRecord {
        id: id!(row, 0, AttemptId),
        app: id!(row, 7, AppId),
        message: id!(row, 8, MessageId),
        endpoint: id!(row, 6, EndpointId),
        chain: ChainId(row.get::<_, i64>(9)?.cast_unsigned()),
        attempt: row.get(10)?,
        trigger: parsed("a trigger", Trigger::try_from(row.get::<_, u8>(11)?))?,
        at: time(row, 1)?,
        url: row.get(13)?,
        succeeded: row.get(4)?,
        status_code: row.get(5)?,
        response: row.get(14)?,
        duration_ms: row.get(12)?,
        event_type: event_type(row)?,
        channels: channels.map_or(Ok(Vec::new()), |pack| {
            from_pack::<Vec<Channel>>("channels", &pack)
        })?,
    })
}

pub(super) fn destinations(
    connection: &Connection,
    app: AppId,
    message: MessageId,
    walk: &Walk,
) -> Result<Slice<Destination>> {
    let clause = walk.clause("endpoint");
    let sql = format!(
        "SELECT endpoint, status, next_attempt, at FROM destination \
         WHERE message = :message AND app = :app AND {clause}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = named_params! {
        ":message": message.as_bytes(), ":app": app.as_bytes(), ":from": walk.from(),
        ":until": walk.until(), ":rows": walk.row_limit()
    };
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let status = DestinationStatus::from_u8(row.get(1)?);
        found.push(Destination {
            app,
            message,
            endpoint: id!(row, 0, EndpointId),
            status: parsed("a status", status.ok_or("not a known one"))?,
            next_attempt: optional_time(row, 2)?,
            at: time(row, 3)?,
        });
    }
    Ok(walk.slice(found))
}
