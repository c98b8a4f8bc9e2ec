//! `…/endpoint/{endpoint_id}/msg`: what an endpoint was sent, and how far each message has come there.

use axum::extract::State;
use postrider_core::MessageId;
use postrider_core::page::Order;
use postrider_core::ports::{AttemptedFilter, MessageFilter};

use super::Answered;
use crate::auth::InApp;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::Shared;
use crate::wire::attempt::{AttemptedOut, Status};

pub(crate) async fn list(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let paging = query.page(Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let status = query.word("status", "0, 1, 2 or 3", Status::parse)?;
    let filter = AttemptedFilter {
        messages: MessageFilter {
            event_types: query.event_types()?,
            channel: query.channel()?,
            tag: query.tag()?,
            before: query.time("before")?,
            after: query.time("after")?,
        },
        statuses: status.map(Status::of_destinations).unwrap_or_default(),
    };
    let endpoint = state.endpoint(app.id(), &path.endpoint()?).await?;
    let page = paging.page.clone();
    let log = &state.ports.log;
    let found = log.attempted(app.id(), endpoint.id, &filter, page).await?;
    let list = paging.envelope(
        &found,
        |row| row.message.event.message,
        |row| Some(AttemptedOut::new(row, with_content)),
    );
    let at = found.stopped.map(MessageId::from_bytes);
    Ok(Reply::ok(&paging.going_on(list, at)))
}
