//! One step of a task: little enough that it ends long before the lease does.

use super::record::{Task, Work};
use super::replay;
use super::usage::{self, By};
use crate::error::ApiError;
use crate::state::State;

/// The task as it is after the step.
pub(super) async fn step(state: &State, task: Task) -> Result<Task, ApiError> {
    match task.work.clone() {
        Work::Recover(span) => replay::recover(state, task, &span).await,
        Work::ReplayMissing(span) => replay::missing(state, task, &span).await,
        Work::AppUsage(period) => usage::count(state, task, &period, By::App).await,
        Work::EventTypeUsage(period) => usage::count(state, task, &period, By::EventType).await,
        Work::Unknown => Ok(task),
    }
}
