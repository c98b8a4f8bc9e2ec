//! Tasks as documents: each under its organisation, and the name of each that has not ended under the installation, where
//! every process finds it.

use std::time::Duration;

use postrider_core::name::DocumentName;
use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{Document, DocumentKind, Expect, NewDocument, Owner, Place, PortError};
use postrider_core::{AppId, OrgId, TaskId};
use serde::{Deserialize, Serialize};

use super::record::{Status, Task};
use crate::error::ApiError;
use crate::state::State;

/// For how long a task can be asked for after its last step.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tasks that are looked at in one go.
const PORTION: usize = 250;

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

/// Which tasks; everything that is set must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskFilter {
    pub(crate) app: Option<AppId>,
    pub(crate) status: Option<Status>,
    pub(crate) work: Option<String>,
}

impl TaskFilter {
    fn wants(&self, task: &Task) -> bool {
        self.app.is_none_or(|app| task.app == Some(app))
            && self.status.is_none_or(|status| task.status == status)
            && self
                .work
                .as_ref()
                .is_none_or(|work| task.work.name() == work)
    }
}

fn tasks_of(org: OrgId) -> Place {
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

impl State {
    pub(crate) async fn task(&self, org: OrgId, id: TaskId) -> Result<Option<Task>, ApiError> {
        let found = load(self, org, id).await?;
        Ok(found.map(|(task, _)| task))
    }

    /// Tasks of an organisation. Where the filter wants few, as many are looked at as it takes.
    pub(crate) async fn tasks(
        &self,
        org: OrgId,
        filter: &TaskFilter,
        page: &Page<TaskId>,
    ) -> Result<Slice<Task>, ApiError> {
        let backwards = matches!(page.cursor, Cursor::Before(_));
        let mut cursor = match &page.cursor {
            Cursor::Start => Cursor::Start,
            Cursor::After(id) => Cursor::After(name(*id)?),
            Cursor::Before(id) => Cursor::Before(name(*id)?),
        };
        let mut tasks: Vec<Task> = Vec::new();
        loop {
            let portion = Page {
                cursor,
                limit: PORTION,
                order: page.order,
            };
            let documents = &self.ports.documents;
            let found = documents.list(self.now(), tasks_of(org), portion).await?;
            let edge = if backwards {
                found.items.first()
            } else {
                found.items.last()
            };
            let full = found.items.len() == PORTION;
            cursor = match edge.map(|document| document.name.clone()) {
                Some(name) if backwards => Cursor::Before(name),
                Some(name) => Cursor::After(name),
                None => Cursor::Start,
            };
            let read: Result<Vec<Task>, PortError> = found.items.iter().map(read).collect();
            let mut wanted = read?;
            wanted.retain(|task| filter.wants(task));
            if backwards {
                wanted.append(&mut tasks);
                tasks = wanted;
            } else {
                tasks.append(&mut wanted);
            }
            if !full || tasks.len() > page.limit {
                return Ok(sliced(tasks, page.limit, backwards));
            }
        }
    }
}

/// The page, of what was found from its start on or, backwards, up to its end.
fn sliced(mut tasks: Vec<Task>, limit: usize, backwards: bool) -> Slice<Task> {
    let more = tasks.len() > limit || backwards;
    if backwards {
        tasks.drain(..tasks.len().saturating_sub(limit));
    } else {
        tasks.truncate(limit);
    }
    Slice {
        items: tasks,
        more,
        stopped: None,
    }
}
