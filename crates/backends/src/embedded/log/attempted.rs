//! Messages of an endpoint: those of the application in their order, each with one look at how far it has come there. An
//! index by endpoint would make this cheaper and every delivery dearer.

use std::time::Duration;

use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::ports::{Attempted, AttemptedFilter, Destination, DestinationStatus, EXPUNGED};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Row, named_params};

use super::query::{MessageScan, Records};
use super::skew::Skew;
use crate::embedded::columns::{Result, id, optional_time, parsed, time};
use crate::embedded::paging::{Portion, Scan, Walk};

/// The columns of a message as in [`super::query`], then those of the destination.
const ROW: &str = "m.id, m.accepted_at, m.event_type, m.details, m.app, m.event_id, m.payload_until, m.payload, \
                   d.status, d.next_attempt, d.at";

/// Outer, so that a portion is a number of messages, however few of them concern the endpoint.
const AT_ENDPOINT: &str = "FROM message m LEFT JOIN destination d \
                           ON d.message = m.id AND d.endpoint = :endpoint AND d.app = m.app WHERE m.app = :app";

/// A list of messages of an endpoint.
#[derive(Debug)]
pub(super) struct AttemptedScan {
    messages: MessageScan,
    endpoint: EndpointId,
    statuses: Vec<DestinationStatus>,
}

impl AttemptedScan {
    pub(super) fn new(app: AppId, endpoint: EndpointId, filter: &AttemptedFilter) -> Self {
        let filter = filter.clone();
        Self {
            messages: MessageScan {
                app,
                filter: filter.messages,
            },
            endpoint,
            statuses: filter.statuses,
        }
    }

    fn wanted(&self, row: &Row<'_>) -> Result<Option<Attempted>> {
        let Some(status) = row.get::<_, Option<u8>>(8)? else {
            return Ok(None);
        };
        let status = DestinationStatus::from_u8(status);
        let status = parsed("a status", status.ok_or("not a known one"))?;
        if !self.statuses.is_empty() && !self.statuses.contains(&status) {
            return Ok(None);
        }
        let Some(message) = self.messages.wanted(row)? else {
            return Ok(None);
        };
        let destination = Destination {
            app: self.messages.app,
            message: id!(row, 0, MessageId),
            endpoint: self.endpoint,
            status,
            next_attempt: optional_time(row, 9)?,
            at: time(row, 10)?,
        };
        Ok(Some(Attempted {
            message,
            destination,
        }))
    }
}

impl Scan for AttemptedScan {
    type Row = Attempted;
    const MAY_STOP: bool = true;

    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<Self::Row>> {
        let filter = &self.messages.filter;
        let list = Records {
            of: Skew::Message,
            after: filter.after,
            before: filter.before,
            key: "m.id",
            select: &format!("SELECT {ROW} {AT_ENDPOINT}"),
            values: named_params! { ":app": self.messages.app.as_bytes(), ":endpoint": self.endpoint.as_bytes() },
        };
        list.sift(connection, walk, portion, rows, |row| self.wanted(row))
    }
}

/// How far each message of an endpoint has come, and nothing else of it.
#[derive(Debug)]
pub(super) struct TallyScan {
    pub(super) app: AppId,
    pub(super) endpoint: EndpointId,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl TallyScan {
    fn wanted(&self, row: &Row<'_>) -> Result<Option<DestinationStatus>> {
        let Some(status) = row.get::<_, Option<u8>>(2)? else {
            return Ok(None);
        };
        if !(self.from..self.until).contains(&time(row, 1)?) {
            return Ok(None);
        }
        let status = DestinationStatus::from_u8(status);
        parsed("a status", status.ok_or("not a known one")).map(Some)
    }
}

impl Scan for TallyScan {
    type Row = DestinationStatus;
    const MAY_STOP: bool = false;

    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<Self::Row>> {
        let list = Records {
            of: Skew::Message,
            after: Some(self.from - Duration::from_millis(1)),
            before: Some(self.until),
            key: "m.id",
            select: &format!("SELECT m.id, m.accepted_at, d.status {AT_ENDPOINT}"),
            values: named_params! { ":app": self.app.as_bytes(), ":endpoint": self.endpoint.as_bytes() },
        };
        list.sift(connection, walk, portion, rows, |row| self.wanted(row))
    }
}

pub(super) fn expunge_response(
    connection: &Connection,
    app: AppId,
    message: MessageId,
    attempt: AttemptId,
) -> Result<bool> {
    let touched = connection
        .prepare_cached(
            "UPDATE attempt SET response = ?4 WHERE id = ?1 AND app = ?2 AND message = ?3",
        )?
        .execute((
            attempt.as_bytes(),
            app.as_bytes(),
            message.as_bytes(),
            EXPUNGED,
        ))?;
    Ok(touched > 0)
}
