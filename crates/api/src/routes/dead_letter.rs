//! `…/dead-letter` and `…/dead-letter/{dead_letter_id}`: an addition to the contract of the client libraries.

use axum::extract::State;
use postrider_core::DeadReason;
use postrider_core::page::Order;
use postrider_core::ports::DeadLetterFilter;

use super::Answered;
use super::attempt::endpoint_filter;
use crate::auth::InApp;
use crate::error::ApiError;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::Shared;
use crate::wire::dead_letter::DeadLetterOut;

pub(crate) async fn list(State(state): State<Shared>, app: InApp, query: Query) -> Answered {
    let paging = query.page(Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    let filter = DeadLetterFilter {
        endpoint: endpoint_filter(&state, app.id(), &query).await?,
        reason: query.word("reason", "exhausted, gone or poison", DeadReason::parse)?,
        before: query.time("before")?,
        after: query.time("after")?,
    };
    let found = state
        .ports
        .dead_letters
        .list(Some(app.id()), &filter, paging.page.clone())
        .await?;
    Ok(Reply::ok(&paging.envelope(
        &found,
        |letter| letter.id(),
        |letter| DeadLetterOut::new(letter, with_content),
    )))
}

pub(crate) async fn get(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let id = path.dead_letter()?;
    let with_content = query.flag("with_content", true)?;
    let found = state.ports.dead_letters.get(Some(app.id()), id).await?;
    let letter = found.ok_or(ApiError::NotFound)?;
    let shown = DeadLetterOut::new(&letter, with_content).ok_or(ApiError::NotFound)?;
    Ok(Reply::ok(&shown))
}
