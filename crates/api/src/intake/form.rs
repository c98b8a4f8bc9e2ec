//! What a message's body is, by its properties.

use bytes::Bytes;
use postrider_core::ports::Incoming;

use crate::error::ApiError;
use crate::media;
use crate::wire::msgpack;

const MSGPACK: [&str; 3] = [
    "application/msgpack",
    "application/x-msgpack",
    "application/vnd.msgpack",
];
/// What libraries note of bodies that are sent as they are.
const PLAIN: [&str; 5] = ["", "identity", "utf-8", "us-ascii", "binary"];

/// The body as JSON.
pub(super) fn json(incoming: &Incoming, limit: usize) -> Result<Bytes, ApiError> {
    let lower = |text: &Option<String>| text.as_deref().map(str::trim).map(str::to_ascii_lowercase);
    let encoding = lower(&incoming.content_encoding).unwrap_or_default();
    if !PLAIN.contains(&&*encoding) {
        let detail = "publish the body as it is, without `content-encoding`";
        return Err(ApiError::UnsupportedMedia { detail });
    }
    let Some(kind) = lower(&incoming.content_type).filter(|kind| !kind.is_empty()) else {
        return Ok(incoming.body.clone());
    };
    if MSGPACK.contains(&media::essence(&kind)) {
        return msgpack::to_json(&incoming.body, limit);
    }
    media::check_type(
        &kind,
        "publish it with `application/json` or `application/msgpack` as `content-type`, and a body that is that",
    )?;
    Ok(incoming.body.clone())
}
