//! Usage.

use postrider_core::Timestamp;
use postrider_core::ports::AppKey;
use serde::Serialize;

use super::fields::{Check, Fields};
use super::task::TaskOut;
use crate::error::ApiError;
use crate::tasks::Task;
use crate::validate;

/// Applications that one request may name.
const MAX_APPS: usize = 500;

/// What is to be counted.
#[derive(Debug)]
pub(crate) struct AppUsageIn {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// As they were named, and what that means.
    pub(crate) apps: Option<Vec<(String, AppKey)>>,
}

impl AppUsageIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let since = fields.checked("since", validate::time)?.value();
        let since = since.ok_or_else(|| fields.missing("since"))?;
        let until = fields.checked("until", validate::time)?.value();
        let until = until.ok_or_else(|| fields.missing("until"))?;
        if until < since {
            return Err(fields.wrong("until", "must not lie before `since`"));
        }
        let apps = fields.set("appIds", named)?.value();
        if apps.as_ref().is_some_and(|apps| apps.len() > MAX_APPS) {
            return Err(fields.wrong("appIds", format!("must be at most {MAX_APPS}")));
        }
        Ok(Self { since, until, apps })
    }
}

fn named(text: &str) -> Check<(String, AppKey)> {
    Ok((text.to_owned(), validate::app_key(text)?))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppUsageOut<'a> {
    #[serde(flatten)]
    task: TaskOut<'a>,
    unresolved_app_ids: Vec<String>,
}

impl<'a> AppUsageOut<'a> {
    pub(crate) fn new(task: &'a Task, unresolved_app_ids: Vec<String>) -> Self {
        Self {
            task: TaskOut::begun(task),
            unresolved_app_ids,
        }
    }
}
