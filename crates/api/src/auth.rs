//! Who is asking, and for whose things. Handlers name what they need as an argument:
//!
//! | argument | lets in | else |
//! |---|---|---|
//! | [`Principal`] | any valid token or key | 401 |
//! | [`Caller`] | the same, whatever it may do | 401 |
//! | [`Operator`] | an operator | 401, 403 |
//! | [`InApp`] | the operator of the path's application, or that application's consumer | 401, 404 |
//! | [`OperatorInApp`] | the operator of the path's application | 401, 403, 404 |
//!
//! Who may only look is refused (403) what changes something, and keys that sign: whoever has one can make messages up.
//!
//! Another tenant's application is a 404 with the body of an unknown one.

use axum::extract::{FromRequestParts, MatchedPath};
use http::Method;
use http::header::AUTHORIZATION;
use http::request::Parts;
use postrider_core::ports::AppKey;
use postrider_core::{AppId, Application, OrgId};

use crate::access::{self, Caller};
use crate::error::ApiError;
use crate::path::Path;
use crate::state::{Shared, State};
use crate::tokens::Principal;

impl FromRequestParts<Shared> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.read_only && !is_harmless(parts) {
            return Err(ApiError::Forbidden);
        }
        Ok(caller.principal)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let shown = bearer(parts).ok_or(ApiError::Unauthenticated)?;
        access::check(state, shown).await
    }
}

fn is_harmless(parts: &Parts) -> bool {
    let path = parts.extensions.get::<MatchedPath>();
    let signs = path.is_some_and(|path| path.as_str().ends_with("/secret"));
    matches!(parts.method, Method::GET | Method::HEAD) && !signs
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// An operator's token; holds the organisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator(pub(crate) OrgId);

impl Operator {
    pub(crate) const fn principal(self) -> Principal {
        Principal::Operator { org: self.0 }
    }
}

impl FromRequestParts<Shared> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        match Principal::from_request_parts(parts, state).await? {
            Principal::Operator { org } => Ok(Self(org)),
            Principal::Consumer { .. } => Err(ApiError::Forbidden),
        }
    }
}

/// The application of the path, as the registry has it, and who asks.
#[derive(Debug)]
pub(crate) struct InApp {
    pub(crate) principal: Principal,
    pub(crate) app: Application,
}

impl InApp {
    pub(crate) const fn id(&self) -> AppId {
        self.app.id
    }
}

impl FromRequestParts<Shared> for InApp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let key = Path::from_request_parts(parts, state).await?.app()?;
        let app = application(state, principal, &key).await?;
        Ok(Self { principal, app })
    }
}

async fn application(
    state: &State,
    principal: Principal,
    key: &AppKey,
) -> Result<Application, ApiError> {
    let found = state
        .ports
        .registry
        .application(principal.org(), key)
        .await?;
    found
        .filter(|app| may_enter(principal, app.id))
        .ok_or(ApiError::NotFound)
}

fn may_enter(principal: Principal, app: AppId) -> bool {
    match principal {
        Principal::Operator { .. } => true,
        Principal::Consumer { app: own, .. } => own == app,
    }
}

/// As [`InApp`], for operators only.
#[derive(Debug)]
pub(crate) struct OperatorInApp(pub(crate) Application);

impl FromRequestParts<Shared> for OperatorInApp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let operator = Operator::from_request_parts(parts, state).await?;
        let key = Path::from_request_parts(parts, state).await?.app()?;
        application(state, operator.principal(), &key)
            .await
            .map(Self)
    }
}
