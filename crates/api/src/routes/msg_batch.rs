//! `…/msg-batch`: many messages in one request, each with a result of its own. They go the way of every message
//! ([`crate::accept`]), side by side, so that their reservations share round trips and their confirms are awaited together.

use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::StatusCode;
use postrider_core::{AppSnapshot, Event, OrgId};

use super::Answered;
use crate::accept;
use crate::auth::Operator;
use crate::body::Body;
use crate::error::{ApiError, RETRY_SOON};
use crate::idempotency::Idempotency;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::Shared;
use crate::wire::msg_batch::{self, BatchOut, OneOut};

/// Messages of one batch that are on their way at a time.
const AT_ONCE: usize = 256;

/// Several batches find room beside each other.
fn at_once(state: &Shared) -> usize {
    (state.config.max_in_flight / 4).clamp(1, AT_ONCE)
}

pub(crate) async fn create(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let messages = msg_batch::split(&body)?;
    let found = state.cache.resolve(org, &path.app()?).await?;
    let app = found.ok_or(ApiError::NotFound)?;
    let mut sent: Vec<BoxFuture<'_, Result<Arc<Event>, ApiError>>> = Vec::new();
    for (place, message) in messages.into_iter().enumerate() {
        sent.push(one(&state, org, &app, &idempotency, place, message).boxed());
    }
    let results: Vec<Result<Arc<Event>, ApiError>> =
        stream::iter(sent).buffered(at_once(&state)).collect().await;
    // Where nothing could be accepted for now, the request as a whole is to be repeated.
    if results.iter().all(is_passing) {
        let first = results.into_iter().find_map(Result::err);
        return Err(first.unwrap_or(ApiError::Internal("a batch has no messages")));
    }
    let shown = results
        .iter()
        .enumerate()
        .map(|(place, result)| shown(place, result));
    Ok(Reply::json(
        StatusCode::ACCEPTED,
        &BatchOut::new(shown.collect()),
    ))
}

fn is_passing(result: &Result<Arc<Event>, ApiError>) -> bool {
    let status = result.as_ref().err().map(ApiError::status);
    status == Some(StatusCode::SERVICE_UNAVAILABLE)
}

fn shown(place: usize, result: &Result<Arc<Event>, ApiError>) -> OneOut<'_> {
    match result {
        Ok(event) => OneOut::accepted(event),
        Err(error) => OneOut::refused(error, place),
    }
}

async fn one(
    state: &Shared,
    org: OrgId,
    app: &AppSnapshot,
    idempotency: &Idempotency,
    place: usize,
    message: Bytes,
) -> Result<Arc<Event>, ApiError> {
    let accepted = submit(state, org, app, idempotency, place, message).await;
    accepted.inspect_err(|error| state.metrics.rejected(error.reason()))
}

async fn submit(
    state: &Shared,
    org: OrgId,
    app: &AppSnapshot,
    idempotency: &Idempotency,
    place: usize,
    message: Bytes,
) -> Result<Arc<Event>, ApiError> {
    let own = msg_batch::own_key(&message)?;
    let idempotency = idempotency.of_message(app.app.id, own, place);
    let mut submission = accept::read(&message, state.now())?;
    if submission.message.application.is_some() {
        let problem = "cannot be given in a batch";
        return Err(ApiError::body_value("application", problem));
    }
    // As one that comes alone, each message counts for as long as it is accepted.
    let Ok(_room) = state.batched.try_acquire() else {
        return Err(ApiError::Unavailable {
            detail: "too many messages are being accepted; this one was not",
            retry_after: RETRY_SOON,
        });
    };
    submission.examine(state, org).await?;
    accept::accept(state, org, app, submission, &idempotency).await
}
