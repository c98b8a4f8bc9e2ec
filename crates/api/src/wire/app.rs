//! Applications.

use std::collections::BTreeMap;

use postrider_core::{AppId, Application, OrgId, Timestamp, Uid};
use serde::Serialize;

use super::RETENTION_HOURS;
use super::fields::{Fields, Given};
use crate::error::ApiError;
use crate::validate;

/// The whole of an application, for POST and PUT.
#[derive(Debug, Clone)]
pub(crate) struct AppIn {
    pub(crate) name: String,
    pub(crate) uid: Option<Uid>,
    throttle_rate: Option<u16>,
    payload_retention_hours: Option<u16>,
    metadata: BTreeMap<String, String>,
}

impl AppIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let name = fields.checked("name", validate::not_empty)?.value();
        Ok(Self {
            name: name.ok_or_else(|| fields.missing("name"))?,
            uid: fields.checked("uid", validate::app_uid)?.value(),
            throttle_rate: super::throttle_rate(fields)?.value(),
            payload_retention_hours: retention(fields)?.value(),
            metadata: metadata(fields)?.value().unwrap_or_default(),
        })
    }

    /// An application that does not exist yet.
    pub(crate) fn create(self, id: AppId, org: OrgId, now: Timestamp) -> Application {
        Application {
            id,
            org,
            uid: self.uid,
            name: self.name,
            throttle_rate: self.throttle_rate,
            payload_retention_hours: self.payload_retention_hours,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
            version: 0,
        }
    }

    /// Puts everything in the place of what is there.
    pub(crate) fn replace(self, app: &mut Application, now: Timestamp) {
        app.uid = self.uid;
        app.name = self.name;
        app.throttle_rate = self.throttle_rate;
        app.payload_retention_hours = self.payload_retention_hours;
        app.metadata = self.metadata;
        app.updated_at = now;
    }
}

/// Some of an application, for PATCH.
#[derive(Debug, Clone)]
pub(crate) struct AppPatch {
    name: Option<String>,
    uid: Given<Uid>,
    throttle_rate: Given<u16>,
    payload_retention_hours: Given<u16>,
    metadata: Given<BTreeMap<String, String>>,
}

impl AppPatch {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        Ok(Self {
            name: not_null(fields, "name", validate::not_empty)?,
            uid: fields.checked("uid", validate::app_uid)?,
            throttle_rate: super::throttle_rate(fields)?,
            payload_retention_hours: retention(fields)?,
            metadata: metadata(fields)?,
        })
    }

    pub(crate) fn apply(&self, app: &mut Application, now: Timestamp) {
        let patch = self.clone();
        if let Some(name) = patch.name {
            app.name = name;
        }
        patch.uid.patch(&mut app.uid);
        patch.throttle_rate.patch(&mut app.throttle_rate);
        let retention = &mut app.payload_retention_hours;
        patch.payload_retention_hours.patch(retention);
        patch_map(patch.metadata, &mut app.metadata);
        app.updated_at = now;
    }
}

/// For messages that do not say themselves how long their payloads are kept.
fn retention(fields: &mut Fields) -> Result<Given<u16>, ApiError> {
    let hours = fields.integer("payloadRetentionHours", RETENTION_HOURS)?;
    Ok(hours.map(|hours| u16::try_from(hours).unwrap_or(u16::MAX)))
}

/// A field that may be absent, but not `null`.
pub(super) fn not_null<T>(
    fields: &mut Fields,
    name: &str,
    check: impl FnOnce(&str) -> super::fields::Check<T>,
) -> Result<Option<T>, ApiError> {
    match fields.checked(name, check)? {
        Given::Absent => Ok(None),
        Given::Value(value) => Ok(Some(value)),
        Given::Null => Err(fields.wrong(name, "must not be null")),
    }
}

/// `metadata`, within its bound.
pub(super) fn metadata(fields: &mut Fields) -> Result<Given<BTreeMap<String, String>>, ApiError> {
    let given = fields.string_map("metadata")?;
    if let Given::Value(metadata) = &given {
        validate::metadata(metadata).map_err(|message| fields.wrong("metadata", message))?;
    }
    Ok(given)
}

/// A map has no `null` to be set to: it is emptied instead.
pub(super) fn patch_map(
    given: Given<BTreeMap<String, String>>,
    current: &mut BTreeMap<String, String>,
) {
    match given {
        Given::Absent => {}
        Given::Null => current.clear(),
        Given::Value(map) => *current = map,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppOut<'a> {
    id: AppId,
    uid: Option<&'a Uid>,
    name: &'a str,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    /// Absent where it is not used: older clients for Go refuse fields that they do not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_retention_hours: Option<u16>,
    metadata: &'a BTreeMap<String, String>,
    #[serde(serialize_with = "super::time")]
    created_at: Timestamp,
    #[serde(serialize_with = "super::time")]
    updated_at: Timestamp,
}

impl<'a> From<&'a Application> for AppOut<'a> {
    fn from(app: &'a Application) -> Self {
        Self {
            id: app.id,
            uid: app.uid.as_ref(),
            name: &app.name,
            throttle_rate: app.throttle_rate,
            rate_limit: app.throttle_rate,
            payload_retention_hours: app.payload_retention_hours,
            metadata: &app.metadata,
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}
