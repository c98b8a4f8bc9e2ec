//! `/auth/…`: tokens for consumers, and their end.

use std::time::Duration;

use axum::extract::State;
use postrider_core::Application;
use serde::Serialize;

use super::Answered;
use super::app::create_implicitly;
use super::msg::must_name;
use crate::access::{self, Caller};
use crate::auth::{Operator, OperatorInApp};
use crate::body::Body;
use crate::error::ApiError;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::tokens::{self, Portal};
use crate::wire::app::AppIn;
use crate::wire::auth::{ExpireAllIn, PortalIn};
use crate::wire::fields::Fields;

#[derive(Debug, Serialize)]
struct PortalOut {
    url: String,
    token: String,
}

/// A token for a consumer, and a link with it. It is not kept for repetitions: making another one does no harm.
pub(crate) async fn portal(
    State(state): State<Shared>,
    Operator(org): Operator,
    caller: Caller,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = PortalIn::read(Fields::parse_optional(&body)?)?;
    let app = enter(&state, Operator(org), &path, wanted.application).await?;
    let portal = Portal {
        org,
        app: app.id,
        read_only: wanted.read_only,
        made_with: caller.key.map(|key| key.id),
        id: rand::random(),
    };
    let secret = &state.config.jwt_secret;
    let now = state.now();
    // A key that ends makes nothing that outlives it.
    let ends = caller.key.and_then(|key| key.ends);
    let left = ends.map_or(wanted.expiry, |ends| ends.since(now));
    let token = tokens::mint_portal(secret, &portal, now, wanted.expiry.min(left));
    // Behind the `#`, where it is not sent to any server and appears in no log.
    let base = state.config.public_url.trim_end_matches('/');
    let url = format!("{base}/console/login#token={token}");
    Ok(Reply::ok(&PortalOut { url, token }))
}

/// The application of the path; created where the body says how.
async fn enter(
    state: &state::State,
    Operator(org): Operator,
    path: &Path,
    wanted: Option<AppIn>,
) -> Result<Application, ApiError> {
    let key = path.app()?;
    let registry = &state.ports.registry;
    let found = registry.application(org, &key).await?;
    if let Some(wanted) = wanted {
        let own = found.as_ref().and_then(|found| found.uid.clone());
        must_name(wanted.uid.as_ref(), &key, own.as_ref())?;
        if found.is_none() {
            create_implicitly(state, org, wanted).await?;
            let created = registry.application(org, &key).await?;
            return created.ok_or(ApiError::NotFound);
        }
    }
    found.ok_or(ApiError::NotFound)
}

/// Revokes the token that it is called with. Keys are withdrawn by operators.
pub(crate) async fn logout(State(state): State<Shared>, caller: Caller) -> Answered {
    let token = caller.token.ok_or(ApiError::Forbidden)?;
    access::revoke(&state, caller.principal, token).await?;
    Ok(Reply::no_content())
}

/// Revokes all of an application's tokens.
pub(crate) async fn expire_all(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = ExpireAllIn::read(Fields::parse_optional(&body)?)?;
    let from = state.now() + wanted.grace.unwrap_or(Duration::ZERO);
    access::expire_all(&state, app.org, app.id, from).await?;
    Ok(Reply::no_content())
}
