//! The headers of a request, by the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use postrider_core::message::Event;
use postrider_core::time::Timestamp;
use postrider_signature::sign_all;

use crate::prepared::Prepared;

const WEBHOOK_ID: HeaderName = HeaderName::from_static(postrider_signature::WEBHOOK_ID);
const WEBHOOK_TIMESTAMP: HeaderName =
    HeaderName::from_static(postrider_signature::WEBHOOK_TIMESTAMP);
const WEBHOOK_SIGNATURE: HeaderName =
    HeaderName::from_static(postrider_signature::WEBHOOK_SIGNATURE);
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("Postrider/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The endpoint's own headers, the message's, and ours: later ones win.
pub(super) fn headers(prepared: &Prepared, event: &Event, now: Timestamp) -> HeaderMap {
    let id = event.message.to_string();
    let seconds = now.as_secs();
    let signature = sign_all(prepared.live_keys(now), &id, seconds, &event.payload);
    let mut headers = prepared.headers.clone();
    for (name, value) in &event.headers {
        // Checked when the message was accepted; what cannot be sent is left out rather than failing for ever.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(WEBHOOK_ID, ascii(&id));
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(WEBHOOK_SIGNATURE, ascii(&signature));
    headers
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("identifiers and base64 are visible ASCII")
}
