//! `/app/{app_id}/endpoint` and `…/endpoint/{endpoint_id}`.

use axum::extract::State;
use http::StatusCode;
use postrider_core::page::Order;
use postrider_core::ports::{EndpointKey, Partition, RegistryError};
use postrider_core::secret::SecretText;
use postrider_core::{Application, Endpoint, EndpointId, EventTypeName, MessageId, OrgId};
use postrider_signature::SymmetricSecret;

use super::Answered;
use crate::auth::InApp;
use crate::body::Body;
use crate::change::{Miss, Upserted, repeat};
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::wire::endpoint::{EndpointIn, EndpointOut, EndpointPatch};
use crate::wire::fields::Fields;

/// Bytes of a key that we make.
const SECRET_BYTES: usize = 24;

pub(crate) async fn list(State(state): State<Shared>, app: InApp, query: Query) -> Answered {
    let paging = query.ordered_page(Order::Descending)?;
    let found = state
        .ports
        .registry
        .endpoints(app.id(), paging.page.clone())
        .await?;
    Ok(Reply::ok(&paging.envelope(
        &found,
        |endpoint| endpoint.id,
        |endpoint| Some(EndpointOut::from(endpoint)),
    )))
}

pub(crate) async fn create(
    State(state): State<Shared>,
    InApp { principal, app }: InApp,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = EndpointIn::read(Fields::parse(&body)?, &state.config.target_policy)?;
    let work = async |id, again| {
        let stored = store_new(&state, &app, wanted, id, again).await?;
        Ok(Reply::json(
            StatusCode::CREATED,
            &EndpointOut::from(&stored),
        ))
    };
    let partition = Partition::App(app.id);
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}

/// Creates an endpoint. `again`: an earlier try, of which nothing is known, may have created it already.
async fn store_new(
    state: &state::State,
    app: &Application,
    wanted: EndpointIn,
    id: MessageId,
    again: bool,
) -> Result<Endpoint, ApiError> {
    let id = EndpointId::from_bytes(*id.as_bytes());
    if again
        && let Some(stored) = state
            .ports
            .registry
            .endpoint(app.id, &EndpointKey::Id(id))
            .await?
    {
        return Ok(stored);
    }
    must_exist(state, app.org, wanted.event_types()).await?;
    let endpoint = wanted.create(id, app.id, generate_secret()?, state.now());
    Ok(state.put_endpoint(app, endpoint, None).await?)
}

/// A key of our own making.
pub(crate) fn generate_secret() -> Result<SecretText, ApiError> {
    let random: [u8; SECRET_BYTES] = rand::random();
    let secret = SymmetricSecret::from_slice(&random)
        .map_err(|_| ApiError::Internal("a generated key is not valid"))?;
    Ok(SecretText::new(secret.to_secret_string().to_string()))
}

/// An endpoint can only ask for event types that exist: a typing error would silence it.
async fn must_exist(
    state: &state::State,
    org: OrgId,
    types: &[EventTypeName],
) -> Result<(), ApiError> {
    // Ends with the first that is unknown, so that a long list costs no more than the types there are.
    for name in types {
        if state.event_type(org, name).await?.is_none() {
            let problem = format!("there is no event type `{name}`");
            return Err(ApiError::body_value("eventTypes", problem));
        }
    }
    Ok(())
}

pub(crate) async fn get(State(state): State<Shared>, app: InApp, path: Path) -> Answered {
    let endpoint = state.endpoint(app.id(), &path.endpoint()?).await?;
    Ok(Reply::ok(&EndpointOut::from(&endpoint)))
}

pub(crate) async fn upsert(
    State(state): State<Shared>,
    InApp { app, .. }: InApp,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let key = path.endpoint()?;
    let mut wanted = EndpointIn::read(Fields::parse(&body)?, &state.config.target_policy)?;
    // Whoever names an endpoint by its uid means it to have that uid.
    if let (None, EndpointKey::Uid(uid)) = (&wanted.uid, &key) {
        wanted.uid = Some(uid.clone());
    }
    must_exist(&state, app.org, wanted.event_types()).await?;
    let (endpoint, upserted) = repeat(async || {
        let version = state.app_version(app.org, app.id).await?;
        match state.ports.registry.endpoint(app.id, &key).await? {
            Some(found) => replace(&state, &app, version, found, wanted.clone()).await,
            None => insert(&state, &app, &key, wanted.clone()).await,
        }
    })
    .await?;
    let status = match upserted {
        Upserted::Created => StatusCode::CREATED,
        Upserted::Replaced => StatusCode::OK,
    };
    Ok(Reply::json(status, &EndpointOut::from(&endpoint)))
}

async fn replace(
    state: &state::State,
    app: &Application,
    version: u64,
    mut endpoint: Endpoint,
    wanted: EndpointIn,
) -> Result<(Endpoint, Upserted), Miss> {
    wanted.replace(&mut endpoint, state.now());
    let stored = state.put_endpoint(app, endpoint, Some(version)).await?;
    Ok((stored, Upserted::Replaced))
}

async fn insert(
    state: &state::State,
    app: &Application,
    key: &EndpointKey,
    wanted: EndpointIn,
) -> Result<(Endpoint, Upserted), Miss> {
    let EndpointKey::Uid(named) = key else {
        // Identifiers are ours to choose.
        return Err(ApiError::NotFound.into());
    };
    let own_name = wanted.uid.as_ref() == Some(named);
    let now = state.now();
    let id = EndpointId::new(now, rand::random());
    let endpoint = wanted.create(id, app.id, generate_secret()?, now);
    match state.put_endpoint(app, endpoint, None).await {
        Ok(stored) => Ok((stored, Upserted::Created)),
        // Somebody created it meanwhile: then it is to be replaced.
        Err(RegistryError::UidTaken) if own_name => Err(Miss::Again),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn patch(
    State(state): State<Shared>,
    InApp { app, .. }: InApp,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = EndpointPatch::read(Fields::parse(&body)?, &state.config.target_policy)?;
    must_exist(&state, app.org, patch.event_types()).await?;
    let now = state.now();
    let change = |endpoint: &mut Endpoint| {
        patch.apply(endpoint, now);
        Ok(())
    };
    let changed = state
        .change_endpoint(&app, &path.endpoint()?, change)
        .await?;
    Ok(Reply::ok(&EndpointOut::from(&changed)))
}

pub(crate) async fn delete(
    State(state): State<Shared>,
    InApp { app, .. }: InApp,
    path: Path,
) -> Answered {
    let endpoint = state.endpoint(app.id, &path.endpoint()?).await?;
    let there = state
        .ports
        .registry
        .delete_endpoint(app.id, endpoint.id)
        .await?;
    state.endpoint_changed(&app).await;
    if there {
        Ok(Reply::no_content())
    } else {
        Err(ApiError::NotFound)
    }
}
