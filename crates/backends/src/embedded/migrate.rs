//! The format of the file and how an older one becomes the present one.
//!
//! The version stands in `PRAGMA user_version`, beside an application id by which a file is known to be ours at
//! all. Each step turns version *n* into *n* + 1 in one transaction together with the new number, so a process
//! that dies in the middle leaves the old format behind. Steps are never edited, only added.

use rusqlite::{Connection, TransactionBehavior};

use super::schema;

/// "Pstr" in ASCII: what `file` and `PRAGMA application_id` know a Postrider database by.
pub(super) const APPLICATION_ID: i32 = 0x5073_7472;

/// Step *n* leads from version *n* to *n* + 1.
const STEPS: &[&str] = &[schema::VERSION_1, schema::VERSION_2, schema::VERSION_3];

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Nothing is in it yet.
    Empty,
    /// Ours, and this release can read it once it is migrated.
    Known,
    /// Ours, of a version this release does not know.
    TooNew(i32),
    Foreign,
}

/// The version that this release writes.
pub(super) fn current() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

pub(super) fn inspect(connection: &Connection) -> rusqlite::Result<Format> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, version) = (number("application_id")?, number("user_version")?);
    Ok(match application {
        APPLICATION_ID if version > current() => Format::TooNew(version),
        APPLICATION_ID => Format::Known,
        0 if tables == 0 && version == 0 => Format::Empty,
        _ => Format::Foreign,
    })
}

/// Brings a file that is empty or known to the present version.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(0);
    for (version, step) in (found + 1..).zip(STEPS.iter().skip(done)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
