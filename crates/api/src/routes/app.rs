//! `/app` and `/app/{app_id}`.

use axum::extract::State;
use http::StatusCode;
use postrider_core::page::Order;
use postrider_core::ports::{AppKey, Partition, RegistryError};
use postrider_core::{AppId, Application, MessageId, OrgId, Uid};

use super::Answered;
use crate::auth::{InApp, Operator, OperatorInApp};
use crate::body::Body;
use crate::change::{Miss, Upserted, repeat};
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::wire::app::{AppIn, AppOut, AppPatch};
use crate::wire::fields::Fields;

pub(crate) async fn list(
    State(state): State<Shared>,
    Operator(org): Operator,
    query: Query,
) -> Answered {
    let paging = query.ordered_page(Order::Ascending)?;
    let found = state
        .ports
        .registry
        .applications(org, paging.page.clone())
        .await?;
    Ok(Reply::ok(&paging.envelope(
        &found,
        |app| app.id,
        |app| Some(AppOut::from(app)),
    )))
}

pub(crate) async fn create(
    State(state): State<Shared>,
    operator: Operator,
    query: Query,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let get_if_exists = query.flag("get_if_exists", false)?;
    let wanted = AppIn::read(Fields::parse(&body)?)?;
    let Operator(org) = operator;
    let work = async |id, again| {
        if get_if_exists && let Some(found) = existing(&state, org, wanted.uid.as_ref()).await? {
            return Ok(Reply::ok(&AppOut::from(&found)));
        }
        let stored = store_new(&state, org, wanted, id, again).await?;
        Ok(Reply::json(StatusCode::CREATED, &AppOut::from(&stored)))
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

async fn existing(
    state: &state::State,
    org: OrgId,
    uid: Option<&Uid>,
) -> Result<Option<Application>, ApiError> {
    let Some(uid) = uid else {
        return Ok(None);
    };
    let key = AppKey::Uid(uid.clone());
    Ok(state.ports.registry.application(org, &key).await?)
}

/// Creates an application. `again`: an earlier try, of which nothing is known, may have created it already.
async fn store_new(
    state: &state::State,
    org: OrgId,
    wanted: AppIn,
    id: MessageId,
    again: bool,
) -> Result<Application, ApiError> {
    let id = AppId::from_bytes(*id.as_bytes());
    if again
        && let Some(stored) = state
            .ports
            .registry
            .application(org, &AppKey::Id(id))
            .await?
    {
        return Ok(stored);
    }
    let app = wanted.create(id, org, state.now());
    Ok(state.put_app(app, None).await?)
}

pub(crate) async fn get(InApp { app, .. }: InApp) -> Answered {
    Ok(Reply::ok(&AppOut::from(&app)))
}

pub(crate) async fn upsert(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let key = path.app()?;
    let mut wanted = AppIn::read(Fields::parse(&body)?)?;
    // Whoever names an application by its uid means it to have that uid.
    if let (None, AppKey::Uid(uid)) = (&wanted.uid, &key) {
        wanted.uid = Some(uid.clone());
    }
    let (app, upserted) =
        repeat(
            async || match state.ports.registry.application(org, &key).await? {
                Some(found) => replace(&state, found, wanted.clone()).await,
                None => insert(&state, org, &key, wanted.clone()).await,
            },
        )
        .await?;
    let status = match upserted {
        Upserted::Created => StatusCode::CREATED,
        Upserted::Replaced => StatusCode::OK,
    };
    Ok(Reply::json(status, &AppOut::from(&app)))
}

async fn replace(
    state: &state::State,
    mut app: Application,
    wanted: AppIn,
) -> Result<(Application, Upserted), Miss> {
    let version = app.version;
    wanted.replace(&mut app, state.now());
    let stored = state.put_app(app, Some(version)).await?;
    Ok((stored, Upserted::Replaced))
}

async fn insert(
    state: &state::State,
    org: OrgId,
    key: &AppKey,
    wanted: AppIn,
) -> Result<(Application, Upserted), Miss> {
    let AppKey::Uid(named) = key else {
        // Identifiers are ours to choose.
        return Err(ApiError::NotFound.into());
    };
    let own_name = wanted.uid.as_ref() == Some(named);
    let now = state.now();
    let id = AppId::new(now, rand::random());
    match state.put_app(wanted.create(id, org, now), None).await {
        Ok(stored) => Ok((stored, Upserted::Created)),
        // Somebody created it meanwhile: then it is to be replaced.
        Err(RegistryError::UidTaken) if own_name => Err(Miss::Again),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn patch(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = AppPatch::read(Fields::parse(&body)?)?;
    let now = state.now();
    let key = AppKey::Id(app.id);
    let changed = state
        .change_app(app.org, &key, |app| patch.apply(app, now))
        .await?;
    Ok(Reply::ok(&AppOut::from(&changed)))
}

pub(crate) async fn delete(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
) -> Answered {
    let there = state
        .ports
        .registry
        .delete_application(app.org, app.id)
        .await?;
    state.cache.outdated(app.id, app.version + 1);
    if there {
        Ok(Reply::no_content())
    } else {
        Err(ApiError::NotFound)
    }
}

/// The application that a message names in its body, where the path's does not exist: created on the way.
pub(crate) async fn create_implicitly(
    state: &state::State,
    org: OrgId,
    wanted: AppIn,
) -> Result<(), ApiError> {
    let now = state.now();
    let id = AppId::new(now, rand::random());
    match state.put_app(wanted.create(id, org, now), None).await {
        // Somebody else's message was faster; one application is enough.
        Ok(_) | Err(RegistryError::UidTaken) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
