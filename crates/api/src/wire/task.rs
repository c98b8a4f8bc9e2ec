//! Background tasks.

use std::time::Duration;

use postrider_core::{TaskId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fields, Given};
use crate::error::ApiError;
use crate::tasks::Task;
use crate::validate;

/// How far back a recovery reaches.
const FURTHEST: Duration = Duration::from_secs(14 * 24 * 3600);

/// From when to when.
#[derive(Debug, Clone)]
pub(crate) struct RecoverIn {
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

impl RecoverIn {
    pub(crate) fn read(mut fields: Fields, now: Timestamp) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let since = fields.checked("since", validate::time)?.value();
        let since = since.ok_or_else(|| fields.missing("since"))?;
        if since < now - FURTHEST {
            return Err(fields.wrong("since", "must lie at most 14 days back"));
        }
        let until = match fields.checked("until", validate::time)? {
            Given::Value(until) if until < since => {
                return Err(fields.wrong("until", "must not lie before `since`"));
            }
            given => given.value(),
        };
        Ok(Self { since, until })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskOut<'a> {
    id: TaskId,
    status: &'static str,
    task: &'static str,
    #[serde(serialize_with = "super::time")]
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Map<String, Value>>,
}

impl<'a> TaskOut<'a> {
    /// As it was begun: there is nothing to tell yet.
    pub(crate) fn begun(task: &'a Task) -> Self {
        Self {
            data: None,
            ..Self::of(task)
        }
    }

    pub(crate) fn of(task: &'a Task) -> Self {
        Self {
            id: task.id,
            status: task.status.text(),
            task: task.work.name(),
            updated_at: task.updated_at,
            data: Some(&task.data),
        }
    }
}
