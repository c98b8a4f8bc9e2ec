//! `/background-task` and `/background-task/{task_id}`.

use axum::extract::State;
use postrider_core::page::Order;
use postrider_core::{AppId, TaskId};

use super::Answered;
use crate::error::ApiError;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::Shared;
use crate::tasks::{Status, Task, TaskFilter};
use crate::tokens::Principal;
use crate::wire::task::TaskOut;

pub(crate) async fn list(
    State(state): State<Shared>,
    principal: Principal,
    query: Query,
) -> Answered {
    let paging = query.ordered_page(Order::Descending)?;
    let filter = TaskFilter {
        app: own_app(principal),
        status: query.word("status", "running, finished or failed", Status::parse)?,
        work: query.text("task").map(str::to_owned),
    };
    let found = state.tasks(principal.org(), &filter, &paging.page).await?;
    let list = paging.envelope(&found, |task| task.id, |task| Some(TaskOut::of(task)));
    let at = found.stopped.map(TaskId::from_bytes);
    Ok(Reply::ok(&paging.going_on(list, at)))
}

pub(crate) async fn get(State(state): State<Shared>, principal: Principal, path: Path) -> Answered {
    let found = state.task(principal.org(), path.task()?).await?;
    let seen = |task: &Task| match principal {
        Principal::Operator { .. } => true,
        Principal::Consumer { app, .. } => task.app == Some(app),
    };
    let task = found.filter(seen).ok_or(ApiError::NotFound)?;
    Ok(Reply::ok(&TaskOut::of(&task)))
}

/// A consumer sees the tasks of its application.
fn own_app(principal: Principal) -> Option<AppId> {
    match principal {
        Principal::Operator { .. } => None,
        Principal::Consumer { app, .. } => Some(app),
    }
}
