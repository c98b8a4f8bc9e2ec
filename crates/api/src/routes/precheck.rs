//! `…/msg/precheck/active`: whether a message would go anywhere, for those to whom making one is dear.

use axum::extract::State;
use postrider_core::matching;
use serde::Serialize;

use super::Answered;
use crate::auth::Operator;
use crate::body::Body;
use crate::error::ApiError;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::Shared;
use crate::validate;
use crate::wire::fields::Fields;

#[derive(Debug, Serialize)]
struct PrecheckOut {
    active: bool,
}

pub(crate) async fn active(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let fields = &mut Fields::parse(&body)?;
    let event_type = fields.checked("eventType", validate::event_type)?.value();
    let event_type = event_type.ok_or_else(|| fields.missing("eventType"))?;
    let channels = fields.set("channels", validate::channel)?.value();
    let channels = channels.unwrap_or_default();
    let app = state.cache.resolve(org, &path.app()?).await?;
    let app = app.ok_or(ApiError::NotFound)?;
    let active = app
        .endpoints
        .iter()
        .any(|endpoint| !endpoint.disabled && matching::asks_for(endpoint, &event_type, &channels));
    Ok(Reply::ok(&PrecheckOut { active }))
}
