//! `…/endpoint/{endpoint_id}/headers`.

use axum::extract::State;
use postrider_core::Endpoint;

use super::Answered;
use crate::auth::InApp;
use crate::body::Body;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::Shared;
use crate::wire::fields::Fields;
use crate::wire::headers::{self, HeadersOut, HeadersPatch};

pub(crate) async fn get(State(state): State<Shared>, app: InApp, path: Path) -> Answered {
    let endpoint = state.endpoint(app.id(), &path.endpoint()?).await?;
    Ok(Reply::ok(&HeadersOut::from(&endpoint.headers)))
}

pub(crate) async fn replace(
    State(state): State<Shared>,
    InApp { app, .. }: InApp,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let all = headers::read_all(Fields::parse(&body)?)?;
    let now = state.now();
    let change = |endpoint: &mut Endpoint| {
        endpoint.headers = all.clone();
        endpoint.updated_at = now;
        Ok(())
    };
    state
        .change_endpoint(&app, &path.endpoint()?, change)
        .await?;
    Ok(Reply::no_content())
}

pub(crate) async fn patch(
    State(state): State<Shared>,
    InApp { app, .. }: InApp,
    path: Path,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let patch = HeadersPatch::read(Fields::parse(&body)?)?;
    let now = state.now();
    let change = |endpoint: &mut Endpoint| {
        endpoint.headers = patch.apply(&endpoint.headers)?;
        endpoint.updated_at = now;
        Ok(())
    };
    state
        .change_endpoint(&app, &path.endpoint()?, change)
        .await?;
    Ok(Reply::no_content())
}
