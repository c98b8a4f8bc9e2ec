//! The one thread that writes.
//!
//! SQLite has one writer at a time, and what a durable write costs is the synchronisation, not the rows. So
//! whoever wants to write hands in a command and awaits the answer; the thread takes one command, then all that
//! wait, applies them in one transaction, commits, and answers all. Nobody lingers for company: what arrives
//! while a commit is under way is the next batch, so batches grow exactly with the load.
//!
//! ```text
//!  callers ──command──▶ [bounded queue] ──all that wait──▶ BEGIN … COMMIT (fsync) ──▶ effects ──▶ answers
//! ```
//!
//! - **A refusal is a result, not an error.** A command looks before it writes ("stale", "taken"), so it never
//!   has to undo a part of what it did, and never disturbs those that share its transaction.
//! - **An error undoes the batch**, and each of its commands is then tried by itself: one that cannot be applied
//!   fails alone, and on a full disk those that free space still go through.
//! - **Effects on memory follow the commit**, on this thread, in the order of commits, before the answer.

use std::thread::JoinHandle;

use parking_lot::Mutex;
use postrider_core::ports::PortError;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::error::{Phase, StoreError, closed, port_error, unanswered};

/// Commands that may wait. Callers beyond that wait for a place, which is how a slow disk slows them down.
const QUEUE: usize = 2_048;
/// Commands in one transaction.
const BATCH: usize = 1_024;

/// Hands commands to the thread. Dropping it ends the thread, and waits until it has.
#[derive(Debug)]
pub(super) struct Writer {
    commands: mpsc::Sender<Message>,
    thread: Joined,
}

enum Message {
    Run(Box<dyn Command>),
    Stop(Ending, oneshot::Sender<()>),
}

/// How the thread leaves the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The log is copied into the file.
    Clean,
    /// As if the process had been killed: the next one recovers from the log.
    Abrupt,
}

/// One unit of the transaction.
trait Command: Send {
    /// Reads and writes within the transaction; called anew where the transaction is.
    fn apply(&mut self, connection: &Connection) -> Result<(), StoreError>;
    /// Called once, after the commit or where there was none.
    fn answer(self: Box<Self>, outcome: Result<(), PortError>);
}

struct Job<T, U, W, E> {
    work: W,
    done: Option<T>,
    effect: E,
    reply: oneshot::Sender<Result<U, PortError>>,
}

impl<T, U, W, E> Command for Job<T, U, W, E>
where
    T: Send,
    U: Send,
    W: FnMut(&Connection) -> Result<T, StoreError> + Send,
    E: FnOnce(T) -> U + Send,
{
    fn apply(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.done = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), PortError>) {
        let Self {
            done,
            effect,
            reply,
            ..
        } = *self;
        let answer = outcome.and_then(|()| done.ok_or_else(unanswered));
        // Whoever asked may be gone; what was done is done.
        let _ = reply.send(answer.map(effect));
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("postrider-writer".to_owned())
            .spawn(move || run(connection, queue))?;
        Ok(Self {
            commands,
            thread: Joined(Mutex::new(Some(thread))),
        })
    }

    /// Applies `work` in a transaction, and returns its result once that is durable.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_then(work, |done| done).await
    }

    /// Like `write`; once durable, `effect` runs on the writer's thread, in the order of commits, even where the
    /// caller does not wait any more. It must not hold on to the writer.
    pub(super) async fn write_then<T, U, W, E>(&self, work: W, effect: E) -> Result<U, PortError>
    where
        T: Send + 'static,
        U: Send + 'static,
        W: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        E: FnOnce(T) -> U + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            work,
            done: None,
            effect,
            reply,
        };
        let command = Message::Run(Box::new(job));
        self.commands.send(command).await.map_err(|_| closed())?;
        answer.await.map_err(|_| unanswered())?
    }

    /// Lets the thread finish what was handed in, and returns when it has. Later commands are refused.
    pub(super) async fn stop(&self, ending: Ending) {
        let (stopped, done) = oneshot::channel();
        if self
            .commands
            .send(Message::Stop(ending, stopped))
            .await
            .is_ok()
        {
            let _ = done.await;
        }
        self.thread.join();
    }
}

/// A thread that is waited for.
#[derive(Debug)]
struct Joined(Mutex<Option<JoinHandle<()>>>);

impl Joined {
    fn join(&self) {
        let thread = self.0.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the embedded store has panicked");
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.join();
    }
}

fn run(connection: Connection, mut queue: mpsc::Receiver<Message>) {
    let mut file = File {
        connection,
        log_is_stuck: false,
    };
    let mut batch = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let stop = fill(&mut batch, first, &mut queue);
        file.commit(&mut batch);
        if let Some((ending, stopped)) = stop {
            queue.close();
            end(file.connection, ending);
            let _ = stopped.send(());
            return;
        }
    }
    end(file.connection, Ending::Clean);
}

type Stop = (Ending, oneshot::Sender<()>);

/// Takes everything that waits, up to a request to stop.
fn fill(
    batch: &mut Vec<Box<dyn Command>>,
    first: Message,
    queue: &mut mpsc::Receiver<Message>,
) -> Option<Stop> {
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Run(command) => batch.push(command),
            Message::Stop(ending, stopped) => return Some((ending, stopped)),
        }
        next = if batch.len() < BATCH {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    None
}

/// The file, as the thread has it.
struct File {
    connection: Connection,
    /// There was no room for the log to grow, and merging it into the file did not make any.
    log_is_stuck: bool,
}

impl File {
    fn commit(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        match transact(&mut self.connection, batch) {
            Ok(()) => {
                self.log_is_stuck = false;
                batch.drain(..).for_each(|command| command.answer(Ok(())));
            }
            Err(failure) => {
                self.make_room(&failure);
                self.commit_singly(batch);
            }
        }
    }

    fn commit_singly(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        for command in batch.drain(..) {
            let mut alone = [command];
            let outcome = transact(&mut self.connection, &mut alone);
            let [command] = alone;
            command.answer(outcome.map_err(|failure| port_error(&failure.error, failure.phase)));
        }
    }

    /// Where the log cannot grow, it is begun anew once what it holds has been merged into the file: that may need
    /// no room. Tried once until something was written again, because it is a lot of work in vain.
    fn make_room(&mut self, failure: &Failure) {
        let full = matches!(
            port_error(&failure.error, failure.phase),
            PortError::Full { .. }
        );
        if full && !self.log_is_stuck {
            let merge = "PRAGMA wal_checkpoint(PASSIVE)";
            let merged = self.connection.query_row(merge, [], |_| Ok(()));
            self.log_is_stuck = merged.is_err();
        }
    }
}

struct Failure {
    phase: Phase,
    error: StoreError,
}

/// All or nothing. An error rolls back, as the transaction goes out of scope.
fn transact(connection: &mut Connection, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    let failed = |phase| move |error: StoreError| Failure { phase, error };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(Phase::Work)(error.into()))?;
    for command in batch {
        command.apply(&transaction).map_err(failed(Phase::Work))?;
    }
    transaction
        .commit()
        .map_err(|error| failed(Phase::Commit)(error.into()))
}

fn end(connection: Connection, ending: Ending) {
    let ended = match ending {
        Ending::Clean => connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())),
        Ending::Abrupt => connection
            .set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                true,
            )
            .map(drop),
    };
    let ended = ended.and_then(|()| connection.close().map_err(|(_, error)| error));
    if let Err(error) = ended {
        tracing::warn!(%error, "the embedded store was closed uncleanly; the next start recovers it");
    }
}
