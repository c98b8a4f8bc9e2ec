//! What SQLite reports, in the words of the ports.

use postrider_core::ports::PortError;
use rusqlite::{Error, ErrorCode, ffi};

/// What the messages of this backend call it.
pub(super) const PART: &str = "the embedded store";

/// Why a statement, or what was made of its rows, failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Sql(#[from] Error),
    /// A row is there, and is not what this release writes.
    #[error("{0}")]
    Unreadable(String),
}

impl StoreError {
    pub(super) fn unreadable(what: &str, cause: impl std::fmt::Display) -> Self {
        Self::Unreadable(format!("{what}: {cause}"))
    }
}

/// Where in a transaction an error came up, which decides what is known about its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the commit: nothing has happened.
    Work,
    /// In the commit itself.
    Commit,
}

/// The port error for `error`.
///
/// No room is what SQLite calls full, and every failure to extend one of its files. A failed synchronisation
/// at commit leaves open whether the operating system has the transaction on the disk: that is `Unknown`.
pub(super) fn port_error(error: &StoreError, phase: Phase) -> PortError {
    let cause = error.to_string();
    let StoreError::Sql(sql) = error else {
        return PortError::Corrupt { part: PART, cause };
    };
    match sql {
        Error::SqliteFailure(failure, _) if no_room(failure) => {
            PortError::Full { part: PART, cause }
        }
        Error::SqliteFailure(failure, _) => failed(failure.code, phase, cause),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => PortError::Corrupt { part: PART, cause },
        _ => PortError::Unavailable { part: PART, cause },
    }
}

fn failed(code: ErrorCode, phase: Phase, cause: String) -> PortError {
    match (code, phase) {
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
            PortError::Corrupt { part: PART, cause }
        }
        (ErrorCode::SystemIoFailure, Phase::Commit) => PortError::Unknown { part: PART, cause },
        _ => PortError::Unavailable { part: PART, cause },
    }
}

fn no_room(failure: &ffi::Error) -> bool {
    let extending = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_TRUNCATE,
    ];
    failure.code == ErrorCode::DiskFull || extending.contains(&failure.extended_code)
}

/// Every call after the store was closed gets this.
pub(super) fn closed() -> PortError {
    PortError::Unavailable {
        part: PART,
        cause: "it is closed".to_owned(),
    }
}

/// The writer went away between taking a command and answering it.
pub(super) fn unanswered() -> PortError {
    PortError::Unknown {
        part: PART,
        cause: "it was closed before it answered".to_owned(),
    }
}
