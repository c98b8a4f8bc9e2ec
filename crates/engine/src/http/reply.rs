//! Reading what a subscriber answers, all of it hostile: bounded, never decompressed, never trusted to be text.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use postrider_core::attempt::Failure;
use postrider_core::retry_after as header;
use postrider_core::time::Timestamp;

use super::resolver::NameFailure;

/// Bytes of a response that the log keeps.
const KEPT: usize = 16 * 1024;
/// Bytes that are read so that the connection can be used again; a longer response costs the subscriber its
/// connection.
const DRAINED: usize = 64 * 1024;
/// Causes of an error that are looked through.
const DEPTH: usize = 16;

pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()
        .and_then(|value| header::parse(value, now))
}

/// Reads the body to its end or to the bound, whichever comes first; also says whether it was the end.
pub(super) async fn read(mut body: Incoming) -> Result<(String, bool), Failure> {
    if body.is_end_stream() {
        return Ok((String::new(), true));
    }
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| broken(&error))?.into_data() else {
            continue;
        };
        let room = KEPT - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        seen += chunk.len();
        if seen > DRAINED {
            return Ok((text(&kept), false));
        }
    }
    Ok((text(&kept), true))
}

/// Text for the log: what is no UTF-8 is replaced, and so are NULs, which some stores cannot hold.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

/// Tells apart why there is no connection. Texts come from the operating system and the TLS library.
pub(super) fn not_connected(error: Cause<'_>) -> Failure {
    match cause::<NameFailure>(error) {
        Some(NameFailure::NotAllowed) => Failure::AddressNotAllowed,
        Some(NameFailure::Unresolved) => Failure::Resolve,
        None if is_of_tls(error) => Failure::Tls(root(error)),
        None => Failure::Connect(root(error)),
    }
}

/// Why there is no answer, or not all of it. Servers that speak TLS 1.3 refuse a client after it has connected.
pub(super) fn broken(error: &hyper::Error) -> Failure {
    if is_of_tls(error) {
        Failure::Tls(root(error))
    } else {
        Failure::Broken(root(error))
    }
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// From the error itself to what caused it.
fn causes(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(Some(error), |cause| inner(*cause)).take(DEPTH)
}

/// An I/O error hides what it wraps from `source`.
fn inner(cause: Cause<'_>) -> Option<Cause<'_>> {
    let wrapped = cause
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

fn cause<T: std::error::Error + 'static>(error: Cause<'_>) -> Option<&T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}

fn is_of_tls(error: Cause<'_>) -> bool {
    cause::<rustls::Error>(error).is_some()
}

fn root(error: Cause<'_>) -> String {
    causes(error).last().unwrap_or(error).to_string()
}
