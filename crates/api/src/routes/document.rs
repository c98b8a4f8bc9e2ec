//! `/openapi.json` and `/docs`: what the API is. No secret, and the same for everybody.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::document;

/// A new version of the process may have another.
const AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

pub(crate) async fn json() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, AN_HOUR),
    ];
    (headers, document::JSON.clone()).into_response()
}

pub(crate) async fn page() -> Response {
    let page = &*document::PAGE;
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CACHE_CONTROL, AN_HOUR),
        (CONTENT_SECURITY_POLICY, page.policy.clone()),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, page.html.clone()).into_response()
}
