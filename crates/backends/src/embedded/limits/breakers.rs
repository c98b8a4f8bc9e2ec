//! Circuit breakers, compared and set.

use postrider_core::id::EndpointId;
use postrider_core::ports::{BreakerRecord, BreakerState};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::embedded::columns::{Result, parsed, time};
use crate::embedded::registry::bump;

pub(super) fn breaker(
    connection: &Connection,
    endpoint: EndpointId,
) -> Result<Option<(BreakerRecord, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT state, since, open_until, openings, version FROM breaker WHERE endpoint = ?1",
    )?;
    let mut rows = statement.query([endpoint.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let state = match row.get(0)? {
        0_u8 => Ok(BreakerState::Closed),
        1 => Ok(BreakerState::Open),
        2 => Ok(BreakerState::HalfOpen),
        _ => Err("not a known one"),
    };
    let record = BreakerRecord {
        state: parsed("a breaker's state", state)?,
        since: time(row, 1)?,
        until: time(row, 2)?,
        openings: row.get(3)?,
    };
    Ok(Some((record, row.get::<_, i64>(4)?.unsigned_abs())))
}

/// A version is never used twice, so nobody takes a record that was removed and made anew for the one it knew.
pub(super) fn set(
    connection: &Connection,
    endpoint: EndpointId,
    record: &BreakerRecord,
    expect: Option<u64>,
    keep_until: Timestamp,
) -> Result<bool> {
    let stands = connection
        .prepare_cached("SELECT version FROM breaker WHERE endpoint = ?1")?
        .query_row([endpoint.as_bytes()], |row| row.get::<_, i64>(0))
        .optional()?
        .map(i64::unsigned_abs);
    if stands != expect {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO breaker (endpoint, state, since, open_until, openings, version, until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET state = ?2, since = ?3, open_until = ?4, openings = ?5, version = ?6, \
             until = max(until, ?7)",
        )?
        .execute(params![
            endpoint.as_bytes(),
            record.state as u8,
            record.since.as_millis(),
            record.until.as_millis(),
            record.openings,
            bump(connection)?.cast_signed(),
            keep_until.as_millis()
        ])?;
    Ok(true)
}

pub(super) fn forget(connection: &Connection, now: Timestamp, limit: u32) -> Result<u64> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM breaker WHERE endpoint IN (SELECT endpoint FROM breaker WHERE until <= ?1 LIMIT ?2)",
        )?
        .execute((now.as_millis(), limit))?;
    Ok(removed as u64)
}
