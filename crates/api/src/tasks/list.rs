//! Lists of tasks, as those who ask may see them.
//!
//! There is no order but that of their identifiers: where a filter wants few of them, the others are read, too. A page for
//! which much was read is left, and goes on where it was left.

use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{Document, PortError};
use postrider_core::{AppId, OrgId, TaskId};

use super::record::{Status, Task};
use super::store::{self, PORTION, name, read, tasks_of};
use crate::error::ApiError;
use crate::state::State;

/// Tasks that are read for a page at most.
const ENOUGH: usize = 4 * PORTION;

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

/// A page that is being filled.
struct Filling {
    backwards: bool,
    order: Order,
    limit: usize,
    /// Behind which task to read on, or before which.
    from: Option<TaskId>,
    /// In the order of the list.
    tasks: Vec<Task>,
}

impl State {
    pub(crate) async fn task(&self, org: OrgId, id: TaskId) -> Result<Option<Task>, ApiError> {
        let found = store::load(self, org, id).await?;
        Ok(found.map(|(task, _)| task))
    }

    pub(crate) async fn tasks(
        &self,
        org: OrgId,
        filter: &TaskFilter,
        page: &Page<TaskId>,
    ) -> Result<Slice<Task>, ApiError> {
        let mut filling = Filling::of(page);
        for _ in 0..ENOUGH / PORTION {
            let found = filling.read_on(self, org).await?;
            filling.keep(&found, filter);
            let is_last = found.len() < PORTION;
            if is_last || filling.tasks.len() > filling.limit {
                return Ok(filling.slice());
            }
        }
        Ok(filling.left())
    }
}

impl Filling {
    fn of(page: &Page<TaskId>) -> Self {
        Self {
            backwards: matches!(page.cursor, Cursor::Before(_)),
            order: page.order,
            limit: page.limit,
            from: match page.cursor {
                Cursor::Start => None,
                Cursor::After(id) | Cursor::Before(id) => Some(id),
            },
            tasks: Vec::new(),
        }
    }

    async fn read_on(&mut self, state: &State, org: OrgId) -> Result<Vec<Document>, PortError> {
        let cursor = match self.from.map(name).transpose()? {
            None => Cursor::Start,
            Some(from) if self.backwards => Cursor::Before(from),
            Some(from) => Cursor::After(from),
        };
        let page = Page {
            cursor,
            limit: PORTION,
            order: self.order,
        };
        let documents = &state.ports.documents;
        let found = documents.list(state.now(), tasks_of(org), page).await?;
        let edge = match self.backwards {
            true => found.items.first(),
            false => found.items.last(),
        };
        let edge = edge.and_then(|document| document.name.as_str().parse().ok());
        self.from = edge.or(self.from);
        Ok(found.items)
    }

    /// What cannot be read is told and passed over: it hides nothing else.
    fn keep(&mut self, found: &[Document], filter: &TaskFilter) {
        let mut wanted: Vec<Task> = Vec::new();
        for document in found {
            match read(document) {
                Ok(task) => wanted.push(task),
                Err(error) => tracing::warn!(%error, task = %document.name, "a task is unreadable"),
            }
        }
        wanted.retain(|task| filter.wants(task));
        if self.backwards {
            wanted.append(&mut self.tasks);
            self.tasks = wanted;
        } else {
            self.tasks.append(&mut wanted);
        }
    }

    /// The page, of what was found from its start on or, backwards, up to its end.
    fn slice(mut self) -> Slice<Task> {
        let more = self.tasks.len() > self.limit || self.backwards;
        if self.backwards {
            let rest = self.tasks.len().saturating_sub(self.limit);
            self.tasks.drain(..rest);
        } else {
            self.tasks.truncate(self.limit);
        }
        Slice {
            items: self.tasks,
            more,
            stopped: None,
        }
    }

    /// The page, which is not full, and where to go on.
    fn left(self) -> Slice<Task> {
        let stopped = self.from.map(|id| *id.as_bytes());
        Slice {
            more: true,
            stopped,
            ..self.slice()
        }
    }
}
