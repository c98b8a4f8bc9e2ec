//! `/event-type` and `/event-type/{event_type_name}`.

use axum::extract::State;
use http::StatusCode;
use postrider_core::page::Order;
use postrider_core::ports::{Partition, RegistryError};
use postrider_core::{EventType, EventTypeName, OrgId};

use super::Answered;
use crate::auth::Operator;
use crate::body::Body;
use crate::change::{Miss, Upserted, repeat};
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::schema;
use crate::state::{self, Shared};
use crate::tokens::Principal;
use crate::wire::event_type::{EventTypeIn, EventTypeOut, EventTypePatch};
use crate::wire::fields::Fields;

/// Where a request has its schemas.
const SCHEMAS: [&str; 2] = ["body", "schemas"];

pub(crate) async fn list(
    State(state): State<Shared>,
    principal: Principal,
    query: Query,
) -> Answered {
    let paging = query.ordered_page(Order::Ascending)?;
    let include_archived = query.flag("include_archived", false)?;
    let with_content = query.flag("with_content", false)?;
    let found = state
        .ports
        .registry
        .event_types(principal.org(), include_archived, paging.page.clone())
        .await?;
    Ok(Reply::ok(&paging.envelope(
        &found,
        |kind| kind.name.clone(),
        |kind| Some(EventTypeOut::new(kind, with_content)),
    )))
}

fn show(status: StatusCode, kind: &EventType) -> Reply {
    Reply::json(status, &EventTypeOut::new(kind, true))
}

pub(crate) async fn create(
    State(state): State<Shared>,
    operator: Operator,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let (name, wanted) = EventTypeIn::read_named(Fields::parse(&body)?)?;
    let Operator(org) = operator;
    let work = async |_, again| {
        let stored = store_new(&state, org, &name, &wanted, again).await?;
        Ok(show(StatusCode::CREATED, &stored))
    };
    let partition = Partition::Org(org);
    idempotency::once(
        &state,
        operator.principal(),
        partition,
        &idempotency,
        &body,
        work,
    )
    .await
}

/// Creates an event type, or takes an archived one out of the archive. `again`: an earlier try of the same request
/// may have done so already.
async fn store_new(
    state: &state::State,
    org: OrgId,
    name: &EventTypeName,
    wanted: &EventTypeIn,
    again: bool,
) -> Result<EventType, ApiError> {
    repeat(async || match state.event_type(org, name).await? {
        None => insert(state, org, name, wanted).await,
        Some(found) if found.archived || again => replace(state, found, wanted).await,
        Some(_) => Err(ApiError::Conflict {
            code: "event_type_exists",
            detail: format!("there is an event type `{name}` already").into(),
        }
        .into()),
    })
    .await
}

async fn insert(
    state: &state::State,
    org: OrgId,
    name: &EventTypeName,
    wanted: &EventTypeIn,
) -> Result<EventType, Miss> {
    let kind = wanted.clone().create(org, name.clone(), state.now());
    schema::storable(&kind, &SCHEMAS).await?;
    match state.put_event_type(kind, None).await {
        Ok(stored) => Ok(stored),
        Err(RegistryError::Exists) => Err(Miss::Again),
        Err(error) => Err(error.into()),
    }
}

async fn replace(
    state: &state::State,
    mut kind: EventType,
    wanted: &EventTypeIn,
) -> Result<EventType, Miss> {
    let version = kind.version;
    wanted.clone().replace(&mut kind, state.now());
    schema::storable(&kind, &SCHEMAS).await?;
    Ok(state.put_event_type(kind, Some(version)).await?)
}

pub(crate) async fn get(State(state): State<Shared>, principal: Principal, path: Path) -> Answered {
    let found = state
        .event_type(principal.org(), &path.event_type()?)
        .await?;
    Ok(show(StatusCode::OK, &found.ok_or(ApiError::NotFound)?))
}

pub(crate) async fn upsert(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let name = path.event_type()?;
    let wanted = EventTypeIn::read(Fields::parse(&body)?)?;
    let (kind, upserted) = repeat(async || match state.event_type(org, &name).await? {
        Some(found) => replace(&state, found, &wanted)
            .await
            .map(|kind| (kind, Upserted::Replaced)),
        None => insert(&state, org, &name, &wanted)
            .await
            .map(|kind| (kind, Upserted::Created)),
    })
    .await?;
    Ok(match upserted {
        Upserted::Created => show(StatusCode::CREATED, &kind),
        Upserted::Replaced => show(StatusCode::OK, &kind),
    })
}

pub(crate) async fn patch(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = EventTypePatch::read(Fields::parse(&body)?)?;
    let now = state.now();
    let (name, change) = (path.event_type()?, |kind: &mut EventType| {
        patch.apply(kind, now);
    });
    let schemas = patch.concerns_schemas().then_some(&SCHEMAS[..]);
    let changed = state.change_event_type(org, &name, change, schemas).await?;
    Ok(show(StatusCode::OK, &changed))
}

/// Archives; with `expunge=true`, removes.
pub(crate) async fn delete(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    query: Query,
) -> Answered {
    let name = path.event_type()?;
    if !query.flag("expunge", false)? {
        let now = state.now();
        let archive = |kind: &mut EventType| {
            kind.archived = true;
            kind.updated_at = now;
        };
        state.change_event_type(org, &name, archive, None).await?;
        return Ok(Reply::no_content());
    }
    let deleted = state.ports.registry.delete_event_type(org, &name).await;
    state.cache.types_changed(org);
    if deleted? {
        Ok(Reply::no_content())
    } else {
        Err(ApiError::NotFound)
    }
}
