//! `…/attempt/endpoint/{endpoint_id}`, `…/attempt/msg/{msg_id}` and what lies below `…/msg/{msg_id}`: attempts,
//! destinations, resend.

use std::collections::HashMap;

use axum::extract::State;
use http::StatusCode;
use postrider_core::attempt::AttemptRecord;
use postrider_core::message::MessageRecord;
use postrider_core::page::{Order, Slice};
use postrider_core::ports::{AttemptFilter, AttemptScope, EndpointKey, MessageKey, Partition};
use postrider_core::{AppId, AttemptId, EndpointId, MessageId};

use super::Answered;
use super::msg::find;
use crate::auth::InApp;
use crate::body::Body;
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::paging::Paging;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::resend;
use crate::state::{self, Shared};
use crate::wire::attempt::{AttemptOut, DestinationOut, Status};
use crate::wire::fields::Fields;

pub(crate) async fn by_endpoint(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let endpoint = state.endpoint(app.id(), &path.endpoint()?).await?;
    let scope = AttemptScope::Endpoint(endpoint.id);
    list(&state, app.id(), scope, None, &query).await
}

pub(crate) async fn by_message(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let endpoint = endpoint_filter(&state, app.id(), &query).await?;
    let message = find(&state, app.id(), &path.message()?).await?;
    let scope = AttemptScope::Message(message.event.message);
    list(&state, app.id(), scope, endpoint, &query).await
}

/// `endpoint_id`, by identifier or uid. One of our identifiers is taken as it is: attempts outlive their endpoint.
pub(crate) async fn endpoint_filter(
    state: &state::State,
    app: AppId,
    query: &Query,
) -> Result<Option<EndpointId>, ApiError> {
    let Some(text) = query.text("endpoint_id") else {
        return Ok(None);
    };
    if let Ok(id) = text.parse() {
        return Ok(Some(id));
    }
    let name = ["query", "endpoint_id"];
    let uid = crate::validate::endpoint_uid(text)
        .map_err(|message| ApiError::invalid(&name, crate::error::kind::VALUE, message))?;
    let endpoint = state.endpoint(app, &EndpointKey::Uid(uid)).await?;
    Ok(Some(endpoint.id))
}

async fn list(
    state: &state::State,
    app: AppId,
    scope: AttemptScope,
    endpoint: Option<EndpointId>,
    query: &Query,
) -> Answered {
    let paging: Paging<_> = query.page(Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let with_msg = query.flag("with_msg", false)?;
    let status = query.word("status", "0, 1, 2 or 3", Status::parse)?;
    let filter = AttemptFilter {
        endpoint,
        succeeded: status.map(|status| status == Status::Success),
        status_class: query.word("status_code_class", "0, 100, 200, 300, 400 or 500", class)?,
        event_types: query.event_types()?,
        channel: query.channel()?,
        before: query.time("before")?,
        after: query.time("after")?,
    };
    let found = match status {
        // An attempt is recorded when it is over: none is pending, none is under way.
        Some(Status::Pending | Status::Sending) => Slice::default(),
        _ => {
            let page = paging.page.clone();
            state.ports.log.attempts(app, scope, &filter, page).await?
        }
    };
    let messages = match with_msg {
        true => messages_of(state, app, &found.items).await?,
        false => HashMap::new(),
    };
    let list = paging.envelope(
        &found,
        |attempt| attempt.id,
        |attempt| {
            let message = messages.get(&attempt.message);
            Some(AttemptOut::new(attempt, message, with_content))
        },
    );
    let at = found.stopped.map(AttemptId::from_bytes);
    Ok(Reply::ok(&paging.going_on(list, at)))
}

fn class(text: &str) -> Option<u16> {
    let class: u16 = text.parse().ok()?;
    (class <= 500 && class.is_multiple_of(100)).then_some(class)
}

/// The messages of a page of attempts, each once; those that the log has shed are left out.
async fn messages_of(
    state: &state::State,
    app: AppId,
    attempts: &[AttemptRecord],
) -> Result<HashMap<MessageId, MessageRecord>, ApiError> {
    let mut messages = HashMap::new();
    for attempt in attempts {
        let id = attempt.message;
        if messages.contains_key(&id) {
            continue;
        }
        if let Some(record) = state.ports.log.message(app, &MessageKey::Id(id)).await? {
            messages.insert(id, record);
        }
    }
    Ok(messages)
}

pub(crate) async fn get(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let id = path.attempt()?;
    let with_content = query.flag("with_content", true)?;
    let message = find(&state, app.id(), &path.message()?).await?;
    let found = state
        .ports
        .log
        .attempt(app.id(), message.event.message, id)
        .await?;
    let attempt = found.ok_or(ApiError::NotFound)?;
    let with_msg = query.flag("with_msg", false)?;
    let message = with_msg.then_some(&message);
    Ok(Reply::ok(&AttemptOut::new(&attempt, message, with_content)))
}

/// Endpoints that the message was tried at, or waits for. Deleted ones are not shown.
pub(crate) async fn destinations(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let paging = query.page(Order::Descending)?;
    let message = find(&state, app.id(), &path.message()?).await?;
    let id = message.event.message;
    let page = paging.page.clone();
    let found = state.ports.log.destinations(app.id(), id, page).await?;
    let mut endpoints = HashMap::new();
    for destination in &found.items {
        let key = EndpointKey::Id(destination.endpoint);
        if let Some(endpoint) = state.ports.registry.endpoint(app.id(), &key).await? {
            endpoints.insert(endpoint.id, endpoint);
        }
    }
    Ok(Reply::ok(&paging.envelope(
        &found,
        |destination| destination.endpoint,
        |destination| {
            let endpoint = endpoints.get(&destination.endpoint)?;
            Some(DestinationOut::new(endpoint, destination))
        },
    )))
}

/// Sends a message to one endpoint once more, with a schedule of its own.
pub(crate) async fn resend(
    State(state): State<Shared>,
    InApp { principal, app }: InApp,
    path: Path,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    Fields::parse_optional(&body)?;
    let (message, endpoint) = (path.message()?, path.endpoint()?);
    let work = async |id, _| {
        let endpoint = state.endpoint(app.id, &endpoint).await?;
        let record = find(&state, app.id, &message).await?;
        resend::must_have_payload(&record)?;
        resend::must_be_enabled(&endpoint)?;
        let chain = resend::chain_of_request(id);
        resend::open_and_send(&state, &record, &endpoint, chain).await?;
        Ok(Reply::json(
            StatusCode::ACCEPTED,
            &serde_json::Map::<String, serde_json::Value>::new(),
        ))
    };
    let partition = Partition::App(app.id);
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}
