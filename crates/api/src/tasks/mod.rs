//! Background tasks: work that a request begins and that goes on after its answer.
//!
//! ```text
//!  POST ──▶ written down ──▶ 202            step, write down how far, step, …  ──▶ finished
//!              │                 ▲                              │ the process dies, a store is away
//!              └── its name among those that have not ended ◀───┴── the lease ends: another process goes on
//! ```
//!
//! A task is a document; what it has done is written into it after each step, by compare-and-set, together with a lease.
//! Whoever accepted a task works on it; where that one dies, any other that looks for tasks whose lease has ended goes on
//! behind the last step. A step that was done and not written down is done again, and does no harm: what it sends again
//! is the same chain.
//!
//! Bounds: each process works on a few tasks at a time ([`places`]), each in small steps; where others wait, a task gives way
//! after a while. How many there may be is bounded, too ([`slot`]).

mod list;
mod places;
mod record;
mod replay;
mod slot;
mod step;
mod store;
mod usage;

use std::sync::{Arc, Weak};
use std::time::Duration;

use postrider_core::ports::PortError;
use postrider_core::{OrgId, TaskId, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};
use tracing::Instrument as _;

pub(crate) use self::list::TaskFilter;
pub(crate) use self::record::{Period, Span, Status, Task, Work};

use self::places::Places;
use self::store::Open;
use crate::error::ApiError;
use crate::state::{Shared, State};

/// For how long nobody else goes on with a task: longer than any step.
const LEASE: Duration = Duration::from_secs(60);
/// For how long a task is worked on while others wait for a place.
const TURN: Duration = Duration::from_secs(10);
/// When to ask again, where there are too many tasks.
const RETRY: Duration = Duration::from_secs(30);

/// What this process does about tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    places: Arc<Places>,
    closing: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            places: Arc::default(),
            closing: watch::channel(false).0,
        }
    }
}

impl Tasks {
    /// Takes up no more tasks, and lets those under way end their step. Closing twice is closing once.
    pub(crate) async fn close(&self, grace: Duration) {
        self.closing.send_replace(true);
        // Whoever is still at work then is gone on with by another process.
        let _ = timeout(grace, self.places.all()).await;
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Writes a task down and begins it, where there is a slot for it. The same identifier begins it once.
pub(crate) async fn begin(state: &Shared, task: Task) -> Result<Task, ApiError> {
    if let Some((begun, _)) = store::load(state, task.org, task.id).await? {
        return Ok(begun);
    }
    slot::take(state, &task).await?;
    let begun = store::create(state, &task).await?;
    if begun.status == Status::Running {
        work_on(state, begun.org, begun.id);
    }
    Ok(begun)
}

/// Looks for tasks that nobody works on, as long as the API is there.
pub(crate) fn watch_over(state: &Shared) {
    let (watched, mut closing) = (Arc::downgrade(state), state.tasks.closing.subscribe());
    let every = state.config.task_interval;
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = closing.changed() => return,
            }
            let Some(state) = Weak::upgrade(&watched) else {
                return;
            };
            if let Err(error) = take_up(&state).await {
                tracing::debug!(%error, "tasks cannot be looked for");
            }
        }
    });
}

/// Those that waited longest come first.
async fn take_up(state: &Shared) -> Result<(), PortError> {
    let mut free: Vec<Task> = Vec::new();
    for open in store::open(state).await? {
        match look_at(state, open).await {
            Ok(found) => free.extend(found),
            Err(error) => {
                tracing::warn!(%error, task = %open.task, "a task cannot be taken up");
            }
        }
    }
    free.sort_by_key(|task| task.updated_at);
    free.iter()
        .for_each(|task| work_on(state, task.org, task.id));
    Ok(())
}

/// The task, where nobody works on it.
async fn look_at(state: &Shared, open: Open) -> Result<Option<Task>, PortError> {
    let Some((task, _)) = store::load(state, open.org, open.task).await? else {
        // Its document comes right after its name, or never.
        if open.task.created_at() + LEASE < state.now() {
            store::forget_open(state, open.task).await?;
        }
        return Ok(None);
    };
    if task.status != Status::Running {
        has_ended(state, &task).await?;
        return Ok(None);
    }
    let is_free = task.leased_until <= state.now() && task.work != Work::Unknown;
    Ok(is_free.then_some(task))
}

/// What a task that has ended leaves behind. Its name goes last: as long as that is there, somebody sees to the rest.
async fn has_ended(state: &State, task: &Task) -> Result<(), PortError> {
    slot::give_back(state, task).await?;
    store::forget_open(state, task.id).await
}

/// Goes on with a task in the background, where there is a place for it and nobody else is at it.
fn work_on(state: &Shared, org: OrgId, id: TaskId) {
    let Some(place) = state.tasks.places.take(org) else {
        return;
    };
    let state = Arc::clone(state);
    let span = tracing::info_span!("task", %id);
    let work = async move {
        if let Err(error) = go_on(&state, org, id).await {
            tracing::warn!(%error, "a task was interrupted; it will be gone on with");
        }
        drop(place);
    };
    tokio::spawn(work.instrument(span));
}

/// Step by step until it has ended, or somebody else is at it.
async fn go_on(state: &State, org: OrgId, id: TaskId) -> Result<(), ApiError> {
    let Some((mut task, mut version)) = store::load(state, org, id).await? else {
        return Ok(());
    };
    let is_free = task.status == Status::Running && task.leased_until <= state.now();
    // What a newer release has begun is left to its processes.
    if !is_free || task.work == Work::Unknown {
        return Ok(());
    }
    task.leased_until = state.now() + LEASE;
    let begun = Instant::now();
    loop {
        let Some(stored) = store::save(state, &task, version).await? else {
            return Ok(());
        };
        version = stored;
        if task.status != Status::Running {
            return Ok(has_ended(state, &task).await?);
        }
        let gives_way = begun.elapsed() > TURN && state.tasks.places.others_wait();
        if gives_way || state.tasks.is_closing() {
            task.leased_until = Timestamp::EPOCH;
            store::save(state, &task, version).await?;
            return Ok(());
        }
        task = match step::step(state, task.clone()).await {
            Ok(task) => task,
            Err(error) => return interrupted(state, task, version, error).await,
        };
        task.failures = 0;
        task.updated_at = state.now();
        task.leased_until = state.now() + LEASE;
    }
}

/// Writes down that a step failed, and tells why.
async fn interrupted(
    state: &State,
    task: Task,
    version: u64,
    error: ApiError,
) -> Result<(), ApiError> {
    let task = task.interrupted(state.now(), LEASE);
    let stored = store::save(state, &task, version).await?;
    if stored.is_some() && task.status != Status::Running {
        has_ended(state, &task).await?;
    }
    Err(error)
}
