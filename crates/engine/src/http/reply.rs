//! Reading what a subscriber answers, all of it hostile: bounded, never decompressed, never trusted to be text.

use std::error::Error as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use postrider_core::attempt::Failure;
use postrider_core::retry_after as header;
use postrider_core::time::Timestamp;
use reqwest::Response;

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

/// Reads the body to its end or to the bound, whichever comes first.
pub(super) async fn read(mut response: Response) -> Result<String, Failure> {
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        let room = KEPT - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        seen += chunk.len();
        if seen > DRAINED {
            break;
        }
    }
    Ok(text(&kept))
}

/// Text for the log: what is no UTF-8 is replaced, and so are NULs, which some stores cannot hold.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

/// Tells failures apart. Texts come from the operating system and the TLS library; URLs are left out of them.
pub(super) fn classify(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if let Some(name) = cause::<NameFailure>(&error) {
        return match name {
            NameFailure::NotAllowed => Failure::AddressNotAllowed,
            NameFailure::Unresolved => Failure::Resolve,
        };
    }
    let root = root(&error);
    if cause::<rustls::Error>(&error).is_some() {
        return Failure::Tls(root);
    }
    match error {
        error if error.is_connect() => Failure::Connect(root),
        error if error.is_builder() => Failure::BadUrl(root),
        _ => Failure::Broken(root),
    }
}

fn causes<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(
        error.source(),
        |cause: &&'a (dyn std::error::Error + 'static)| inner(*cause),
    )
    .take(DEPTH)
}

/// An I/O error hides what it wraps from `source`.
fn inner<'a>(
    cause: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = cause
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

fn cause<T: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}

fn root(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
