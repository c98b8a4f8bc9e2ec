//! What an operation may answer where it fails, each with a name, since most operations share them.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, Response, ResponseBuilder};

use super::kinds::{count, refer};
use super::operation::JSON;

/// What every operation that asks for a token may answer.
pub(super) const OF_EVERY: &[u16] = &[400, 401, 403, 404, 409, 422, 429, 503];
/// What comes of a body.
pub(super) const OF_BODIES: &[u16] = &[408, 413, 415];

const ALL: [(u16, &str, &str); 11] = [
    (
        400,
        "BadRequest",
        "The query or the request cannot be read, or a limit is reached.",
    ),
    (401, "Unauthenticated", "There is no valid token."),
    (403, "Forbidden", "The token does not allow this."),
    (
        404,
        "NotFound",
        "There is nothing at this address, or it is another tenant's.",
    ),
    (408, "BodyTimeout", "The body did not arrive in time."),
    (
        409,
        "Conflict",
        "It exists already, or its state does not allow this.",
    ),
    (413, "TooLarge", "The body is too large."),
    (
        415,
        "UnsupportedMedia",
        "The body says that it is something else than JSON in UTF-8.",
    ),
    (
        422,
        "Invalid",
        "A part of the request is not what it should be; it is named.",
    ),
    (429, "RateLimited", "Too many requests."),
    (
        503,
        "Unavailable",
        "Nothing was done, or it is not known; try again with the same idempotency key.",
    ),
];

/// The name of a failure's answer.
pub(super) fn name(status: u16) -> &'static str {
    let found = ALL.iter().find(|(known, ..)| *known == status);
    found.map_or("Unavailable", |(_, name, _)| name)
}

/// All of them, by name.
pub(super) fn responses() -> Vec<(&'static str, Response)> {
    let told = ALL.iter();
    told.map(|(status, name, about)| (*name, response(*status, about)))
        .collect()
}

fn response(status: u16, about: &str) -> Response {
    let schema = match status {
        422 => "HTTPValidationError",
        _ => "HttpErrorOut",
    };
    let content = ContentBuilder::new().schema(Some(refer(schema))).build();
    let response = ResponseBuilder::new()
        .description(about)
        .content(JSON, content);
    match status {
        429 | 503 => response.header("retry-after", retry_after()).build(),
        _ => response.build(),
    }
}

fn retry_after() -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(count()))
        .description(Some("Seconds."))
        .build()
}
