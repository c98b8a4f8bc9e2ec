//! Backups of a database that is in use.
//!
//! Copying the file of a live database is no backup: what was committed last is in the log beside it, and pages
//! change under the copy. This goes through SQLite's backup interface on a connection of its own, which reads
//! as of one moment and needs no lock that the serving process would notice. While it runs the write-ahead
//! log cannot be started anew, so it grows by what is written meanwhile.
//!
//! Restoring is putting the copy into an empty directory as `postrider.db` and opening that.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::migrate;
use super::open::{FILE, OpenError, check_format, check_sqlite, database, private, read_only};

/// Pages that are copied in one go.
const PAGES: i32 = 1_024;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {cause}", file.display())]
    Target { file: PathBuf, cause: io::Error },
    #[error(transparent)]
    Source(#[from] OpenError),
    #[error("copying failed: {0}")]
    Copy(#[from] rusqlite::Error),
    #[error("the backup was interrupted")]
    Interrupted,
}

/// Copies the database of a data directory to the file `to`, whether or not a process is using it.
///
/// # Errors
/// Where `to` exists already or cannot be written, or the directory holds no database that can be read.
pub async fn backup_directory(dir: &Path, to: &Path) -> Result<(), BackupError> {
    copy(&dir.join(FILE), to).await
}

pub(super) async fn copy(file: &Path, to: &Path) -> Result<(), BackupError> {
    let (file, to) = (file.to_owned(), to.to_owned());
    let copying = tokio::task::spawn_blocking(move || copy_blocking(&file, &to));
    copying.await.map_err(|_| BackupError::Interrupted)?
}

fn copy_blocking(file: &Path, to: &Path) -> Result<(), BackupError> {
    let source = source(file)?;
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // Only a complete copy ever bears the name that was asked for.
    let partial = partial_name(to);
    let made = create(&partial).map_err(|cause| target(&partial, cause));
    let copied = made.and_then(|()| copy_into(&source, &partial));
    let placed = copied.and_then(|()| place(&partial, to).map_err(|cause| target(to, cause)));
    if placed.is_err() {
        let _ = fs::remove_file(&partial);
    }
    placed
}

fn source(file: &Path) -> Result<Connection, OpenError> {
    check_sqlite(rusqlite::version_number(), rusqlite::version())?;
    let told = |error| database(file, &error);
    let source = read_only(file).map_err(told)?;
    check_format(file, migrate::inspect(&source).map_err(told)?)?;
    Ok(source)
}

fn create(partial: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options);
    options.open(partial).map(drop)
}

fn copy_into(source: &Connection, partial: &Path) -> Result<(), BackupError> {
    // A transaction of the source's own pins the moment; without it every commit would start the copy anew.
    let moment = source.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(partial, flags)?;
    let backup = Backup::new(source, &mut copy)?;
    while backup.step(PAGES)? != StepResult::Done {}
    drop(backup);
    copy.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn place(partial: &Path, to: &Path) -> io::Result<()> {
    fs::File::open(partial)?.sync_all()?;
    fs::rename(partial, to)?;
    match to.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => fs::File::open(dir)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

fn partial_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn target(file: &Path, cause: io::Error) -> BackupError {
    BackupError::Target {
        file: file.to_owned(),
        cause,
    }
}
