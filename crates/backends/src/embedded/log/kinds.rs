//! Messages and their event types: for counting, which needs nothing else of them. Payloads lie behind what is read.

use std::time::Duration;

use postrider_core::id::{AppId, MessageId};
use postrider_core::name::EventTypeName;
use postrider_core::ports::MessageKind;
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Row, named_params};

use super::query::Records;
use super::skew::Skew;
use crate::embedded::columns::{Result, id, parsed, time};
use crate::embedded::paging::{Portion, Scan, Walk};

#[derive(Debug)]
pub(super) struct KindScan {
    pub(super) app: AppId,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl KindScan {
    fn wanted(&self, row: &Row<'_>) -> Result<Option<MessageKind>> {
        if !(self.from..self.until).contains(&time(row, 1)?) {
            return Ok(None);
        }
        let text: String = row.get(2)?;
        Ok(Some(MessageKind {
            message: id!(row, 0, MessageId),
            event_type: parsed("an event type", EventTypeName::new(&text))?,
        }))
    }
}

impl Scan for KindScan {
    type Row = MessageKind;
    const MAY_STOP: bool = true;

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
            key: "id",
            select: "SELECT id, accepted_at, event_type FROM message WHERE app = :app",
            values: named_params! { ":app": self.app.as_bytes() },
        };
        list.sift(connection, walk, portion, rows, |row| self.wanted(row))
    }
}
