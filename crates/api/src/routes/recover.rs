//! `…/endpoint/{endpoint_id}/recover` and `…/replay-missing`: background tasks that send again.

use axum::extract::State;
use http::StatusCode;
use postrider_core::TaskId;
use postrider_core::ports::Partition;

use super::Answered;
use crate::auth::InApp;
use crate::body::Body;
use crate::idempotency::{self, Idempotency};
use crate::path::Path;
use crate::reply::Reply;
use crate::resend::must_be_enabled;
use crate::state::Shared;
use crate::tasks::{self, Span, Task, Work};
use crate::wire::fields::Fields;
use crate::wire::task::{RecoverIn, TaskOut};

/// What was given up or canceled.
pub(crate) async fn recover(
    state: State<Shared>,
    app: InApp,
    path: Path,
    idempotency: Idempotency,
    body: Body,
) -> Answered {
    begin(state, app, path, idempotency, body, Work::Recover).await
}

/// What the endpoint was never tried with.
pub(crate) async fn replay_missing(
    state: State<Shared>,
    app: InApp,
    path: Path,
    idempotency: Idempotency,
    body: Body,
) -> Answered {
    begin(state, app, path, idempotency, body, Work::ReplayMissing).await
}

async fn begin(
    State(state): State<Shared>,
    InApp { principal, app }: InApp,
    path: Path,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
    work: impl FnOnce(Span) -> Work,
) -> Answered {
    let now = state.now();
    let wanted = RecoverIn::read(Fields::parse(&body)?, now)?;
    let key = path.endpoint()?;
    let begin = async |id: postrider_core::MessageId, _| {
        let endpoint = state.endpoint(app.id, &key).await?;
        must_be_enabled(&endpoint)?;
        let span = Span {
            endpoint: endpoint.id,
            since: wanted.since,
            until: wanted.until.unwrap_or(now),
        };
        let id = TaskId::from_bytes(*id.as_bytes());
        let task = Task::new(id, app.org, Some(app.id), work(span), now);
        let begun = tasks::begin(&state, task).await?;
        Ok(Reply::json(StatusCode::ACCEPTED, &TaskOut::begun(&begun)))
    };
    let partition = Partition::App(app.id);
    idempotency::once(&state, principal, partition, &idempotency, &body, begin).await
}
