//! The door of the API. Every request goes to the router, but the one that a platform lives from.
//!
//! Posting a message is nearly all that busy installations are asked for, and a router that serves sixty routes wraps each
//! of them several times: every time that such a request goes on, all of its wrappings are gone through. So it is recognised
//! by its path and handed to the same handler directly, within the same guard. Anything unusual about the path (escapes, a
//! slash at the end) is left to the router, where the same handler answers.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use tower::Service;

use crate::edge;
use crate::path::Path;
use crate::router::POSTED_MESSAGES;
use crate::routes::msg;
use crate::state::Shared;

/// What answers requests: the API, and routes beside it.
#[derive(Debug, Clone)]
pub struct Front {
    state: Shared,
    router: Router,
}

impl Front {
    pub(crate) const fn new(state: Shared, router: Router) -> Self {
        Self { state, router }
    }
}

impl<B> Service<Request<B>> for Front
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        let Some(app) = posts_message_to(&request) else {
            return self.router.call(request).boxed();
        };
        let path = Path::of("app_id", app);
        request.extensions_mut().insert(path);
        let state = self.state.clone();
        async move {
            let answer = edge::around(&state, Some(POSTED_MESSAGES), request, |request| {
                msg::create.call(request, state.clone())
            });
            Ok(answer.await)
        }
        .boxed()
    }
}

/// The application that a message is posted to, as the path names it.
fn posts_message_to(request: &Request) -> Option<&str> {
    let (before, after) = POSTED_MESSAGES.split_once("{app_id}")?;
    let app = request
        .uri()
        .path()
        .strip_prefix(before)?
        .strip_suffix(after)?;
    let is_plain = !app.is_empty() && !app.contains(['/', '%']);
    (is_plain && request.method() == Method::POST).then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(method: Method, path: &str) -> Option<String> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        posts_message_to(&request).map(ToOwned::to_owned)
    }

    #[test]
    fn a_posted_message_is_recognised_and_nothing_else() {
        let found = posted(Method::POST, "/api/v1/app/acme/msg?with_content=false");
        assert_eq!(found.as_deref(), Some("acme"));
        for (method, path) in [
            (Method::GET, "/api/v1/app/acme/msg"),
            (Method::POST, "/api/v1/app/acme/msg/"),
            (Method::POST, "/api/v1/app//msg"),
            (Method::POST, "/api/v1/app/ac%6De/msg"),
            (Method::POST, "/api/v1/app/acme/endpoint/e/msg"),
            (Method::POST, "/api/v1/app/acme/msg-batch"),
            (Method::POST, "/api/v1/app/msg"),
        ] {
            assert_eq!(posted(method, path), None, "{path}");
        }
    }
}
