//! What a body says it is. Taken is whatever may be JSON in UTF-8, with the types that programs send where nobody set one; what
//! cannot be is refused by its name, which helps more than an error about its first byte.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::error::ApiError;

/// Sent where nobody thought of the type: `curl -d` has the last.
const TAKEN: [&str; 5] = [
    "application/json",
    "text/json",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
];
const CHARSETS: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

pub(crate) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| encoding != "identity") {
        return Err(refused(
            "send the body as it is, without `content-encoding`",
        ));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    check_type(
        &value,
        "the body must be JSON; send `content-type: application/json`",
    )
}

/// Of a type in lower case: what stands before its parameters.
pub(crate) fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether a body of this type, in lower case, may be JSON in UTF-8. What to send where it cannot be is `told`.
pub(crate) fn check_type(value: &str, told: &'static str) -> Result<(), ApiError> {
    let kind = essence(value);
    if !TAKEN.contains(&kind) && !kind.ends_with("+json") {
        return Err(refused(told));
    }
    let mut parts = value.split(';').skip(1).map(str::trim);
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    match charset.map(|name| name.trim_matches('"')) {
        Some(name) if !CHARSETS.contains(&name) => Err(refused(
            "the body must be in UTF-8; leave out `charset`, or say `charset=utf-8`",
        )),
        _ => Ok(()),
    }
}

const fn refused(detail: &'static str) -> ApiError {
    ApiError::UnsupportedMedia { detail }
}
