//! `/operational-webhook/endpoint` and what lies below: as for the endpoints of applications.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use postrider_core::page::Order;
use postrider_core::ports::{EndpointKey, Partition};
use postrider_core::{AppId, Endpoint, EndpointId, MessageId, OrgId, Timestamp};

use super::Answered;
use super::endpoint::generate_secret;
use super::endpoint_secret::{install, shown};
use crate::auth::Operator;
use crate::body::Body;
use crate::change::Upserted;
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::operational::{self, find, must_be_told, must_be_unique};
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::wire::endpoint::{EndpointIn, EndpointOut, EndpointPatch};
use crate::wire::fields::Fields;
use crate::wire::headers::{self, HeadersOut, HeadersPatch};
use crate::wire::secret::RotateIn;

pub(crate) async fn list(
    State(state): State<Shared>,
    Operator(org): Operator,
    query: Query,
) -> Answered {
    let paging = query.ordered_page(Order::Descending)?;
    let all = operational::all(&state, org).await?;
    let found = operational::sliced(all, &paging.page);
    Ok(Reply::ok(&paging.envelope(
        &found,
        |endpoint| endpoint.id,
        |endpoint| Some(EndpointOut::from(endpoint)),
    )))
}

pub(crate) async fn create(
    State(state): State<Shared>,
    operator: Operator,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = EndpointIn::read(Fields::parse(&body)?, &state.config.target_policy)?;
    must_be_told(wanted.event_types())?;
    let Operator(org) = operator;
    let work = async |id: MessageId, _| {
        let id = EndpointId::from_bytes(*id.as_bytes());
        let endpoint = wanted.create(id, AppId::MIN, generate_secret()?, state.now());
        let stored = insert(&state, org, &endpoint).await?;
        Ok(Reply::json(
            StatusCode::CREATED,
            &EndpointOut::from(&stored),
        ))
    };
    let (principal, partition) = (operator.principal(), Partition::Org(org));
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}

/// Where an earlier try of the same request has stored it, that one stands.
async fn insert(
    state: &state::State,
    org: OrgId,
    endpoint: &Endpoint,
) -> Result<Endpoint, ApiError> {
    operational::change(state, org, |all| {
        if let Ok(there) = find(all, &EndpointKey::Id(endpoint.id)) {
            return Ok(there.clone());
        }
        all.push(endpoint.clone());
        must_be_unique(all, endpoint.id)?;
        Ok(endpoint.clone())
    })
    .await
}

async fn get_one(state: &state::State, org: OrgId, path: &Path) -> Result<Endpoint, ApiError> {
    let key = path.endpoint()?;
    let mut all = operational::all(state, org).await?;
    find(&mut all, &key).cloned()
}

pub(crate) async fn get(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    let endpoint = get_one(&state, org, &path).await?;
    Ok(Reply::ok(&EndpointOut::from(&endpoint)))
}

pub(crate) async fn upsert(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let key = path.endpoint()?;
    let mut wanted = EndpointIn::read(Fields::parse(&body)?, &state.config.target_policy)?;
    must_be_told(wanted.event_types())?;
    // Whoever names an endpoint by its uid means it to have that uid.
    if let (None, EndpointKey::Uid(uid)) = (&wanted.uid, &key) {
        wanted.uid = Some(uid.clone());
    }
    let now = state.now();
    let fresh = (EndpointId::new(now, rand::random()), generate_secret()?);
    let put = |all: &mut Vec<Endpoint>| {
        let there = all
            .iter_mut()
            .find(|endpoint| operational::is(endpoint, &key));
        if let Some(there) = there {
            wanted.clone().replace(there, now);
            let endpoint = there.clone();
            must_be_unique(all, endpoint.id)?;
            return Ok((endpoint, Upserted::Replaced));
        }
        if matches!(key, EndpointKey::Id(_)) {
            // Identifiers are ours to choose.
            return Err(ApiError::NotFound);
        }
        let (id, secret) = fresh.clone();
        let endpoint = wanted.clone().create(id, AppId::MIN, secret, now);
        all.push(endpoint.clone());
        must_be_unique(all, id)?;
        Ok((endpoint, Upserted::Created))
    };
    let (endpoint, upserted) = operational::change(&state, org, put).await?;
    let status = match upserted {
        Upserted::Created => StatusCode::CREATED,
        Upserted::Replaced => StatusCode::OK,
    };
    Ok(Reply::json(status, &EndpointOut::from(&endpoint)))
}

/// Changes one of them.
async fn change(
    state: &state::State,
    org: OrgId,
    path: &Path,
    change: impl Fn(&mut Endpoint, Timestamp) -> Result<(), ApiError>,
) -> Result<Endpoint, ApiError> {
    let (key, now) = (path.endpoint()?, state.now());
    operational::change(state, org, |all| {
        let endpoint = find(all, &key)?;
        change(endpoint, now)?;
        let changed = endpoint.clone();
        must_be_unique(all, changed.id)?;
        Ok(changed)
    })
    .await
}

pub(crate) async fn patch(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = EndpointPatch::read(Fields::parse(&body)?, &state.config.target_policy)?;
    must_be_told(patch.event_types())?;
    let apply = |endpoint: &mut Endpoint, now| {
        patch.apply(endpoint, now);
        Ok(())
    };
    let changed = change(&state, org, &path, apply).await?;
    Ok(Reply::ok(&EndpointOut::from(&changed)))
}

pub(crate) async fn delete(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    let key = path.endpoint()?;
    operational::change(&state, org, |all| {
        find(all, &key)?;
        all.retain(|endpoint| !operational::is(endpoint, &key));
        Ok(())
    })
    .await?;
    Ok(Reply::no_content())
}

pub(crate) async fn get_headers(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    let endpoint = get_one(&state, org, &path).await?;
    Ok(Reply::ok(&HeadersOut::from(&endpoint.headers)))
}

pub(crate) async fn replace_headers(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let all = headers::read_all(Fields::parse(&body)?)?;
    let replace = |endpoint: &mut Endpoint, now| {
        endpoint.headers = all.clone();
        endpoint.updated_at = now;
        Ok(())
    };
    change(&state, org, &path, replace).await?;
    Ok(Reply::no_content())
}

pub(crate) async fn patch_headers(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = HeadersPatch::read(Fields::parse(&body)?)?;
    let apply = |endpoint: &mut Endpoint, now| {
        endpoint.headers = patch.apply(&endpoint.headers)?;
        endpoint.updated_at = now;
        Ok(())
    };
    change(&state, org, &path, apply).await?;
    Ok(Reply::no_content())
}

pub(crate) async fn get_secret(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    shown(&get_one(&state, org, &path).await?)
}

pub(crate) async fn rotate(
    State(state): State<Shared>,
    operator: Operator,
    path: Path,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = RotateIn::read(Fields::parse_optional(&body)?)?;
    let Operator(org) = operator;
    let work = async |_, _| {
        let (grace, fresh): (Duration, _) = (wanted.grace, wanted.key);
        let fresh = fresh.map_or_else(generate_secret, Ok)?;
        let rotate = |endpoint: &mut Endpoint, now| install(endpoint, &fresh, grace, now);
        change(&state, org, &path, rotate).await?;
        Ok(Reply::no_content())
    };
    let (principal, partition) = (operator.principal(), Partition::Org(org));
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}
