//! Publishing: items in, confirmed packs out.
//!
//! ```text
//!  publish, hand_off, quarantine            the publishing connection's task
//!    │ wait for room (bytes)                 │
//!    └── job ──▶ bounded queue ──▶ Groups ──▶ pack ──▶ a channel of its own ──confirm──▶ Calls ──▶ answer
//! ```
//!
//! - One task owns everything between the queue and the answer, so nothing here is locked, and whoever drops a call in the
//!   middle leaves all of it to be published, or none.
//! - A channel carries one publish at a time. Many channels cost little; on a shared one the client library may hand a
//!   message that came back (`mandatory`) to the confirm of another, and a lost event would be reported as accepted.
//! - While there is no connection, or the server has blocked it, calls fail at once: nothing is kept for later, since
//!   whoever called knows better what to do.

mod calls;
mod groups;
mod lane;
mod session;
mod supervise;

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::message::Item;
use postrider_core::ports::PortError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use self::groups::Cargo;
pub(super) use self::supervise::run;
use super::error::{closed, unavailable, unknown};
use super::link::Link;
use super::options::Options;
use super::routing::{Destination, Exchange, Key};

/// Calls that the task has not looked at yet.
const JOBS: usize = 1024;
/// What room is measured in.
const UNIT: usize = 1024;
/// What an item takes beside its payload.
const OVERHEAD: usize = 512;

/// Whether anything can be published.
#[derive(Clone)]
pub(super) enum State {
    /// No connection, and why.
    Apart(String),
    Up(Arc<Link>),
    /// The server has an alarm, and says which.
    Blocked(Arc<Link>, String),
    Closed,
}

impl State {
    pub(super) fn check(&self) -> Result<(), PortError> {
        match self {
            Self::Up(_) => Ok(()),
            Self::Apart(cause) => Err(unavailable(cause.clone())),
            Self::Blocked(_, reason) => Err(blocked(reason)),
            Self::Closed => Err(closed()),
        }
    }
}

fn blocked(reason: &str) -> PortError {
    unavailable(blocked_text(reason))
}

fn blocked_text(reason: &str) -> String {
    format!("it has blocked publishing: {reason}")
}

/// What one call brings.
pub(super) struct Job {
    cargo: Vec<(Destination, Cargo)>,
    answer: oneshot::Sender<Result<(), PortError>>,
    room: OwnedSemaphorePermit,
}

/// Where calls come in.
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
    state: watch::Receiver<State>,
    room: Arc<Semaphore>,
    all_room: u32,
}

/// The other ends, for [`run`].
pub(super) struct Desk {
    jobs: mpsc::Receiver<Job>,
    state: watch::Sender<State>,
}

impl Publisher {
    pub(super) fn new(options: &Options) -> (Self, Desk) {
        let (jobs, taken) = mpsc::channel(JOBS);
        let (told, state) = watch::channel(State::Apart("not connected yet".to_owned()));
        let all_room = u32::try_from(options.max_waiting_bytes / UNIT)
            .unwrap_or(u32::MAX)
            .max(1);
        let publisher = Self {
            jobs,
            state,
            room: Arc::new(Semaphore::new(all_room as usize)),
            all_room,
        };
        let desk = Desk {
            jobs: taken,
            state: told,
        };
        (publisher, desk)
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Completes when something can be published, or never again.
    pub(super) async fn up(&self) {
        let mut state = self.state.clone();
        let up = |state: &State| matches!(state, State::Up(_) | State::Closed);
        let _ = state.wait_for(up).await;
    }

    pub(super) async fn publish(&self, items: Vec<(Destination, Item)>) -> Result<(), PortError> {
        let cargo = items
            .into_iter()
            .map(|(destination, item)| (destination, Cargo::Item(item)));
        self.submit(cargo.collect()).await
    }

    /// Publishes packs as they are.
    pub(super) async fn publish_packs(
        &self,
        packs: Vec<(Destination, Bytes)>,
    ) -> Result<(), PortError> {
        let cargo = packs.into_iter().map(|(destination, pack)| {
            let held_before = false;
            (destination, Cargo::Raw { pack, held_before })
        });
        self.submit(cargo.collect()).await
    }

    /// Publishes a pack as it is to quarantine.
    pub(super) async fn quarantine(&self, key: Key, pack: Bytes) -> Result<(), PortError> {
        let destination = Destination {
            exchange: Exchange::Quarantine,
            key,
        };
        self.publish_packs(vec![(destination, pack)]).await
    }

    /// Publishes packs again as they are, whose queue was deleted.
    pub(super) async fn rescue(&self, packs: Vec<(Destination, Bytes)>) -> Result<(), PortError> {
        let cargo = packs.into_iter().map(|(destination, pack)| {
            let held_before = true;
            (destination, Cargo::Raw { pack, held_before })
        });
        self.submit(cargo.collect()).await
    }

    async fn submit(&self, cargo: Vec<(Destination, Cargo)>) -> Result<(), PortError> {
        if matches!(*self.state.borrow(), State::Closed) {
            return Err(closed());
        }
        if cargo.is_empty() {
            return Ok(());
        }
        self.state.borrow().check()?;
        let room = self.room_for(&cargo).await?;
        let (answer, answered) = oneshot::channel();
        let job = Job {
            cargo,
            answer,
            room,
        };
        self.jobs.send(job).await.map_err(|_| closed())?;
        answered
            .await
            .unwrap_or_else(|_| Err(unknown("this process gave it up half-way")))
    }

    /// Waits for room, but not for a server that takes nothing.
    async fn room_for(
        &self,
        cargo: &[(Destination, Cargo)],
    ) -> Result<OwnedSemaphorePermit, PortError> {
        let bytes: usize = cargo.iter().map(|(_, cargo)| cargo.len() + OVERHEAD).sum();
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.room).acquire_many_owned(units.min(self.all_room));
        let mut state = self.state.clone();
        let failed = async {
            let failed = state.wait_for(|state| state.check().is_err()).await;
            failed.map_or_else(|_| Err(closed()), |state| state.check())
        };
        tokio::select! {
            biased;
            permit = permit => permit.map_err(|_| closed()),
            cause = failed => Err(cause.err().unwrap_or_else(closed)),
        }
    }
}
