//! `…/msg/{msg_id}/content` and `…/attempt/{attempt_id}/content`: what was sent and what was answered, taken away for good.

use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use postrider_core::message::{Event, MessageRecord};
use postrider_core::ports::LogRecord;
use postrider_core::withdrawn;

use super::Answered;
use super::msg::find;
use crate::auth::OperatorInApp;
use crate::error::ApiError;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::Shared;

/// What is under way goes on with the payload that it carries; what is scheduled for later is taken back.
pub(crate) async fn expunge_message(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
    path: Path,
) -> Answered {
    let found = find(&state, app.id, &path.message()?).await?;
    withdrawn::withdraw(&*state.ports.documents, state.now(), &found.event).await?;
    let event = Event {
        payload: Bytes::new(),
        ..(*found.event).clone()
    };
    let bare = MessageRecord {
        event: Arc::new(event),
        has_payload: false,
    };
    let log = &state.ports.log;
    log.record(vec![LogRecord::Message(bare)]).await?;
    Ok(Reply::no_content())
}

pub(crate) async fn expunge_attempt(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
    path: Path,
) -> Answered {
    let attempt = path.attempt()?;
    let message = find(&state, app.id, &path.message()?).await?.event.message;
    let log = &state.ports.log;
    if log.expunge_response(app.id, message, attempt).await? {
        Ok(Reply::no_content())
    } else {
        Err(ApiError::NotFound)
    }
}
