//! `/event-type/import/openapi`: event types as an OpenAPI document describes them.

use std::collections::BTreeMap;

use axum::extract::State;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::RegistryError;
use postrider_core::{EventType, EventTypeName, OrgId, Timestamp};
use serde_json::{Map, Value};

use super::Answered;
use crate::auth::Operator;
use crate::body::Body;
use crate::change::{Miss, repeat};
use crate::error::ApiError;
use crate::example::versions;
use crate::openapi::{self, Described};
use crate::reply::Reply;
use crate::schema;
use crate::state::{self, Shared};
use crate::wire::event_type_import::{ImportIn, ImportOut};
use crate::wire::fields::Fields;

/// Event types that are looked through at a time.
const PORTION: usize = 250;

/// Versions of a schema that an event type keeps, as far as there is room: the newest.
const MAX_VERSIONS: usize = 50;

/// Repeating it changes nothing that was changed.
pub(crate) async fn import(
    State(state): State<Shared>,
    Operator(org): Operator,
    Body { bytes: body, .. }: Body,
) -> Answered {
    // A document takes more memory than its body, from where it is read on: one at a time.
    let _turn = state.importing.acquire().await;
    let wanted = ImportIn::read(Fields::parse(&body)?)?;
    let described = openapi::event_types(&wanted.spec, state.config.max_body_bytes)?;
    let mut changed = Vec::new();
    for (name, described) in &described {
        let now = state.now();
        let change = |found: Option<&EventType>| match found {
            None => Ok(Some(created(org, name, described, now))),
            Some(kind) => merged(kind, described, now),
        };
        changed.extend(put(&state, org, name, wanted.dry_run, change).await?);
    }
    if wanted.replace_all {
        for name in others(&state, org, &described).await? {
            let now = state.now();
            let change =
                |found: Option<&EventType>| Ok(found.and_then(|found| archived(found, now)));
            changed.extend(put(&state, org, &name, wanted.dry_run, change).await?);
        }
    }
    Ok(Reply::ok(&ImportOut::new(&changed, wanted.dry_run)))
}

/// Stores what `change` makes of an event type, unless it is only to be told. `None`: there is nothing to change.
async fn put(
    state: &state::State,
    org: OrgId,
    name: &EventTypeName,
    dry_run: bool,
    change: impl Fn(Option<&EventType>) -> Result<Option<EventType>, ApiError>,
) -> Result<Option<EventType>, ApiError> {
    repeat(async || {
        let found = state.event_type(org, name).await?;
        let Some(kind) = change(found.as_ref())? else {
            return Ok(None);
        };
        schema::storable(&kind, &["body", "spec", name.as_str()]).await?;
        if dry_run {
            return Ok(Some(kind));
        }
        let expect = found.map(|found| found.version);
        match state.put_event_type(kind, expect).await {
            Ok(stored) => Ok(Some(stored)),
            Err(RegistryError::Exists) => Err(Miss::Again),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

fn created(org: OrgId, name: &EventTypeName, described: &Described, now: Timestamp) -> EventType {
    let schema = described.schema.clone();
    EventType {
        org,
        name: name.clone(),
        description: described.description.clone(),
        archived: false,
        deprecated: described.deprecated,
        schemas: schema.map(|schema| serde_json::json!({"1": schema}).to_string()),
        validate_payload: false,
        feature_flags: described.feature_flags.clone(),
        group_name: described.group_name.clone(),
        created_at: now,
        updated_at: now,
        version: 0,
    }
}

/// An event type as it is and as the document has it; `None` where these are the same. Another schema is another version
/// of it: the ones before stay, unless there are too many.
fn merged(
    kind: &EventType,
    described: &Described,
    now: Timestamp,
) -> Result<Option<EventType>, ApiError> {
    let mut changed = EventType {
        description: described.description.clone(),
        archived: false,
        deprecated: described.deprecated,
        feature_flags: described.feature_flags.clone(),
        group_name: described.group_name.clone(),
        ..kind.clone()
    };
    if let Some(schema) = &described.schema {
        changed.schemas = with_schema(kind.schemas.as_deref(), schema)?;
    }
    if changed == *kind {
        return Ok(None);
    }
    changed.updated_at = now;
    Ok(Some(changed))
}

fn with_schema(schemas: Option<&str>, schema: &Value) -> Result<Option<String>, ApiError> {
    let read = schemas.map(serde_json::from_str).transpose();
    // What is there and cannot be read is not overwritten.
    let read =
        read.map_err(|_| ApiError::Internal("the schemas of an event type are unreadable"))?;
    let mut all: Map<String, Value> = read.unwrap_or_default();
    if schema::newest(&all).is_some_and(|(_, newest)| newest == schema) {
        return Ok(schemas.map(str::to_owned));
    }
    let numbers = all.keys().filter_map(|text| text.parse::<u64>().ok());
    let next = numbers.max().unwrap_or(0).saturating_add(1);
    all.insert(next.to_string(), schema.clone());
    loop {
        let text = serde_json::to_string(&all).unwrap_or_default();
        if all.len() == 1 || (all.len() <= MAX_VERSIONS && text.len() <= schema::MAX_BYTES) {
            return Ok(Some(text));
        }
        let oldest = all.keys().min_by(|a, b| versions(a, b)).cloned();
        oldest.and_then(|oldest| all.remove(&oldest));
    }
}

fn archived(kind: &EventType, now: Timestamp) -> Option<EventType> {
    (!kind.archived).then(|| EventType {
        archived: true,
        updated_at: now,
        ..kind.clone()
    })
}

/// Event types that the document does not know.
async fn others(
    state: &state::State,
    org: OrgId,
    described: &BTreeMap<EventTypeName, Described>,
) -> Result<Vec<EventTypeName>, ApiError> {
    let mut others = Vec::new();
    let mut cursor = Cursor::Start;
    loop {
        let page = Page {
            cursor,
            limit: PORTION,
            order: Order::Ascending,
        };
        let found = state.ports.registry.event_types(org, false, page).await?;
        let names = found.items.iter().map(|kind| kind.name.clone());
        others.extend(names.filter(|name| !described.contains_key(name)));
        match found.items.last() {
            Some(last) if found.more => cursor = Cursor::After(last.name.clone()),
            _ => return Ok(others),
        }
    }
}
