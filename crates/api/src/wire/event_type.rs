//! Event types.

use postrider_core::{EventType, EventTypeName, OrgId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::app::not_null;
use super::fields::{Fields, Given};
use crate::error::ApiError;
use crate::validate;

/// All that there is to an event type beside its name, for POST and PUT.
#[derive(Debug, Clone)]
pub(crate) struct EventTypeIn {
    description: String,
    archived: bool,
    deprecated: bool,
    schemas: Option<String>,
    validate_payload: bool,
    feature_flags: Vec<String>,
    group_name: Option<String>,
}

impl EventTypeIn {
    /// For POST, which names it in the body.
    pub(crate) fn read_named(mut fields: Fields) -> Result<(EventTypeName, Self), ApiError> {
        let name = fields.checked("name", validate::event_type)?.value();
        let name = name.ok_or_else(|| fields.missing("name"))?;
        Ok((name, Self::read(fields)?))
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        Ok(Self {
            description: fields.required_string("description")?,
            archived: fields.flag("archived")?.value().unwrap_or(false),
            deprecated: fields.flag("deprecated")?.value().unwrap_or(false),
            schemas: fields.object_of_objects("schemas")?.value(),
            validate_payload: fields.flag("validatePayload")?.value().unwrap_or(false),
            feature_flags: feature_flags(fields)?.value().unwrap_or_default(),
            group_name: fields.checked("groupName", validate::feature_flag)?.value(),
        })
    }

    pub(crate) fn create(self, org: OrgId, name: EventTypeName, now: Timestamp) -> EventType {
        EventType {
            org,
            name,
            description: self.description,
            archived: self.archived,
            deprecated: self.deprecated,
            schemas: self.schemas,
            validate_payload: self.validate_payload,
            feature_flags: self.feature_flags,
            group_name: self.group_name,
            created_at: now,
            updated_at: now,
            version: 0,
        }
    }

    /// Puts everything in the place of what is there.
    pub(crate) fn replace(self, kind: &mut EventType, now: Timestamp) {
        let (created_at, version) = (kind.created_at, kind.version);
        *kind = self.create(kind.org, kind.name.clone(), now);
        kind.created_at = created_at;
        kind.version = version;
    }
}

/// Some of an event type, for PATCH.
#[derive(Debug, Clone)]
pub(crate) struct EventTypePatch {
    description: Option<String>,
    archived: Option<bool>,
    deprecated: Option<bool>,
    schemas: Given<String>,
    validate_payload: Option<bool>,
    feature_flags: Given<Vec<String>>,
    group_name: Given<String>,
}

impl EventTypePatch {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        Ok(Self {
            description: not_null(fields, "description", |text| Ok(text.to_owned()))?,
            archived: fields.flag("archived")?.value(),
            deprecated: fields.flag("deprecated")?.value(),
            schemas: fields.object_of_objects("schemas")?,
            validate_payload: fields.flag("validatePayload")?.value(),
            feature_flags: feature_flags(fields)?,
            group_name: fields.checked("groupName", validate::feature_flag)?,
        })
    }

    /// Whether what it makes of an event type is to be looked at.
    pub(crate) fn concerns_schemas(&self) -> bool {
        self.schemas != Given::Absent || self.validate_payload.is_some()
    }

    pub(crate) fn apply(&self, kind: &mut EventType, now: Timestamp) {
        let patch = self.clone();
        if let Some(description) = patch.description {
            kind.description = description;
        }
        kind.archived = patch.archived.unwrap_or(kind.archived);
        kind.deprecated = patch.deprecated.unwrap_or(kind.deprecated);
        patch.schemas.patch(&mut kind.schemas);
        kind.validate_payload = patch.validate_payload.unwrap_or(kind.validate_payload);
        patch.group_name.patch(&mut kind.group_name);
        match patch.feature_flags {
            Given::Absent => {}
            Given::Null => kind.feature_flags.clear(),
            Given::Value(flags) => kind.feature_flags = flags,
        }
        kind.updated_at = now;
    }
}

/// `featureFlags`, or the single `featureFlag` of older clients.
fn feature_flags(fields: &mut Fields) -> Result<Given<Vec<String>>, ApiError> {
    if fields.contains("featureFlags") {
        return fields.set("featureFlags", validate::feature_flag);
    }
    let one = fields.checked("featureFlag", validate::feature_flag)?;
    Ok(one.map(|flag| vec![flag]))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventTypeOut<'a> {
    name: &'a EventTypeName,
    description: &'a str,
    archived: bool,
    deprecated: bool,
    schemas: Option<&'a RawValue>,
    /// Absent where it is not used: older clients for Go refuse fields that they do not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    validate_payload: bool,
    feature_flag: Option<&'a str>,
    feature_flags: &'a [String],
    group_name: Option<&'a str>,
    #[serde(serialize_with = "super::time")]
    created_at: Timestamp,
    #[serde(serialize_with = "super::time")]
    updated_at: Timestamp,
}

impl<'a> EventTypeOut<'a> {
    pub(crate) fn new(kind: &'a EventType, with_content: bool) -> Self {
        let schemas = kind.schemas.as_deref().filter(|_| with_content);
        Self {
            name: &kind.name,
            description: &kind.description,
            archived: kind.archived,
            deprecated: kind.deprecated,
            schemas: schemas.and_then(|text| serde_json::from_str(text).ok()),
            validate_payload: kind.validate_payload,
            feature_flag: kind.feature_flags.first().map(String::as_str),
            feature_flags: &kind.feature_flags,
            group_name: kind.group_name.as_deref(),
            created_at: kind.created_at,
            updated_at: kind.updated_at,
        }
    }
}
