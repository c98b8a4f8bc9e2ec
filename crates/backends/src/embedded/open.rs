//! Opening a data directory: every reason not to is told in one line, before anything is changed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Options;
use super::lock::{DirectoryLock, LockError};
use super::migrate::{self, Format};

/// The database within a data directory.
pub(super) const FILE: &str = "postrider.db";

/// From SQLite 3.7.0 to 3.51.2, two connections that reset the write-ahead log at the same moment could corrupt
/// the file (<https://sqlite.org/wal.html#walresetbug>). We bring our own, but another crate may pin another.
const OLDEST_SQLITE: i32 = 3_051_003;
/// A page holds several events of common size; larger than SQLite's default, which costs the slow tail.
const PAGE_BYTES: u32 = 8192;
/// The write-ahead log is copied into the file after this many pages, by the writer itself: a checkpointer of
/// its own would race it and lose, and the log would grow without bound.
const CHECKPOINT_PAGES: u32 = 8_000;
/// What a burst makes of the log is given back to the file system down to this size.
const LOG_KEEP_BYTES: i64 = 128 * 1024 * 1024;
/// Nobody but us writes; only a shell or a backup that opens the file can make us wait.
const BUSY: Duration = Duration::from_secs(10);
const STATEMENTS: usize = 128;

/// Why a data directory could not be opened. Each is a line for the person who started the process.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {} is in use by {}", dir.display(), holder(*pid))]
    Locked { dir: PathBuf, pid: Option<u32> },
    #[error("the data directory {} cannot be used: {cause}", dir.display())]
    Directory { dir: PathBuf, cause: io::Error },
    #[error("{} is not a Postrider database", file.display())]
    NotOurs { file: PathBuf },
    #[error(
        "{} was written by a newer release (format {found}, this release reads up to {known})",
        file.display()
    )]
    TooNew {
        file: PathBuf,
        found: i32,
        known: i32,
    },
    #[error("SQLite {found} can corrupt its write-ahead log; this program needs 3.51.3 or newer")]
    SqliteTooOld { found: &'static str },
    #[error("{} is damaged ({cause}); restore a backup", file.display())]
    Damaged { file: PathBuf, cause: String },
    #[error("{} cannot be opened: {cause}", file.display())]
    Database { file: PathBuf, cause: String },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("another process (pid {pid})"),
    )
}

/// A data directory that is ours alone, its file in the present format.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lock: DirectoryLock,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    /// For what must not wait behind lists.
    pub(super) prompt: Connection,
}

pub(super) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    check_sqlite(rusqlite::version_number(), rusqlite::version())?;
    make_private(dir).map_err(|cause| directory(dir, cause))?;
    let lock = DirectoryLock::acquire(dir).map_err(|error| locked(dir, error))?;
    let file = dir.join(FILE);
    create(&file).map_err(|cause| directory(dir, cause))?;
    let writer = writer(&file, options)?;
    let readers = (0..options.readers.max(1))
        .map(|_| reader(&file, options).map_err(|error| database(&file, &error)))
        .collect::<Result<_, _>>()?;
    let prompt = reader(&file, options).map_err(|error| database(&file, &error))?;
    Ok(Opened {
        lock,
        writer,
        readers,
        prompt,
    })
}

pub(super) fn check_sqlite(number: i32, name: &'static str) -> Result<(), OpenError> {
    if number < OLDEST_SQLITE {
        return Err(OpenError::SqliteTooOld { found: name });
    }
    Ok(())
}

fn writer(file: &Path, options: &Options) -> Result<Connection, OpenError> {
    let told = |error| database(file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
    check_format(file, migrate::inspect(&connection).map_err(told)?)?;
    tune_writer(&connection, options).map_err(told)?;
    migrate::migrate(&mut connection).map_err(told)?;
    limit(&connection, options).map_err(told)?;
    Ok(connection)
}

/// Refuses what this release cannot read.
pub(super) fn check_format(file: &Path, format: Format) -> Result<(), OpenError> {
    let file = file.to_owned();
    match format {
        Format::Empty | Format::Known => Ok(()),
        Format::Foreign => Err(OpenError::NotOurs { file }),
        Format::TooNew(found) => Err(OpenError::TooNew {
            file,
            found,
            known: migrate::current(),
        }),
    }
}

fn tune_writer(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEEP_BYTES)?;
    tune(connection, options.cache_bytes)
}

fn tune(connection: &Connection, cache_bytes: usize) -> rusqlite::Result<()> {
    let kibibytes = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kibibytes)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn limit(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let Some(bytes) = options.max_bytes else {
        return Ok(());
    };
    let pages = i64::try_from(bytes / u64::from(PAGE_BYTES)).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

fn reader(file: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let connection = read_only(file)?;
    tune(&connection, options.cache_bytes / 8)?;
    Ok(connection)
}

/// A connection that cannot write, beside whoever has the file open.
pub(super) fn read_only(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Made before SQLite does it: the files that it adds later get the same permissions.
fn create(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    options.open(file).map(drop)
}

/// For the owner alone: the file holds signing keys and payloads.
pub(super) fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

fn directory(dir: &Path, cause: io::Error) -> OpenError {
    OpenError::Directory {
        dir: dir.to_owned(),
        cause,
    }
}

fn locked(dir: &Path, error: LockError) -> OpenError {
    match error {
        LockError::Held(pid) => OpenError::Locked {
            dir: dir.to_owned(),
            pid,
        },
        LockError::Io(cause) => directory(dir, cause),
    }
}

pub(super) fn database(file: &Path, error: &rusqlite::Error) -> OpenError {
    let (file, cause) = (file.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs { file },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { file, cause },
        _ => OpenError::Database { file, cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_can_corrupt_its_log_is_refused() {
        let error = check_sqlite(3_051_002, "3.51.2").unwrap_err();
        assert!(error.to_string().contains("3.51.2"), "{error}");
        assert!(check_sqlite(3_051_003, "3.51.3").is_ok());
        assert!(check_sqlite(rusqlite::version_number(), rusqlite::version()).is_ok());
    }
}
