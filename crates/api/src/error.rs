//! What can go wrong with a request, and how it is told. This is the only place that turns an error into HTTP:
//! client libraries parse the body of every error as JSON, so whatever fails anywhere has to pass through here.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use postrider_core::ports::{PortError, Refusal, RegistryError};
use serde::Serialize;

use crate::reply::Reply;

/// How long a client should stay away after an answer of 503 that names no time of its own.
pub(crate) const RETRY_SOON: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no valid token was given")]
    Unauthenticated,
    #[error("this token does not allow the operation")]
    Forbidden,
    /// Also what another tenant's things look like: the two must not be told apart.
    #[error("there is nothing at this address")]
    NotFound,
    #[error("the resource does not know this method")]
    MethodNotAllowed,
    #[error("{detail}")]
    BadRequest {
        code: &'static str,
        detail: Cow<'static, str>,
    },
    #[error("{detail}")]
    Conflict {
        code: &'static str,
        detail: Cow<'static, str>,
    },
    /// A part of the request is not what it should be; the field is named.
    #[error("{}: {}", .0.loc.join("."), .0.msg)]
    Invalid(FieldError),
    /// A message's payload is not what the schema of its event type asks for. Never empty.
    #[error("{}", told_together(.0))]
    Payload(Vec<FieldError>),
    #[error("the body must have at most {limit} bytes")]
    TooLarge { limit: usize },
    /// The body is something else than JSON in UTF-8, by what its headers say.
    #[error("{detail}")]
    UnsupportedMedia { detail: &'static str },
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("too many requests")]
    RateLimited { retry_after: Duration },
    /// Nothing was accepted for certain, or it is not known: repeating the request with the same key is safe.
    #[error("{detail}")]
    Unavailable {
        detail: &'static str,
        retry_after: Duration,
    },
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("{0}")]
    Internal(&'static str),
}

/// Names a part of a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    pub(crate) loc: Vec<String>,
    pub(crate) msg: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

/// The kinds of [`FieldError`], as FastAPI's clients know them.
pub(crate) mod kind {
    pub(crate) const MISSING: &str = "value_error.missing";
    pub(crate) const JSON: &str = "value_error.jsondecode";
    pub(crate) const TYPE: &str = "type_error";
    pub(crate) const VALUE: &str = "value_error";
    pub(crate) const SCHEMA: &str = "value_error.jsonschema";
}

impl ApiError {
    pub(crate) fn invalid(loc: &[&str], kind: &'static str, msg: impl Into<String>) -> Self {
        Self::Invalid(FieldError {
            loc: loc.iter().map(|part| (*part).to_owned()).collect(),
            msg: msg.into(),
            kind,
        })
    }

    /// A field of the body that has the right type and a wrong value.
    pub(crate) fn body_value(field: &str, msg: impl Into<String>) -> Self {
        Self::invalid(&["body", field], kind::VALUE, msg)
    }

    pub(crate) fn bad_query(name: &str, expected: &str) -> Self {
        Self::BadRequest {
            code: "invalid_query",
            detail: format!("query parameter `{name}` must be {expected}").into(),
        }
    }

    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        let code = "conflict";
        let detail = detail.into();
        Self::Conflict { code, detail }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) | Self::Payload(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Port(error) if is_passing(error) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Port(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { code, .. } | Self::Conflict { code, .. } => code,
            Self::Unauthenticated => "authentication_failed",
            Self::Forbidden => "insufficient_access",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "request_timeout",
            Self::TooLarge { .. } => "payload_too_large",
            Self::UnsupportedMedia { .. } => "unsupported_media_type",
            Self::Invalid(_) | Self::Payload(_) => "validation",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::Port(error) if is_passing(error) => "unavailable",
            Self::Port(_) | Self::Internal(_) => "server_error",
        }
    }

    /// For metrics: of bounded variety.
    pub(crate) fn reason(&self) -> &'static str {
        self.code()
    }

    /// What the client reads. What a port says about itself is for the log: it may name hosts and paths.
    fn detail(&self) -> String {
        match self {
            Self::Port(PortError::Unknown { .. }) => {
                "it is not known whether the request was carried out; repeat it with the same idempotency key"
                    .to_owned()
            }
            Self::Port(error) if is_passing(error) => {
                "a part of the service is out of reach; try again".to_owned()
            }
            Self::Port(_) | Self::Internal(_) => "something went wrong on our side".to_owned(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Port(error) if is_passing(error) => Some(RETRY_SOON),
            _ => None,
        }
    }

    /// The body of the answer, for a part of a request: `place` tells which part of the body.
    pub(crate) fn told_of(&self, place: &[&str]) -> serde_json::Value {
        self.log();
        let told = match self.fields() {
            Some(fields) => {
                let mut fields = fields.to_vec();
                for field in &mut fields {
                    let place = place.iter().map(|part| (*part).to_owned());
                    drop(field.loc.splice(1..1, place));
                }
                serde_json::to_value(ValidationOut { detail: &fields })
            }
            None => serde_json::to_value(ErrorOut {
                code: self.code(),
                detail: self.detail(),
            }),
        };
        told.unwrap_or_default()
    }

    /// The same for whoever did not ask over HTTP; `None` where waiting may help.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.log();
        if self.retry_after().is_some() {
            return None;
        }
        let fields = self.fields();
        let fields = fields.map(|fields| serde_json::to_string(fields).unwrap_or_default());
        let detail = fields.unwrap_or_else(|| self.detail());
        Some(Refusal {
            status: self.status().as_u16(),
            code: self.code(),
            detail,
        })
    }

    /// What is told of a request whose parts are not what they should be.
    fn fields(&self) -> Option<&[FieldError]> {
        match self {
            Self::Invalid(field) => Some(std::slice::from_ref(field)),
            Self::Payload(fields) => Some(fields),
            _ => None,
        }
    }

    fn log(&self) {
        match self {
            Self::Port(error) if is_passing(error) => {
                tracing::warn!(%error, "a request was turned away");
            }
            Self::Port(error) => tracing::error!(%error, "a request failed"),
            Self::Internal(cause) => tracing::error!(cause, "a request failed"),
            _ => {}
        }
    }
}

fn told_together(fields: &[FieldError]) -> String {
    let told = fields
        .iter()
        .map(|field| format!("{}: {}", field.loc.join("."), field.msg));
    told.collect::<Vec<_>>().join("; ")
}

/// Whether waiting may help.
fn is_passing(error: &PortError) -> bool {
    matches!(
        error,
        PortError::Unavailable { .. } | PortError::Full { .. } | PortError::Unknown { .. }
    )
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Exists => Self::conflict("it exists already"),
            RegistryError::UidTaken => Self::conflict("the uid is in use by another record"),
            RegistryError::Stale => Self::Unavailable {
                detail: "the record is being changed by others; try again",
                retry_after: RETRY_SOON,
            },
            RegistryError::NoApplication => Self::NotFound,
            RegistryError::Port(error) => Self::Port(error),
        }
    }
}

#[derive(Serialize)]
struct ErrorOut {
    code: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct ValidationOut<'a> {
    detail: &'a [FieldError],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let reply = match self.fields() {
            Some(detail) => Reply::json(status, &ValidationOut { detail }),
            None => Reply::json(
                status,
                &ErrorOut {
                    code: self.code(),
                    detail: self.detail(),
                },
            ),
        };
        let mut response = reply.into_response();
        if let Some(wait) = self.retry_after() {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        if matches!(self, Self::BodyTimeout) {
            // What is left of the body would be read as the next request.
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
