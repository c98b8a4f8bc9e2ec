//! API keys.

use postrider_core::ports::AppKey;
use postrider_core::{ApiKeyId, AppId, Timestamp};
use serde::Serialize;

use super::fields::{Check, Fields};
use crate::api_key::ApiKey;
use crate::error::ApiError;
use crate::validate;

/// A wish for a key.
#[derive(Debug)]
pub(crate) struct ApiKeyIn {
    pub(crate) name: String,
    pub(crate) app: Option<AppKey>,
    pub(crate) read_only: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl ApiKeyIn {
    pub(crate) fn read(mut fields: Fields, now: Timestamp) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let name = fields.checked("name", validate::not_empty)?.value();
        let later = |text: &str| in_future(text, now);
        Ok(Self {
            name: name.ok_or_else(|| fields.missing("name"))?,
            app: fields.checked("appId", validate::app_key)?.value(),
            read_only: fields.flag("readOnly")?.value().unwrap_or(false),
            expires_at: fields.checked("expiresAt", later)?.value(),
        })
    }
}

fn in_future(text: &str, now: Timestamp) -> Check<Timestamp> {
    let time = validate::time(text)?;
    if time <= now {
        return Err("must lie in the future".to_owned());
    }
    Ok(time)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeyOut<'a> {
    id: ApiKeyId,
    name: &'a str,
    prefix: &'a str,
    app_id: Option<AppId>,
    read_only: bool,
    #[serde(serialize_with = "super::time")]
    created_at: Timestamp,
    #[serde(serialize_with = "super::optional_time")]
    expires_at: Option<Timestamp>,
    /// The key itself: in the answer to its creation, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> ApiKeyOut<'a> {
    pub(crate) fn new(stored: &'a ApiKey, key: Option<&'a str>) -> Self {
        Self {
            id: stored.id,
            name: &stored.name,
            prefix: &stored.prefix,
            app_id: stored.app,
            read_only: stored.read_only,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            key,
        }
    }
}
