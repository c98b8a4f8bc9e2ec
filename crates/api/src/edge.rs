//! What happens around every request: it gets an identifier, a place among those in progress (or 503 before anything
//! of it is read), is carried through even if the client leaves, and is counted and logged when it is answered.
//!
//! A request that changes something is carried through: a client that hangs up in the middle must not stop it between the
//! broker and the store. What is left of it then runs in a task of its own. It holds its place, so that leaving early
//! frees nothing.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument;

use crate::error::{ApiError, RETRY_SOON};
use crate::state::Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones are replaced.
const MAX_REQUEST_ID: usize = 128;
/// Characters of a path that are logged: no path that means something has more, and whoever has no token must not be
/// able to fill a disk.
const MAX_LOGGED_PATH: usize = 1200;

/// The same for what the router has found a route for.
pub(crate) async fn guard(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().cloned();
    let template = template.as_ref().map(MatchedPath::as_str);
    around(&state, template, request, |request| next.run(request)).await
}

/// Has `work` answer a request of the route `template`, if it is one's.
pub(crate) async fn around<F>(
    state: &Shared,
    template: Option<&str>,
    request: Request,
    work: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let begun = Instant::now();
    let method = request.method().clone();
    // Without its query string, which may hold what is nobody's business.
    let path = logged(request.uri().path()).to_owned();
    let id = request_id(request.headers());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());

    let mut response = match admit(state, template) {
        Err(refused) => refused.into_response(),
        Ok(place) => {
            let changes = !matches!(method, Method::GET | Method::HEAD);
            let work = placed(place, work(request)).instrument(span.clone());
            if changes {
                Carried(Some(work.boxed())).await
            } else {
                work.await
            }
        }
    };
    let status = response.status();
    let took = begun.elapsed();
    state.metrics.answered(template, status, took);
    span.in_scope(|| {
        let (status, micros) = (status.as_u16(), took.as_micros() as u64);
        // What goes well is the bulk of it and costs as much to log as to do.
        match status {
            ..400 => tracing::debug!(%method, path, status, micros, "answered"),
            400..500 => tracing::info!(%method, path, status, micros, "answered"),
            _ => tracing::warn!(%method, path, status, micros, "answered"),
        }
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A place among the requests in progress; health checks need none.
fn admit(state: &Shared, template: Option<&str>) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if template.is_some_and(|path| path.starts_with(crate::router::HEALTH)) {
        return Ok(None);
    }
    let place = state.in_flight.clone().try_acquire_owned();
    place.map(Some).map_err(|_| ApiError::Unavailable {
        detail: "too many requests are in progress; try again",
        retry_after: RETRY_SOON,
    })
}

/// Keeps the request's place until it is answered.
async fn placed(
    place: Option<OwnedSemaphorePermit>,
    work: impl Future<Output = Response>,
) -> Response {
    let response = run(work).await;
    drop(place);
    response
}

/// Work that goes on in a task of its own where nobody waits for it any more.
struct Carried(Option<BoxFuture<'static, Response>>);

impl Future for Carried {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let Some(work) = &mut self.0 else {
            return Poll::Pending;
        };
        let response = ready!(work.poll_unpin(context));
        self.0 = None;
        Poll::Ready(response)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // Without a runtime the process is at its end.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// A panic is a 500 like any other. What it left half done is what a crash at that point would have left.
async fn run(work: impl Future<Output = Response>) -> Response {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| ApiError::Internal("a handler panicked").into_response())
}

fn logged(path: &str) -> &str {
    let cut = path.char_indices().nth(MAX_LOGGED_PATH);
    cut.map_or(path, |(end, _)| &path[..end])
}

/// The client's own identifier where it gave a decent one, else one of ours.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:016x}", rand::random::<u64>());
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_logged_in_part() {
        let uid = "u".repeat(256);
        let longest = format!("/api/v1/app/{uid}/msg/{uid}/endpoint/{uid}/resend");
        assert_eq!(logged(&longest), longest);
        assert_eq!(logged(&"ü".repeat(30_000)), "ü".repeat(MAX_LOGGED_PATH));
    }
}
