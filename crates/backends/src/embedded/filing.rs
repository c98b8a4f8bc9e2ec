//! Row numbers that are made of times.
//!
//! A table whose old rows are to be removed needs to find them without looking at the others. An index by time
//! would do; this does it for free, by filing each row under a number that begins with the time:
//!
//! ```text
//!  63 bits = │ 42 bits of milliseconds since 1970 │ 21 bits of count within the millisecond │
//! ```
//!
//! What counts is the order, so a time outside of 1970 to 2109 is moved to the nearest within.

use postrider_core::time::Timestamp;
use rusqlite::Connection;

use super::columns::Result;

const COUNT_BITS: u32 = 21;
const MAX_MILLIS: i64 = (1 << 42) - 1;

/// The first number of a time; the first of the next millisecond ends it.
pub(super) fn first(at: Timestamp) -> i64 {
    at.as_millis().clamp(0, MAX_MILLIS) << COUNT_BITS
}

/// A number under which nothing is filed yet.
pub(super) fn next(connection: &Connection, table: &str, at: Timestamp) -> Result<i64> {
    let from = first(at);
    let to = from + (1 << COUNT_BITS);
    let sql = format!("SELECT max(n) FROM {table} WHERE n >= ?1 AND n < ?2");
    let last: Option<i64> = connection
        .prepare_cached(&sql)?
        .query_row((from, to), |row| row.get(0))?;
    Ok(last.map_or(from, |last| last + 1))
}

/// Removes up to `limit` rows of `table` that have expired at `now`, by their column `until`. A row whose end was
/// put off since it was filed is filed anew, under its present end. Returns how many rows were removed; where that
/// is none though some were filed anew, how many those are, so that 0 means that nothing is left to do.
pub(super) fn sweep(
    connection: &Connection,
    table: &str,
    now: Timestamp,
    limit: u32,
) -> Result<u64> {
    let (mut removed, mut moved) = (0, 0);
    while removed == 0 && moved < u64::from(limit) {
        let candidates = candidates(connection, table, now, limit)?;
        if candidates.is_empty() {
            return Ok(0);
        }
        for (n, until) in candidates {
            if until <= now {
                let sql = format!("DELETE FROM {table} WHERE n = ?1");
                connection.prepare_cached(&sql)?.execute([n])?;
                removed += 1;
            } else {
                refile(connection, table, n, until)?;
                moved += 1;
            }
        }
    }
    Ok(if removed > 0 { removed } else { moved })
}

fn refile(connection: &Connection, table: &str, n: i64, until: Timestamp) -> Result<()> {
    let anew = next(connection, table, until)?;
    let sql = format!("UPDATE {table} SET n = ?2 WHERE n = ?1");
    connection.prepare_cached(&sql)?.execute([n, anew])?;
    Ok(())
}

fn candidates(
    connection: &Connection,
    table: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(i64, Timestamp)>> {
    let sql = format!("SELECT n, until FROM {table} WHERE n < ?1 ORDER BY n LIMIT ?2");
    let end = first(now + std::time::Duration::from_millis(1));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((end, limit), |row| {
        Ok((row.get(0)?, super::columns::time(row, 1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_times_do() {
        let times = [
            i64::MIN,
            -1,
            0,
            1,
            1_700_000_000_000,
            1_700_000_000_001,
            i64::MAX,
        ];
        let numbers: Vec<i64> = times
            .iter()
            .map(|millis| first(Timestamp::from_millis(*millis)))
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!(numbers.iter().all(|number| *number >= 0));
    }
}
