//! The statements of the broker.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use super::waiting::{Key, WaitingPlan, WaitingRows};
use super::{Queue, Seq};
use crate::embedded::error::StoreError;

/// A portion that is read into a window: at most so many packs, and so many bytes beside the first.
const PORTION: usize = 512;
const PORTION_BYTES: usize = 4 * 1024 * 1024;

type Result<T> = std::result::Result<T, StoreError>;

/// A pack that is to be written.
#[derive(Debug, Clone)]
pub(super) struct NewRow {
    /// `None` is ready.
    pub(super) due: Option<i64>,
    pub(super) bytes: Bytes,
}

/// What a file holds when it is opened.
#[derive(Debug)]
pub(super) struct Found {
    /// The highest number in use.
    pub(super) last: Seq,
    pub(super) last_ready: Seq,
    pub(super) next_due: Option<i64>,
    pub(super) quarantined: Vec<Seq>,
}

pub(super) fn look(connection: &Connection) -> Result<Found> {
    let highest = |queue: Queue| -> rusqlite::Result<Seq> {
        let sql = format!("SELECT coalesce(max(seq), 0) FROM {}", queue.table());
        connection.query_row(&sql, [], |row| row.get(0))
    };
    let last_ready = highest(Queue::Ready)?;
    let last_waiting = highest(Queue::Waiting)?;
    let quarantined = connection
        .prepare("SELECT seq FROM quarantine ORDER BY seq")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<Seq>>>()?;
    let last_apart = quarantined.last().copied().unwrap_or(0);
    let last_taken =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM taken", [], |row| {
            row.get(0)
        })?;
    let next_due = connection.query_row("SELECT min(due) FROM waiting", [], |row| row.get(0))?;
    Ok(Found {
        last: last_ready.max(last_waiting).max(last_apart).max(last_taken),
        last_ready,
        next_due,
        quarantined,
    })
}

/// Writes packs under numbers that follow `last`.
pub(super) fn insert(connection: &Connection, last: Seq, rows: &[NewRow]) -> Result<()> {
    let mut ready = connection.prepare_cached("INSERT INTO ready (seq, bytes) VALUES (?1, ?2)")?;
    let mut waiting =
        connection.prepare_cached("INSERT INTO waiting (seq, due, bytes) VALUES (?1, ?2, ?3)")?;
    for (seq, row) in (last + 1..).zip(rows) {
        match row.due {
            None => ready.execute((seq, &*row.bytes))?,
            Some(due) => waiting.execute((seq, due, &*row.bytes))?,
        };
    }
    Ok(())
}

pub(super) fn delete(
    connection: &Connection,
    packs: &[(Queue, Seq)],
    counted: &[Seq],
) -> Result<()> {
    for (queue, seq) in packs {
        let sql = match queue {
            Queue::Ready => "DELETE FROM ready WHERE seq = ?1",
            Queue::Waiting => "DELETE FROM waiting WHERE seq = ?1",
            Queue::Quarantine => "DELETE FROM quarantine WHERE seq = ?1",
        };
        connection.prepare_cached(sql)?.execute([seq])?;
    }
    for seq in counted {
        forget_count(connection, *seq)?;
    }
    Ok(())
}

fn forget_count(connection: &Connection, seq: Seq) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM taken WHERE seq = ?1")?
        .execute([seq])?;
    Ok(())
}

/// Counts one more delivery of each. Returns how many there were before.
pub(super) fn count(connection: &Connection, packs: &[Seq]) -> Result<Vec<u32>> {
    let mut add = connection.prepare_cached(
        "INSERT INTO taken (seq, times) VALUES (?1, 1) \
         ON CONFLICT (seq) DO UPDATE SET times = times + 1 RETURNING times - 1",
    )?;
    let mut before = Vec::with_capacity(packs.len());
    for seq in packs {
        before.push(add.query_row([seq], |row| row.get(0))?);
    }
    Ok(before)
}

/// Moves a pack to the quarantine, its deliveries forgotten.
pub(super) fn set_apart(connection: &Connection, queue: Queue, seq: Seq) -> Result<()> {
    forget_count(connection, seq)?;
    if queue == Queue::Quarantine {
        return Ok(());
    }
    let copy = format!(
        "INSERT INTO quarantine SELECT seq, bytes FROM {} WHERE seq = ?1",
        queue.table()
    );
    connection.prepare_cached(&copy)?.execute([seq])?;
    delete(connection, &[(queue, seq)], &[])
}

pub(super) fn bytes(connection: &Connection, queue: Queue, seq: Seq) -> Result<Option<Bytes>> {
    let sql = format!("SELECT bytes FROM {} WHERE seq = ?1", queue.table());
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement
        .query_row([seq], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    Ok(found.map(Bytes::from))
}

/// The packs that follow `after`, and whether there may be more.
pub(super) fn ready(connection: &Connection, after: Seq) -> Result<(Vec<(Seq, Bytes)>, bool)> {
    let mut statement =
        connection.prepare_cached("SELECT seq, bytes FROM ready WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = statement.query([after])?;
    portion(|| {
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some((row.get(0)?, row.get::<_, Vec<u8>>(1)?.into())))
    })
}

pub(super) fn waiting(connection: &Connection, plan: WaitingPlan) -> Result<WaitingRows> {
    // All statements must see the same rows.
    let transaction = connection.unchecked_transaction()?;
    let (rows, cut) = due(&transaction, plan)?;
    let read_to = match (cut, rows.last()) {
        (true, Some((last, _))) => *last,
        _ => (plan.due_by, Seq::MAX),
    };
    let next = next_due(&transaction, read_to)?;
    Ok(WaitingRows { rows, cut, next })
}

/// SQLite does not search an index on `due` by (due, seq), though it is in that order. So what is due at the very
/// time of the last row that was read comes from one statement, and what is due later from another.
fn due(connection: &Connection, plan: WaitingPlan) -> Result<(Vec<(Key, Bytes)>, bool)> {
    let mut same = connection.prepare_cached(
        "SELECT due, seq, bytes FROM waiting WHERE due = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    let mut later = connection.prepare_cached(
        "SELECT due, seq, bytes FROM waiting WHERE due > ?1 AND due <= ?2 ORDER BY due, seq",
    )?;
    let (after, seq) = plan.after;
    let mut same = same.query((after, seq))?;
    let mut later = later.query((after, plan.due_by))?;
    portion(|| match same.next()? {
        Some(row) => waiting_row(row).map(Some),
        None => later.next()?.map(waiting_row).transpose(),
    })
}

fn waiting_row(row: &Row<'_>) -> Result<(Key, Bytes)> {
    let key = (row.get(0)?, row.get(1)?);
    Ok((key, row.get::<_, Vec<u8>>(2)?.into()))
}

fn next_due(connection: &Connection, (due, seq): Key) -> Result<Option<i64>> {
    let same = connection
        .prepare_cached("SELECT 1 FROM waiting WHERE due = ?1 AND seq > ?2")?
        .exists((due, seq))?;
    if same {
        return Ok(Some(due));
    }
    let mut later = connection.prepare_cached("SELECT min(due) FROM waiting WHERE due > ?1")?;
    Ok(later.query_row([due], |row| row.get(0))?)
}

fn portion<K>(
    mut next: impl FnMut() -> Result<Option<(K, Bytes)>>,
) -> Result<(Vec<(K, Bytes)>, bool)> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < PORTION && bytes < PORTION_BYTES {
        let Some((key, pack)) = next()? else {
            return Ok((rows, false));
        };
        bytes += pack.len();
        rows.push((key, pack));
    }
    Ok((rows, true))
}

/// Counts rows of `ready` in (`after`, `to`], up to `limit`. Returns the last one it looked at.
pub(super) fn count_ready(
    connection: &Connection,
    after: Seq,
    to: Seq,
    limit: u32,
) -> Result<(u64, Option<Seq>)> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), max(seq) FROM \
         (SELECT seq FROM ready WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)",
    )?;
    let counted = statement.query_row((after, to, limit), |row| {
        Ok((row.get::<_, i64>(0)?, row.get(1)?))
    })?;
    Ok((counted.0.unsigned_abs(), counted.1))
}

/// How many packs wait beyond `now`, and how many are due, held ones included.
pub(super) fn count_waiting(connection: &Connection, now: i64) -> Result<(u64, u64)> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM waiting WHERE due > ?1), (SELECT count(*) FROM waiting WHERE due <= ?1)",
    )?;
    let counted = statement.query_row([now], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    Ok((counted.0.unsigned_abs(), counted.1.unsigned_abs()))
}
