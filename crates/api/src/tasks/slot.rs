//! How many tasks there may be at a time: one of a kind for an endpoint, and so many of an application and of an organisation.
//! Two that recover the same endpoint would send twice, and whoever may begin tasks must not begin them without end.
//!
//! A task that runs has a slot: a document whose name says what it is about. One whose task has ended is free, whether or not
//! it has been given back.

use postrider_core::name::DocumentName;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{Document, DocumentKind, Expect, Owner, Place, PortError};
use postrider_core::{AppId, OrgId, TaskId};
use serde::{Deserialize, Serialize};

use super::record::{Status, Task, Work};
use super::store::{self, document, read};
use super::{LEASE, RETRY};
use crate::change::{Miss, repeat};
use crate::error::ApiError;
use crate::state::State;

const OF_ORG: usize = 32;
const OF_APP: usize = 8;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Slot {
    task: TaskId,
    app: Option<AppId>,
}

fn slots_of(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::OpenTask,
    }
}

fn name(task: &Task) -> Result<DocumentName, PortError> {
    let about = match &task.work {
        Work::Recover(span) | Work::ReplayMissing(span) => span.endpoint.to_string(),
        Work::EventTypeUsage(_) => String::new(),
        Work::AppUsage(_) | Work::Unknown => task.id.to_string(),
    };
    let name = format!("{}.{about}", task.work.name());
    DocumentName::new(&name).map_err(|error| PortError::Invalid(error.to_string()))
}

/// Takes the slot of a task that is about to begin.
pub(super) async fn take(state: &State, task: &Task) -> Result<(), ApiError> {
    let name = name(task)?;
    let place = slots_of(task.org);
    let documents = &state.ports.documents;
    repeat(async || {
        let found = documents.get(state.now(), place, &name).await?;
        let expect = match &found {
            Some(found) if is_taken(state, task, found).await? => {
                return Err(Miss::Failed(ApiError::Conflict {
                    code: "task_running",
                    detail: "such a task is running for this already; wait until it has ended"
                        .into(),
                }));
            }
            Some(found) => Expect::Version(found.version),
            None => {
                has_room(state, task).await?;
                Expect::Nothing
            }
        };
        let slot = Slot {
            task: task.id,
            app: task.app,
        };
        let mut slot = document(name.clone(), &slot)?;
        slot.until = Some(state.now() + store::KEPT);
        let put = documents.put(state.now(), place, slot, expect).await?;
        put.map(drop).ok_or(Miss::Again)
    })
    .await
}

/// Whether another task has it, and that one runs.
async fn is_taken(state: &State, task: &Task, found: &Document) -> Result<bool, PortError> {
    let slot: Slot = read(found)?;
    Ok(slot.task != task.id && runs(state, task.org, slot).await?)
}

async fn runs(state: &State, org: OrgId, slot: Slot) -> Result<bool, PortError> {
    let Some((task, _)) = store::load(state, org, slot.task).await? else {
        // Its document comes right after its slot, or never.
        return Ok(slot.task.created_at() + LEASE > state.now());
    };
    Ok(task.status == Status::Running)
}

/// Looks closer only where there is little room: slots of tasks that have ended are given back then.
async fn has_room(state: &State, task: &Task) -> Result<(), ApiError> {
    let found = listed(state, task.org).await?;
    if fits(&found, task) {
        return Ok(());
    }
    for (document, slot) in &found {
        if !runs(state, task.org, *slot).await? {
            let documents = &state.ports.documents;
            let place = slots_of(task.org);
            documents.delete(state.now(), place, &document.name).await?;
        }
    }
    if fits(&listed(state, task.org).await?, task) {
        return Ok(());
    }
    Err(ApiError::RateLimited { retry_after: RETRY })
}

fn fits(slots: &[(Document, Slot)], task: &Task) -> bool {
    let of_app = |(_, slot): &&(Document, Slot)| slot.app.is_some() && slot.app == task.app;
    slots.len() < OF_ORG && slots.iter().filter(of_app).count() < OF_APP
}

async fn listed(state: &State, org: OrgId) -> Result<Vec<(Document, Slot)>, PortError> {
    let page = Page {
        cursor: Cursor::Start,
        // Requests that come at the same moment may take a few more.
        limit: 4 * OF_ORG,
        order: Order::Ascending,
    };
    let documents = &state.ports.documents;
    let found = documents.list(state.now(), slots_of(org), page).await?;
    // One that cannot be read counts as free: it must not keep everybody from beginning anything.
    let slots = found.items.into_iter().filter_map(|document| {
        let slot = read(&document).ok()?;
        Some((document, slot))
    });
    Ok(slots.collect())
}

/// Gives a task's slot back, where it still has it.
pub(super) async fn give_back(state: &State, task: &Task) -> Result<(), PortError> {
    let (documents, name) = (&state.ports.documents, name(task)?);
    let place = slots_of(task.org);
    let found = documents.get(state.now(), place, &name).await?;
    let slot: Option<Slot> = found.as_ref().map(read).transpose()?;
    if slot.is_some_and(|slot| slot.task == task.id) {
        documents.delete(state.now(), place, &name).await?;
    }
    Ok(())
}
