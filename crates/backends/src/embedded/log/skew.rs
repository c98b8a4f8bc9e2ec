//! Lists between two times, without looking at the rows outside of them.
//!
//! A list goes by identifier, its filter by the time in the record. The two are nearly the same, because an
//! identifier begins with the time at which it was made; but they need not be: a message that is accepted at the
//! second try bears the identifier of the first, and clocks differ. So the file keeps how far apart they ever
//! were, and a list looks at the identifiers that far around the times that are asked for: never too few.

use std::time::Duration;

use postrider_core::id::{MessageId, RANDOM_LEN};
use postrider_core::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::embedded::columns::Result;
use crate::embedded::paging::Walk;

/// Whose identifiers and times.
#[derive(Debug, Clone, Copy)]
pub(super) enum Skew {
    Message,
    Attempt,
}

/// Bytes of an identifier that tell its time.
const TIME_BYTES: usize = 20 - RANDOM_LEN;

impl Skew {
    const fn name(self) -> &'static str {
        match self {
            Self::Message => "message_skew",
            Self::Attempt => "attempt_skew",
        }
    }

    fn known(self, connection: &Connection) -> Result<u64> {
        let mut statement =
            connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
        let known: i64 = statement.query_row([self.name()], |row| row.get(0))?;
        Ok(known.unsigned_abs())
    }

    /// Takes note of rows that are being written, as pairs of an identifier's time and the record's.
    pub(super) fn note(
        self,
        connection: &Connection,
        times: impl Iterator<Item = (Timestamp, Timestamp)>,
    ) -> Result<()> {
        let apart = times
            .map(|(made, at)| made.since(at).max(at.since(made)))
            .max();
        let Some(apart) = apart else { return Ok(()) };
        let apart = u64::try_from(apart.as_millis()).unwrap_or(u64::MAX);
        if apart <= self.known(connection)? {
            return Ok(());
        }
        // With room to spare, so that this is written a few times in the life of a file.
        let noted = i64::try_from(apart.saturating_mul(2)).unwrap_or(i64::MAX);
        connection
            .prepare_cached("UPDATE counter SET value = ?2 WHERE name = ?1")?
            .execute((self.name(), noted))?;
        Ok(())
    }

    /// Cuts off what cannot lie between the two times. Must be asked in the transaction that reads the rows.
    pub(super) fn narrow(
        self,
        connection: &Connection,
        walk: &Walk,
        after: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<Walk> {
        if after.is_none() && before.is_none() {
            return Ok(walk.clone());
        }
        let apart = Duration::from_millis(self.known(connection)?);
        let lowest = after.map(|after| beginning(after - apart));
        let highest = before
            .map(|before| beginning(before + apart))
            .map(|mut start| {
                start.extend([0xff; RANDOM_LEN + 1]);
                start
            });
        Ok(walk.between(lowest.map(Value::Blob), highest.map(Value::Blob)))
    }
}

/// What identifiers of a time begin with; by itself it sorts before all of them.
fn beginning(at: Timestamp) -> Vec<u8> {
    if at < MessageId::MIN.created_at() {
        return Vec::new();
    }
    if at > MessageId::MAX.created_at() {
        return vec![0xff; TIME_BYTES];
    }
    let first = MessageId::new(at, [0; RANDOM_LEN]);
    first.as_bytes()[..TIME_BYTES].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_sort_as_times_do() {
        let times = [
            i64::MIN,
            0,
            1_399_999_999_999,
            1_400_000_000_000,
            1_700_000_000_996,
            1_700_000_001_000,
        ];
        let late = [5_694_967_295_000, 9_000_000_000_123, i64::MAX];
        let times = times.into_iter().chain(late).map(Timestamp::from_millis);
        let beginnings: Vec<_> = times.map(beginning).collect();
        assert!(beginnings.is_sorted(), "{beginnings:?}");
    }

    #[test]
    fn an_identifier_lies_within_the_bounds_of_its_time() {
        for at in [0, 1_700_000_000_003, i64::MAX].map(Timestamp::from_millis) {
            for random in [[0; RANDOM_LEN], [0xff; RANDOM_LEN]] {
                let id = MessageId::new(at, random);
                assert!(beginning(id.created_at()).as_slice() < id.as_bytes().as_slice());
            }
        }
    }
}
