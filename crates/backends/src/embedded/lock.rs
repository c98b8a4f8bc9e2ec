//! One process at a time.
//!
//! Leases, rate limits and the list of what is ready live in the memory of the process that has the file
//! open, so a second one would hand out the same work again. SQLite's own locks do not prevent that, for they
//! are held per transaction. The lock here is the operating system's on a file beside the database: it goes
//! with its holder, however that dies, so there is nothing stale to clean up. The text in the file is for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// The name of the lock file within a data directory.
const FILE: &str = "LOCK";

/// The exclusive right to a data directory, until dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

/// Why a directory could not be locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it; its identifier, where the file tells.
    Held(Option<u32>),
    Io(io::Error),
}

impl DirectoryLock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, LockError> {
        let mut file = lock_file(dir).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        sign(&mut file).map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}

fn lock_file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    super::open::private(&mut options);
    options.open(dir.join(FILE))
}

/// A full disk must not keep a data directory from being opened, so an unsigned lock is as good as a signed one.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    match writeln!(file, "{}", std::process::id()) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
