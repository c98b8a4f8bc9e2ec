//! Trials of what may end the process.

use postrider_core::ports::{TrialEnd, TrialKey};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::embedded::columns::{Result, time};
use crate::embedded::filing;

/// A count, its row, and until when it is kept.
struct Row {
    n: i64,
    begun: u32,
    until: Timestamp,
}

fn find(connection: &Connection, key: TrialKey) -> Result<Option<Row>> {
    let mut statement =
        connection.prepare_cached("SELECT n, begun, until FROM trial WHERE key = ?1")?;
    let mut rows = statement.query([key.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Row {
        n: row.get(0)?,
        begun: row.get(1)?,
        until: time(row, 2)?,
    }))
}

pub(super) fn begin(
    connection: &Connection,
    now: Timestamp,
    key: TrialKey,
    keep_until: Timestamp,
) -> Result<u32> {
    let Some(row) = find(connection, key)? else {
        connection
            .prepare_cached("INSERT INTO trial (n, key, begun, until) VALUES (?1, ?2, 1, ?3)")?
            .execute(params![
                filing::next(connection, "trial", keep_until)?,
                key.0,
                keep_until.as_millis()
            ])?;
        return Ok(1);
    };
    let before = if row.until > now { row.begun } else { 0 };
    let begun = before.saturating_add(1);
    connection
        .prepare_cached("UPDATE trial SET begun = ?2, until = ?3 WHERE n = ?1")?
        .execute((row.n, begun, keep_until.max(row.until).as_millis()))?;
    Ok(begun)
}

pub(super) fn end(connection: &Connection, key: TrialKey, end: TrialEnd) -> Result<()> {
    let least = match end {
        TrialEnd::Acquitted => u32::MAX,
        TrialEnd::Withdrawn => 1,
    };
    connection
        .prepare_cached("DELETE FROM trial WHERE key = ?1 AND begun <= ?2")?
        .execute(params![key.0, least])?;
    connection
        .prepare_cached("UPDATE trial SET begun = begun - 1 WHERE key = ?1")?
        .execute([key.0])?;
    Ok(())
}
