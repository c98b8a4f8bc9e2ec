//! What the six ports share: the file, its one writer and its readers.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use postrider_core::ports::PortError;

use super::lock::DirectoryLock;
use super::open::{FILE, OpenError, Opened};
use super::reader::Readers;
use super::writer::{Ending, Writer};

/// What a probe asks room for: more than a small event takes, less than anybody would miss.
const PROBE_BYTES: u32 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    /// For single documents: whoever calls is asked after before anything else is done.
    pub(super) prompt: Readers,
    pub(super) file: PathBuf,
    /// The last to go, so that nobody opens a file that is still being closed.
    lock: Mutex<Option<DirectoryLock>>,
}

impl Engine {
    pub(super) fn start(dir: &Path, opened: Opened) -> Result<Self, OpenError> {
        let writer = Writer::start(opened.writer).map_err(|cause| OpenError::Directory {
            dir: dir.to_owned(),
            cause,
        })?;
        Ok(Self {
            writer,
            readers: Readers::new(opened.readers),
            prompt: Readers::new(vec![opened.prompt]),
            file: dir.join(FILE),
            lock: Mutex::new(Some(opened.lock)),
        })
    }

    /// Writes as much as an event would and takes it away again, so that a full disk is found out.
    pub(super) async fn probe(&self) -> Result<(), PortError> {
        let fill = self.writer.write(|connection| {
            connection.prepare_cached("DELETE FROM room")?.execute([])?;
            connection
                .prepare_cached("INSERT INTO room VALUES (zeroblob(?1))")?
                .execute([PROBE_BYTES])?;
            Ok(())
        });
        fill.await?;
        let clear = self.writer.write(|connection| {
            connection.prepare_cached("DELETE FROM room")?.execute([])?;
            Ok(())
        });
        clear.await
    }

    pub(super) async fn close(&self, ending: Ending) {
        self.readers.close().await;
        self.prompt.close().await;
        self.writer.stop(ending).await;
        let lock = self.lock.lock().take();
        drop(lock);
    }
}
