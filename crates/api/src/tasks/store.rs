//! Tasks as documents: each under its organisation, and the name of each that has not ended under the installation, where
//! every process finds it.

use std::time::Duration;

use postrider_core::name::DocumentName;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{Document, DocumentKind, Expect, NewDocument, Owner, Place, PortError};
use postrider_core::{OrgId, TaskId};
use serde::{Deserialize, Serialize};

use super::record::Task;
use crate::error::ApiError;
use crate::state::State;

/// For how long a task can be asked for after its last step.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tasks that are looked at in one go.
pub(super) const PORTION: usize = 250;

const OPEN: Place = Place {
    owner: Owner::Installation,
    kind: DocumentKind::OpenTask,
};

/// A task that has not ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) org: OrgId,
    pub(super) task: TaskId,
}

pub(super) fn tasks_of(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::Task,
    }
}

pub(super) fn name(id: TaskId) -> Result<DocumentName, PortError> {
    DocumentName::new(&id.to_string()).map_err(|error| PortError::Invalid(error.to_string()))
}

pub(super) fn document<T: Serialize>(
    name: DocumentName,
    record: &T,
) -> Result<NewDocument, PortError> {
    let body = serde_json::to_string(record);
    Ok(NewDocument {
        name,
        until: None,
        body: body.map_err(|error| PortError::Invalid(error.to_string()))?,
    })
}

pub(super) fn read<'a, T: Deserialize<'a>>(document: &'a Document) -> Result<T, PortError> {
    serde_json::from_str(&document.body).map_err(|error| PortError::Corrupt {
        part: "documents",
        cause: error.to_string(),
    })
}

/// Writes a task down, its name first: one that is written down is found by whoever looks for tasks.
pub(super) async fn create(state: &State, task: &Task) -> Result<Task, ApiError> {
    let documents = &state.ports.documents;
    let now = state.now();
    let name = name(task.id)?;
    let open = Open {
        org: task.org,
        task: task.id,
    };
    let open = document(name.clone(), &open)?;
    documents.put(now, OPEN, open, Expect::Anything).await?;
    let mut wanted = document(name.clone(), task)?;
    wanted.until = Some(now + KEPT);
    let place = tasks_of(task.org);
    let created = documents.put(now, place, wanted, Expect::Nothing).await?;
    if created.is_some() {
        return Ok(task.clone());
    }
    let found = load(state, task.org, task.id).await?;
    found
        .map(|(task, _)| task)
        .ok_or(ApiError::Internal("a task is gone that was there"))
}

/// A task and the version of its document.
pub(super) async fn load(
    state: &State,
    org: OrgId,
    id: TaskId,
) -> Result<Option<(Task, u64)>, PortError> {
    let (documents, now) = (&state.ports.documents, state.now());
    let found = documents.get(now, tasks_of(org), &name(id)?).await?;
    found
        .map(|document| Ok((read(&document)?, document.version)))
        .transpose()
}

/// Returns the new version; `None` where somebody else has changed it.
pub(super) async fn save(
    state: &State,
    task: &Task,
    version: u64,
) -> Result<Option<u64>, PortError> {
    let now = state.now();
    let mut wanted = document(name(task.id)?, task)?;
    wanted.until = Some(now + KEPT);
    let expect = Expect::Version(version);
    let documents = &state.ports.documents;
    documents.put(now, tasks_of(task.org), wanted, expect).await
}

/// Tasks that have not ended. What cannot be read is told and passed over: it holds up nobody else.
pub(super) async fn open(state: &State) -> Result<Vec<Open>, PortError> {
    let (mut cursor, mut all) = (Cursor::Start, Vec::new());
    loop {
        let page = Page {
            cursor,
            limit: PORTION,
            order: Order::Ascending,
        };
        let documents = &state.ports.documents;
        let found = documents.list(state.now(), OPEN, page).await?;
        for document in &found.items {
            match read(document) {
                Ok(open) => all.push(open),
                Err(error) => tracing::warn!(%error, task = %document.name, "a task is unreadable"),
            }
        }
        match found.items.last() {
            Some(last) if found.more => cursor = Cursor::After(last.name.clone()),
            _ => return Ok(all),
        }
    }
}

pub(super) async fn forget_open(state: &State, id: TaskId) -> Result<(), PortError> {
    let documents = &state.ports.documents;
    documents.delete(state.now(), OPEN, &name(id)?).await?;
    Ok(())
}
