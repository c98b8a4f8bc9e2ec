//! What was given up, each letter with its own copy of the event: the log may be shed long before.
//!
//! The event is kept as the pack that it travelled in, so that it goes back to work as the same bytes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_core::dead_letter::{DeadLetter, DeadNote, DeadReason};
use postrider_core::envelope;
use postrider_core::id::{AppId, DeadLetterId, EndpointId};
use postrider_core::message::{Event, Item, Work};
use postrider_core::page::{Page, Slice};
use postrider_core::pair::ChainId;
use postrider_core::ports::{DeadLetterFilter, DeadLetters, PortError, Probe};
use postrider_core::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::columns::{Result, id, parsed, time};
use super::engine::Engine;
use super::paging::{Portion, Scan, Walk, scan};

/// Letters that one call of `retain` removes.
const BATCH: u32 = 1_000;
const LETTER: &str = "id, app, died_at, cause, bytes";

#[derive(Debug)]
pub(super) struct EmbeddedDeadLetters {
    engine: Arc<Engine>,
}

impl EmbeddedDeadLetters {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

/// Work that could not be read belongs to no application: an empty identifier stands for that.
fn place(app: Option<AppId>) -> Vec<u8> {
    app.map_or_else(Vec::new, |app| app.as_bytes().to_vec())
}

fn put(connection: &Connection, letter: &DeadLetter) -> Result<()> {
    match letter {
        DeadLetter::Delivery { event, note } => put_delivery(connection, event, note),
        DeadLetter::Unreadable {
            id,
            died_at,
            cause,
            raw,
        } => {
            connection
                .prepare_cached(
                    "INSERT INTO dead_letter (app, id, reason, died_at, cause, bytes) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    place(None),
                    id.as_bytes(),
                    DeadReason::Poison.as_str(),
                    died_at.as_millis(),
                    cause,
                    &**raw
                ])?;
            Ok(())
        }
    }
}

fn put_delivery(connection: &Connection, event: &Arc<Event>, note: &DeadNote) -> Result<()> {
    let filed = connection
        .prepare_cached(
            "SELECT n, chain, died_at FROM dead_letter WHERE message = ?1 AND endpoint = ?2 AND app = ?3",
        )?
        .query_row(
            (event.message.as_bytes(), note.endpoint.as_bytes(), event.app.as_bytes()),
            |row| Ok((row.get::<_, i64>(0)?, ChainId(row.get::<_, i64>(1)?.cast_unsigned()), time(row, 2)?)),
        )
        .optional()?;
    if let Some((n, chain, died_at)) = filed {
        if !replaces(note, chain, died_at) {
            return Ok(());
        }
        connection
            .prepare_cached("DELETE FROM dead_letter WHERE n = ?1")?
            .execute([n])?;
    }
    insert_delivery(connection, event, note)
}

/// Whether `note` tells of a newer chain than the one that is filed: of one that died later. Should two have died
/// in the same millisecond, the outcome must at least not depend on who is filed first.
fn replaces(note: &DeadNote, filed: ChainId, died_at: Timestamp) -> bool {
    note.chain != filed && (note.died_at, note.chain.0) > (died_at, filed.0)
}

fn insert_delivery(connection: &Connection, event: &Arc<Event>, note: &DeadNote) -> Result<()> {
    let item = Item {
        event: Arc::clone(event),
        work: Work::Dead(note.clone()),
        maybe_dup: false,
    };
    connection
        .prepare_cached(
            "INSERT INTO dead_letter (app, id, message, endpoint, chain, reason, died_at, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            event.app.as_bytes(),
            note.id.as_bytes(),
            event.message.as_bytes(),
            note.endpoint.as_bytes(),
            note.chain.0.cast_signed(),
            note.reason.as_str(),
            note.died_at.as_millis(),
            &*envelope::encode(std::slice::from_ref(&item))
        ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<DeadLetter> {
    let bytes: Bytes = row.get::<_, Vec<u8>>(4)?.into();
    if row
        .get_ref(1)?
        .as_blob()
        .map_err(rusqlite::Error::from)?
        .is_empty()
    {
        return Ok(DeadLetter::Unreadable {
            id: id!(row, 0, DeadLetterId),
            died_at: time(row, 2)?,
            cause: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            raw: bytes,
        });
    }
    let items = parsed("a dead letter", envelope::decode(&bytes))?;
    let letter = items.into_iter().next().and_then(|item| match item.work {
        Work::Dead(note) => Some(DeadLetter::Delivery {
            event: item.event,
            note,
        }),
        Work::Match | Work::Targets(_) => None,
    });
    parsed("a dead letter", letter.ok_or("it holds other work"))
}

/// A list of dead letters.
#[derive(Debug)]
struct LetterScan {
    place: Vec<u8>,
    filter: DeadLetterFilter,
}

impl Scan for LetterScan {
    type Row = DeadLetter;
    const MAY_STOP: bool = false;

    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<DeadLetter>> {
        let clause = walk.clause("id");
        let sql = format!(
            "SELECT {LETTER}, endpoint, reason FROM dead_letter WHERE app = :app AND {clause}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let values = named_params! { ":app": self.place, ":from": walk.from(), ":until": walk.until(), ":rows": portion as i64 };
        let mut found = statement.query(values)?;
        let mut portion_of = Portion {
            found: Vec::new(),
            last: None,
        };
        let mut looked = 0;
        while let Some(row) = found.next()? {
            looked += 1;
            if self.wants(row)? {
                portion_of.found.push(read(row)?);
            }
            if looked == portion || portion_of.found.len() == rows {
                portion_of.last = Some(row.get::<_, Value>(0)?);
                break;
            }
        }
        Ok(portion_of)
    }
}

impl LetterScan {
    fn wants(&self, row: &Row<'_>) -> Result<bool> {
        let filter = &self.filter;
        let died_at = time(row, 2)?;
        let endpoint: Option<[u8; 20]> = row.get(5)?;
        let reason: String = row.get(6)?;
        Ok(filter.after.is_none_or(|after| died_at > after)
            && filter.before.is_none_or(|before| died_at < before)
            && filter.reason.is_none_or(|wanted| wanted.as_str() == reason)
            && filter
                .endpoint
                .is_none_or(|wanted| endpoint.map(EndpointId::from_bytes) == Some(wanted)))
    }
}

#[async_trait]
impl DeadLetters for EmbeddedDeadLetters {
    async fn put(&self, letters: Vec<DeadLetter>) -> std::result::Result<(), PortError> {
        let work = move |connection: &Connection| {
            letters
                .iter()
                .try_for_each(|letter| put(connection, letter))
        };
        self.engine.writer.write(work).await
    }

    async fn get(
        &self,
        app: Option<AppId>,
        id: DeadLetterId,
    ) -> std::result::Result<Option<DeadLetter>, PortError> {
        let look = move |connection: &Connection| {
            let sql = format!("SELECT {LETTER} FROM dead_letter WHERE app = ?1 AND id = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query((place(app), id.as_bytes()))?;
            rows.next()?.map(read).transpose()
        };
        self.engine.readers.read(look).await
    }

    async fn list(
        &self,
        app: Option<AppId>,
        filter: &DeadLetterFilter,
        page: Page<DeadLetterId>,
    ) -> std::result::Result<Slice<DeadLetter>, PortError> {
        let letters = LetterScan {
            place: place(app),
            filter: filter.clone(),
        };
        scan(&self.engine.readers, letters, Walk::new(&page)).await
    }

    async fn remove(
        &self,
        app: Option<AppId>,
        ids: &[DeadLetterId],
    ) -> std::result::Result<u64, PortError> {
        let ids = ids.to_vec();
        let work = move |connection: &Connection| {
            let mut delete =
                connection.prepare_cached("DELETE FROM dead_letter WHERE app = ?1 AND id = ?2")?;
            let mut removed = 0;
            for id in &ids {
                removed += delete.execute((place(app), id.as_bytes()))? as u64;
            }
            Ok(removed)
        };
        self.engine.writer.write(work).await
    }

    async fn retain(&self, keep_from: Timestamp) -> std::result::Result<u64, PortError> {
        let work = move |connection: &Connection| {
            let removed = connection
                .prepare_cached(
                    "DELETE FROM dead_letter WHERE n IN \
                     (SELECT n FROM dead_letter WHERE died_at < ?1 LIMIT ?2)",
                )?
                .execute((keep_from.as_millis(), BATCH))?;
            Ok(removed as u64)
        };
        self.engine.writer.write(work).await
    }
}

#[async_trait]
impl Probe for EmbeddedDeadLetters {
    async fn probe(&self) -> std::result::Result<(), PortError> {
        self.engine.probe().await
    }
}
