//! `/api-key` and `/api-key/{key_id}`: keys with which programs call.

use axum::extract::State;
use http::StatusCode;
use postrider_core::OrgId;
use postrider_core::page::Order;

use super::Answered;
use crate::access::Caller;
use crate::api_key::{self, NewApiKey};
use crate::auth::Operator;
use crate::body::Body;
use crate::error::ApiError;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::wire::api_key::{ApiKeyIn, ApiKeyOut};
use crate::wire::fields::Fields;

/// Not kept for repetitions, since the answer holds the key: whoever repeats it gets another one.
pub(crate) async fn create(
    State(state): State<Shared>,
    Operator(org): Operator,
    caller: Caller,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = ApiKeyIn::read(Fields::parse(&body)?, state.now())?;
    let mut wanted = within(&state, org, wanted).await?;
    // A key that ends makes none that outlives it.
    let ends = caller.key.and_then(|key| key.ends);
    wanted.expires_at = [wanted.expires_at, ends].into_iter().flatten().min();
    let (key, text) = api_key::create(&state, org, wanted).await?;
    let shown = ApiKeyOut::new(&key, Some(&text));
    Ok(Reply::json(StatusCode::CREATED, &shown))
}

/// The application that the key is confined to, looked up.
async fn within(state: &state::State, org: OrgId, wanted: ApiKeyIn) -> Result<NewApiKey, ApiError> {
    let app = match &wanted.app {
        None => None,
        Some(key) => {
            let found = state.ports.registry.application(org, key).await?;
            let problem = || ApiError::body_value("appId", "there is no such application");
            Some(found.ok_or_else(problem)?.id)
        }
    };
    Ok(NewApiKey {
        app,
        name: wanted.name,
        read_only: wanted.read_only,
        expires_at: wanted.expires_at,
    })
}

pub(crate) async fn list(
    State(state): State<Shared>,
    Operator(org): Operator,
    query: Query,
) -> Answered {
    let paging = query.ordered_page(Order::Descending)?;
    let found = api_key::list(&state, org, &paging.page).await?;
    Ok(Reply::ok(&paging.envelope(
        &found,
        |key| key.id,
        |key| Some(ApiKeyOut::new(key, None)),
    )))
}

pub(crate) async fn get(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    let found = api_key::get(&state, org, path.api_key()?).await?;
    let key = found.ok_or(ApiError::NotFound)?;
    Ok(Reply::ok(&ApiKeyOut::new(&key, None)))
}

pub(crate) async fn revoke(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
) -> Answered {
    if api_key::revoke(&state, org, path.api_key()?).await? {
        Ok(Reply::no_content())
    } else {
        Err(ApiError::NotFound)
    }
}
