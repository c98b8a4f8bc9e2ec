//! Shedding the log.

use postrider_core::id::{MessageId, RANDOM_LEN};
use postrider_core::time::Timestamp;
use rusqlite::Connection;

use crate::embedded::columns::Result;
use crate::embedded::filing;

/// Rows of each kind that one call touches.
const BATCH: u32 = 1_000;

pub(super) fn retain(connection: &Connection, now: Timestamp, keep_from: Timestamp) -> Result<u64> {
    let attempts = connection
        .prepare_cached("DELETE FROM attempt WHERE n IN (SELECT n FROM attempt WHERE n < ?1 ORDER BY n LIMIT ?2)")?
        .execute((filing::first(keep_from), BATCH))?;
    let messages = forget_messages(connection, keep_from)?;
    let payloads = connection
        .prepare_cached(
            "UPDATE message SET payload = NULL WHERE n IN \
             (SELECT n FROM message WHERE payload IS NOT NULL AND payload_until <= ?1 LIMIT ?2)",
        )?
        .execute((now.as_millis(), BATCH))?;
    forget_strays(connection, keep_from)?;
    Ok((attempts + messages + payloads) as u64)
}

/// Messages go with their destinations.
fn forget_messages(connection: &Connection, keep_from: Timestamp) -> Result<usize> {
    let mut deleting = connection.prepare_cached(
        "DELETE FROM message WHERE n IN (SELECT n FROM message WHERE n < ?1 ORDER BY n LIMIT ?2) \
         RETURNING app, id",
    )?;
    let found = deleting.query_map((filing::first(keep_from), BATCH), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let gone: Vec<([u8; 20], [u8; 20])> = found.collect::<rusqlite::Result<_>>()?;
    let mut destinations =
        connection.prepare_cached("DELETE FROM destination WHERE message = ?2 AND app = ?1")?;
    for message in &gone {
        destinations.execute(*message)?;
    }
    Ok(gone.len())
}

/// Destinations that were recorded after their message was shed, or whose message never arrived. Identifiers sort
/// by time, so these are at the start of the table, where only what is still being retried may lie beside them.
fn forget_strays(connection: &Connection, keep_from: Timestamp) -> Result<()> {
    let oldest_kept = MessageId::new(keep_from, [0; RANDOM_LEN]);
    connection
        .prepare_cached(
            "DELETE FROM destination WHERE (message, endpoint, app) IN \
             (SELECT d.message, d.endpoint, d.app FROM destination d \
              WHERE d.message < ?1 AND d.at < ?2 \
              AND NOT EXISTS (SELECT 1 FROM message m WHERE m.app = d.app AND m.id = d.message) \
              LIMIT ?3)",
        )?
        .execute((oldest_kept.as_bytes(), keep_from.as_millis(), BATCH))?;
    Ok(())
}
