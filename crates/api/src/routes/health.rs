//! `/health`: for load balancers.

use axum::extract::State;

use super::Answered;
use crate::error::{ApiError, RETRY_SOON};
use crate::reply::Reply;
use crate::state::Shared;

/// Whether requests would be served.
pub(crate) async fn check(State(state): State<Shared>) -> Answered {
    if state.health.check(&state.ports).await {
        return Ok(Reply::no_content());
    }
    Err(ApiError::Unavailable {
        detail: "a part of the service is out of reach",
        retry_after: RETRY_SOON,
    })
}

/// Whether the process answers at all; says nothing about what it depends on, so that a supervisor does not restart
/// it because a store is away.
pub(crate) async fn ping() -> Answered {
    Ok(Reply::no_content())
}
