//! The body of a request: bounded in bytes before anything is parsed, and in time against clients that trickle.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::ApiError;
use crate::state::Shared;

/// All of the body. What it is said to be (`content-type`) is not looked at: there is only JSON here.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Bytes);

impl FromRequest<Shared> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let limit = state.config.max_body_bytes;
        if announced(&request).is_some_and(|length| length > limit as u64) {
            return Err(ApiError::TooLarge { limit });
        }
        let read = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(state.config.body_timeout, read).await {
            Err(_) => Err(ApiError::BodyTimeout),
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge { limit }),
            Ok(Err(_)) => Err(ApiError::BadRequest {
                code: "incomplete_body",
                detail: "the body broke off".into(),
            }),
        }
    }
}

fn announced(request: &Request) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
