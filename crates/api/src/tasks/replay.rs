//! Sending again what an endpoint did not get, in the order of the messages.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use postrider_core::matching;
use postrider_core::message::MessageRecord;
use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{AttemptedFilter, DestinationStatus, EndpointKey, MessageFilter};
use postrider_core::{AppId, Endpoint, MessageId};

use tokio::time::sleep;

use super::record::{Span, Task};
use crate::error::ApiError;
use crate::example;
use crate::resend;
use crate::state::State;

/// What sending one takes at least.
const PACE: Duration = Duration::from_millis(10);
/// Of which so many are sent at a time.
const AT_ONCE: usize = 8;

/// What came, or was due, later than this before the task may still be on its way for the first time: nothing says so.
const SETTLE: Duration = Duration::from_secs(60);

/// What was given up, and what was canceled because the endpoint was disabled.
const NOT_GOT: [DestinationStatus; 2] = [DestinationStatus::Failed, DestinationStatus::Canceled];

pub(super) async fn recover(state: &State, mut task: Task, span: &Span) -> Result<Task, ApiError> {
    let Some(app) = task.app else {
        return Ok(task.failed("it names no application"));
    };
    let endpoint = match endpoint(state, app, span).await? {
        Ok(endpoint) => endpoint,
        Err(reason) => return Ok(task.failed(reason)),
    };
    let filter = AttemptedFilter {
        messages: within(span),
        statuses: NOT_GOT.to_vec(),
    };
    let log = &state.ports.log;
    let found = log
        .attempted(app, span.endpoint, &filter, page(&task))
        .await?;
    let last = reached(&found, |row| row.message.event.message);
    task.has_read(bytes(found.items.iter().map(|row| &row.message)));
    let messages: Vec<_> = found.items.into_iter().map(|row| row.message).collect();
    let task = send(state, task, &endpoint, messages).await?;
    Ok(behind(task, last, found.more))
}

/// What the endpoint wants, and was never tried with: it came later, or wanted something else then.
pub(super) async fn missing(state: &State, mut task: Task, span: &Span) -> Result<Task, ApiError> {
    let Some(app) = task.app else {
        return Ok(task.failed("it names no application"));
    };
    let endpoint = match endpoint(state, app, span).await? {
        Ok(endpoint) => endpoint,
        Err(reason) => return Ok(task.failed(reason)),
    };
    let calm = task.id.created_at() - SETTLE;
    let settled = Span {
        until: span.until.min(calm),
        ..span.clone()
    };
    let filter = within(&settled);
    let log = &state.ports.log;
    let found = log.messages(app, &filter, page(&task)).await?;
    let last = reached(&found, |record| record.event.message);
    let tried = tried(state, app, &settled, page(&task), last).await?;
    task.has_read(bytes(found.items.iter()));
    let wanted = |record: &MessageRecord| {
        let event = &record.event;
        !tried.contains(&event.message)
            && !example::is_one(event)
            && event.deliver_at.is_none_or(|at| at <= calm)
            && matching::asks_for(&endpoint, &event.event_type, &event.channels)
    };
    let messages: Vec<_> = found.items.into_iter().filter(wanted).collect();
    let task = send(state, task, &endpoint, messages).await?;
    Ok(behind(task, last, found.more))
}

/// What the endpoint was tried with up to the message `last`. Of both lists this one is read later, and what was recorded in
/// between is on it: so it goes on until it is as far, however many rows that are.
async fn tried(
    state: &State,
    app: AppId,
    span: &Span,
    mut page: Page<MessageId>,
    last: Option<MessageId>,
) -> Result<BTreeSet<MessageId>, ApiError> {
    let filter = AttemptedFilter {
        messages: within(span),
        statuses: Vec::new(),
    };
    let mut tried = BTreeSet::new();
    loop {
        let log = &state.ports.log;
        let found = log
            .attempted(app, span.endpoint, &filter, page.clone())
            .await?;
        let at = reached(&found, |row| row.message.event.message);
        let rows = found.items.iter();
        tried.extend(rows.map(|row| row.message.event.message));
        match at {
            Some(at) if found.more && last.is_some_and(|last| at < last) => {
                page.cursor = Cursor::After(at);
            }
            _ => return Ok(tried),
        }
    }
}

/// The endpoint as it is now, or why nothing can be sent to it.
async fn endpoint(
    state: &State,
    app: AppId,
    span: &Span,
) -> Result<Result<Endpoint, &'static str>, ApiError> {
    let key = EndpointKey::Id(span.endpoint);
    let found = state.ports.registry.endpoint(app, &key).await?;
    Ok(match found {
        None => Err("the endpoint was deleted"),
        Some(endpoint) if endpoint.disabled => Err("the endpoint was disabled"),
        Some(endpoint) => Ok(endpoint),
    })
}

/// Bounds of lists are exclusive.
fn within(span: &Span) -> MessageFilter {
    let moment = Duration::from_millis(1);
    MessageFilter {
        after: Some(span.since - moment),
        before: Some(span.until + moment),
        ..MessageFilter::default()
    }
}

fn page(task: &Task) -> Page<MessageId> {
    let last = task.cursor.as_deref().and_then(|text| text.parse().ok());
    Page {
        cursor: last.map_or(Cursor::Start, Cursor::After),
        limit: task.portion.max(1),
        order: Order::Ascending,
    }
}

fn bytes<'a>(messages: impl Iterator<Item = &'a MessageRecord>) -> usize {
    messages.map(|record| record.event.payload.len()).sum()
}

/// The last message that was looked at for a page, be it on it or not.
fn reached<T>(found: &Slice<T>, key: impl Fn(&T) -> MessageId) -> Option<MessageId> {
    let stopped = found.stopped.map(MessageId::from_bytes);
    stopped.or_else(|| found.items.last().map(key))
}

fn behind(mut task: Task, last: Option<MessageId>, more: bool) -> Task {
    let Some(last) = last.filter(|_| more) else {
        return task.finished();
    };
    task.cursor = Some(last.to_string());
    task
}

async fn send(
    state: &State,
    mut task: Task,
    endpoint: &Endpoint,
    messages: Vec<MessageRecord>,
) -> Result<Task, ApiError> {
    let (whole, bare): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|record| record.has_payload);
    let mut sent: Vec<BoxFuture<'_, Result<(), ApiError>>> = Vec::with_capacity(whole.len());
    for record in &whole {
        let chain = resend::chain_of_task(task.id, record.event.message);
        sent.push(resend::open_and_send(state, record, endpoint, chain).boxed());
    }
    stream::iter(sent)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    // Nobody shall be run over: deliveries of new messages share the way.
    sleep(PACE * u32::try_from(whole.len()).unwrap_or(u32::MAX)).await;
    task.count("resent", whole.len() as u64);
    task.count("withoutPayload", bare.len() as u64);
    Ok(task)
}
