//! Counting messages, application by application: how many each has sent, or how many of each event type there are. It reads
//! the log in small portions, and takes as long as that takes.

use std::time::Duration;

use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::AppKey;
use postrider_core::{AppId, Application, MessageId};
use serde_json::{Map, Value};

use super::record::{Period, Task};
use crate::error::ApiError;
use crate::state::State;

/// Messages of one step.
const PORTION: usize = 1_000;
/// Things that one task counts: its document is bounded.
const MAX_COUNTED: usize = 2_000;

/// Where a count has come to: behind this message of this application, or behind all of them.
struct At {
    app: AppId,
    message: Option<MessageId>,
}

impl At {
    fn read(text: &str) -> Option<Self> {
        let (app, message) = match text.split_once('/') {
            Some((app, message)) => (app, Some(message.parse().ok()?)),
            None => (text, None),
        };
        let app = app.parse().ok()?;
        Some(Self { app, message })
    }

    fn text(&self) -> String {
        match self.message {
            Some(message) => format!("{}/{message}", self.app),
            None => self.app.to_string(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    App,
    EventType,
}

pub(super) async fn count(
    state: &State,
    mut task: Task,
    period: &Period,
    by: By,
) -> Result<Task, ApiError> {
    let at = task.cursor.as_deref().and_then(At::read);
    let (app, from) = go_on(state, &task, period, at).await?;
    let Some(app) = app else {
        return Ok(task.finished());
    };
    let until = period.until + Duration::from_millis(1);
    let page = Page {
        cursor: from.map_or(Cursor::Start, Cursor::After),
        limit: PORTION,
        order: Order::Ascending,
    };
    let log = &state.ports.log;
    let found = log.kinds(app.id, period.since, until, page).await?;
    let stopped = found.stopped.map(MessageId::from_bytes);
    let last = stopped.or_else(|| found.items.last().map(|kind| kind.message));
    for kind in &found.items {
        let name = match by {
            By::App => app.id.to_string(),
            By::EventType => kind.event_type.to_string(),
        };
        if !counted(&mut task, by, &name, 1) {
            return Ok(task.failed("there is too much to be told of"));
        }
    }
    if by == By::App && !counted(&mut task, by, &app.id.to_string(), 0) {
        return Ok(task.failed("there is too much to be told of"));
    }
    let at = At {
        app: app.id,
        message: last.filter(|_| found.more),
    };
    task.cursor = Some(at.text());
    Ok(task)
}

/// `false` where there is no room for another name.
fn counted(task: &mut Task, by: By, name: &str, more: u64) -> bool {
    let what = match by {
        By::App => "applications",
        By::EventType => "eventTypes",
    };
    let all = task
        .data
        .entry(what)
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(all) = all else {
        return false;
    };
    let before = all.get(name).and_then(Value::as_u64);
    if before.is_none() && all.len() >= MAX_COUNTED {
        return false;
    }
    all.insert(name.to_owned(), (before.unwrap_or(0) + more).into());
    true
}

/// The application to be counted, and behind which of its messages.
async fn go_on(
    state: &State,
    task: &Task,
    period: &Period,
    at: Option<At>,
) -> Result<(Option<Application>, Option<MessageId>), ApiError> {
    let Some(at) = at else {
        return Ok((next(state, task, period, None).await?, None));
    };
    if at.message.is_some() {
        let key = AppKey::Id(at.app);
        let found = state.ports.registry.application(task.org, &key).await?;
        // It may have been deleted meanwhile.
        if found.is_some() {
            return Ok((found, at.message));
        }
    }
    Ok((next(state, task, period, Some(at.app)).await?, None))
}

/// The application behind that one: of those that are named, or of all.
async fn next(
    state: &State,
    task: &Task,
    period: &Period,
    after: Option<AppId>,
) -> Result<Option<Application>, ApiError> {
    let registry = &state.ports.registry;
    let Some(named) = &period.apps else {
        let found = registry.applications(task.org, one_after(after)).await?;
        return Ok(found.items.into_iter().next());
    };
    let rest = named
        .iter()
        .filter(|app| after.is_none_or(|after| **app > after));
    for app in rest {
        let found = registry.application(task.org, &AppKey::Id(*app)).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn one_after(app: Option<AppId>) -> Page<AppId> {
    Page {
        cursor: app.map_or(Cursor::Start, Cursor::After),
        limit: 1,
        order: Order::Ascending,
    }
}
