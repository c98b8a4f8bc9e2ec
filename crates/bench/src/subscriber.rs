//! The subscriber: answers, and notes what came.
//!
//! | path | answer |
//! |---|---|
//! | `/ok/N` | 204 at once |
//! | `/slow/N` | 204 after [`Manner::slow`] |
//! | `/fail/N` | 500 at once |
//! | `/hang/N` | none |
//! | `GET /count` | how many requests came that were, or will be, answered with success, as text |
//! | `GET /connections` | how many connections were made, this one included, as text |
//! | `GET /reset` | forgets what came |
//! | `GET /rows` | [`Received`] for each of them |

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::rows::Received;
use crate::{clock, payload, rows};

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How long a slow endpoint takes.
    pub slow: Duration,
}

struct Subscriber {
    manner: Manner,
    received: parking_lot::Mutex<Vec<Received>>,
    taken: AtomicU64,
    connections: AtomicU64,
}

type Answer = Response<Full<Bytes>>;

/// Serves until the process ends.
///
/// # Errors
/// Where no connection can be accepted any more.
pub async fn run(listener: TcpListener, manner: Manner) -> anyhow::Result<()> {
    let subscriber = Arc::new(Subscriber {
        manner,
        received: parking_lot::Mutex::default(),
        taken: AtomicU64::new(0),
        connections: AtomicU64::new(0),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        subscriber.connections.fetch_add(1, Relaxed);
        stream.set_nodelay(true)?;
        let subscriber = Arc::clone(&subscriber);
        tokio::spawn(async move {
            let serve = service_fn(|request| subscriber.answer(request));
            // A connection that breaks off is the other side's business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
    }
}

impl Subscriber {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
        if request.method() == Method::GET {
            return Ok(self.report(request.uri().path()));
        }
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let at = clock::now();
        let mut parts = path.trim_start_matches('/').split('/');
        let kind = parts.next().unwrap_or_default();
        let endpoint = parts.next().and_then(|number| number.parse().ok());
        let (Some(endpoint), Some(number)) = (endpoint, payload::number(&body)) else {
            return Ok(empty(StatusCode::BAD_REQUEST));
        };
        let is_taken = matches!(kind, "ok" | "slow");
        self.note(
            is_taken,
            Received {
                number,
                endpoint,
                at,
            },
        );
        Ok(match kind {
            "ok" => empty(StatusCode::NO_CONTENT),
            "slow" => {
                tokio::time::sleep(self.manner.slow).await;
                empty(StatusCode::NO_CONTENT)
            }
            "fail" => empty(StatusCode::INTERNAL_SERVER_ERROR),
            "hang" => match std::future::pending::<Infallible>().await {},
            _ => empty(StatusCode::NOT_FOUND),
        })
    }

    fn note(&self, is_taken: bool, received: Received) {
        self.received.lock().push(received);
        if is_taken {
            self.taken.fetch_add(1, Relaxed);
        }
    }

    fn report(&self, path: &str) -> Answer {
        match path {
            "/count" => text(self.taken.load(Relaxed).to_string()),
            "/connections" => text(self.connections.load(Relaxed).to_string()),
            "/reset" => {
                self.received.lock().clear();
                self.taken.store(0, Relaxed);
                empty(StatusCode::NO_CONTENT)
            }
            "/rows" => {
                let received = self.received.lock().clone();
                let mut bytes = Vec::new();
                match rows::write(&received, &mut bytes) {
                    Ok(()) => text(bytes),
                    Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
                }
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

fn text(body: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(body.into()))
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
