//! The body of a request: bounded in bytes before anything is parsed, and in time against clients that trickle.
//!
//! What all bodies in memory take together is bounded, too. A body is charged for what has arrived of it, not for what
//! it announces: otherwise a few clients that announce much and send nothing would lock everybody out.

use axum::body::Body as Stream;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{ApiError, RETRY_SOON};
use crate::media;
use crate::state::{Shared, State};

/// All of the body.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Its share of the memory for bodies; given back when the handler returns.
    _share: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Shared> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        media::check(request.headers())?;
        let limit = state.config.max_body_bytes;
        if announced(&request).is_some_and(|length| length > limit as u64) {
            return Err(ApiError::TooLarge { limit });
        }
        let read = read(state, request.into_body(), limit);
        tokio::time::timeout(state.config.body_timeout, read)
            .await
            .unwrap_or(Err(ApiError::BodyTimeout))
    }
}

fn announced(request: &Request) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

async fn read(state: &State, mut stream: Stream, limit: usize) -> Result<Body, ApiError> {
    let mut share = None;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = stream.frame().await {
        let Ok(chunk) = frame.map_err(|_| broken())?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        charge(state, &mut share, chunk.len())?;
        // Nearly all bodies come in one piece, which is not copied.
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(Body {
        bytes: joined(first, &rest),
        _share: share,
    })
}

fn joined(first: Bytes, rest: &[u8]) -> Bytes {
    if rest.is_empty() {
        return first;
    }
    [first.as_ref(), rest].concat().into()
}

fn charge(
    state: &State,
    share: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), ApiError> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let Ok(more) = state.body_memory.clone().try_acquire_many_owned(bytes) else {
        return Err(ApiError::Unavailable {
            detail: "too much is being sent at once; try again",
            retry_after: RETRY_SOON,
        });
    };
    match share {
        Some(share) => share.merge(more),
        None => *share = Some(more),
    }
    Ok(())
}

fn broken() -> ApiError {
    ApiError::BadRequest {
        code: "incomplete_body",
        detail: "the body broke off".into(),
    }
}
