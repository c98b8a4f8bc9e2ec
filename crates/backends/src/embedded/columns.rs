//! Columns to values and back.

use postrider_core::time::Timestamp;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;

pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// An identifier's column.
macro_rules! id {
    ($row:expr, $column:expr, $kind:ty) => {
        <$kind>::from_bytes($row.get($column)?)
    };
}
pub(super) use id;

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row
        .get::<_, Option<i64>>(column)?
        .map(Timestamp::from_millis))
}

/// A column that a name, a number or a state was written to by us.
pub(super) fn parsed<T, E: std::fmt::Display>(
    what: &str,
    value: std::result::Result<T, E>,
) -> Result<T> {
    value.map_err(|error| StoreError::unreadable(what, error))
}

/// A record that people may want to read.
pub(super) fn to_json<T: Serialize>(record: &T) -> Result<String> {
    parsed("a record cannot be written", serde_json::to_string(record))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    parsed(what, serde_json::from_str(text))
}

/// MessagePack with field names, so that later releases can add some.
pub(super) fn to_pack<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    parsed(
        "a record cannot be written",
        rmp_serde::to_vec_named(record),
    )
}

pub(super) fn from_pack<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    parsed(what, rmp_serde::from_slice(bytes))
}
