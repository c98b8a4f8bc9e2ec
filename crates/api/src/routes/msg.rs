//! `/app/{app_id}/msg` and `…/msg/{msg_id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use postrider_core::message::MessageRecord;
use postrider_core::page::Order;
use postrider_core::ports::{AppKey, MessageFilter, MessageKey};
use postrider_core::{AppId, AppSnapshot, MessageId, OrgId, Uid};
use tokio::time::{Instant, sleep};

use super::Answered;
use super::app::create_implicitly;
use crate::accept::{self, Submission};
use crate::auth::{InApp, Operator};
use crate::body::Body;
use crate::error::ApiError;
use crate::idempotency::Idempotency;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::wire::message::MessageOut;

/// A message's record is written after it was accepted; whoever asks for it at once waits for that long.
const PATIENCE: Duration = Duration::from_secs(1);
/// A message that is older than this has its record, or will never have one.
const YOUNG: Duration = Duration::from_secs(10);
const FIRST_LOOK: Duration = Duration::from_millis(5);

pub(crate) async fn create(
    State(state): State<Shared>,
    Operator(org): Operator,
    path: Path,
    query: Query,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let with_content = query.flag("with_content", true)?;
    let key = path.app()?;
    let submission = accept::read(&body, state.now()).inspect_err(|error| {
        state.metrics.rejected(error.reason());
    })?;
    let accepted = submit(&state, org, &key, submission, &idempotency).await;
    match accepted {
        Ok(event) => {
            let shown = MessageOut::of_event(&event, with_content);
            Ok(Reply::json(StatusCode::ACCEPTED, &shown))
        }
        Err(error) => {
            state.metrics.rejected(error.reason());
            Err(error)
        }
    }
}

async fn submit(
    state: &Shared,
    org: OrgId,
    key: &AppKey,
    mut submission: Submission,
    idempotency: &Idempotency,
) -> Result<Arc<postrider_core::Event>, ApiError> {
    let app = target(state, org, key, &mut submission).await?;
    accept::accept(state, org, &app, submission, idempotency).await
}

/// The application that a message is for; created where the body says how. What is wrong with the payload is noted.
pub(crate) async fn target(
    state: &state::State,
    org: OrgId,
    key: &AppKey,
    submission: &mut Submission,
) -> Result<Arc<AppSnapshot>, ApiError> {
    submission.examine(state, org).await?;
    let wanted = submission.message.application.take();
    let found = state.cache.resolve(org, key).await?;
    if let Some(wanted) = wanted {
        let own = found.as_ref().and_then(|found| found.app.uid.clone());
        must_name(wanted.uid.as_ref(), key, own.as_ref())?;
        if found.is_none() {
            submission.must_be_right()?;
            create_implicitly(state, org, wanted).await?;
            let created = state.cache.resolve(org, key).await?;
            return created.ok_or(ApiError::NotFound);
        }
    }
    found.ok_or(ApiError::NotFound)
}

/// The application in the body has to be the path's. `own` is the uid of the one that the path names by identifier.
pub(super) fn must_name(
    uid: Option<&Uid>,
    path: &AppKey,
    own: Option<&Uid>,
) -> Result<(), ApiError> {
    let expected = match path {
        AppKey::Uid(uid) => Some(uid),
        AppKey::Id(_) => own,
    };
    if uid.is_some() && uid == expected {
        return Ok(());
    }
    let loc = ["body", "application", "uid"];
    let problem = "must be the uid of the application in the path";
    Err(ApiError::invalid(&loc, crate::error::kind::VALUE, problem))
}

pub(crate) async fn list(State(state): State<Shared>, app: InApp, query: Query) -> Answered {
    let paging = query.page(Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let filter = MessageFilter {
        event_types: query.event_types()?,
        channel: query.channel()?,
        tag: query.tag()?,
        before: query.time("before")?,
        after: query.time("after")?,
    };
    let found = state
        .ports
        .log
        .messages(app.id(), &filter, paging.page.clone())
        .await?;
    let list = paging.envelope(
        &found,
        |record| record.event.message,
        |record| Some(MessageOut::of_record(record, with_content)),
    );
    let at = found.stopped.map(MessageId::from_bytes);
    Ok(Reply::ok(&paging.going_on(list, at)))
}

pub(crate) async fn get(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let with_content = query.flag("with_content", true)?;
    let record = find(&state, app.id(), &path.message()?).await?;
    Ok(Reply::ok(&MessageOut::of_record(&record, with_content)))
}

/// A message's record. Waits a moment for one that may be on its way into the log.
pub(crate) async fn find(
    state: &state::State,
    app: AppId,
    key: &MessageKey,
) -> Result<MessageRecord, ApiError> {
    let patience_ends = Instant::now() + PATIENCE;
    let mut pause = FIRST_LOOK;
    loop {
        if let Some(record) = state.ports.log.message(app, key).await? {
            return Ok(record);
        }
        if !may_be_on_its_way(state, key) || Instant::now() + pause > patience_ends {
            return Err(ApiError::NotFound);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// An event id does not tell when it was used.
fn may_be_on_its_way(state: &state::State, key: &MessageKey) -> bool {
    match key {
        MessageKey::Id(id) => state.now().since(id.created_at()) < YOUNG,
        MessageKey::EventId(_) => true,
    }
}
