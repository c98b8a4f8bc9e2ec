//! The subscriber: answers, and notes what came.
//!
//! | path | answer |
//! |---|---|
//! | `/ok/N` | 204 at once |
//! | `/slow/N` | 204 after [`Manner::slow`] |
//! | `/fail/N` | 500 at once |
//! | `/hang/N` | none |
//! | `GET /count` | how many requests came that were, or will be, answered with success, as text |
//! | `GET /counters` | [`Counters`], in JSON |
//! | `GET /reset` | forgets what came |
//! | `GET /rows` | [`Received`] for each of them |
//!
//! Requests may come over TLS, to a port of its own, and to names that its own name server knows.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::HandshakeKind;

use crate::rows::Received;
use crate::{clock, dns, payload, rows};

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How long a slow endpoint takes.
    pub slow: Duration,
    /// Whether each connection is closed after its answer.
    pub closes: bool,
}

/// Where it is reached.
#[expect(
    missing_debug_implementations,
    reason = "an acceptor has nothing to show"
)]
pub struct Sockets {
    /// For requests, and for its reports.
    pub plain: TcpListener,
    /// For requests over TLS.
    pub tls: Option<(TcpListener, TlsAcceptor)>,
    /// For questions about its names.
    pub dns: Option<UdpSocket>,
}

/// What it has counted since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections made, those for reports included.
    pub connections: u64,
    /// TLS handshakes, where it speaks TLS.
    pub handshakes: Option<u64>,
    /// Those of them that resumed a session.
    pub resumed: Option<u64>,
    /// Questions to its name server, where it has one.
    pub queries: Option<u64>,
}

impl Counters {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now? - then?);
        Self {
            connections: self.connections - earlier.connections,
            handshakes: less(self.handshakes, earlier.handshakes),
            resumed: less(self.resumed, earlier.resumed),
            queries: less(self.queries, earlier.queries),
        }
    }
}

struct Subscriber {
    manner: Manner,
    received: parking_lot::Mutex<Vec<Received>>,
    taken: AtomicU64,
    connections: AtomicU64,
    handshakes: AtomicU64,
    resumed: AtomicU64,
    queries: AtomicU64,
    speaks_tls: bool,
    answers_names: bool,
}

type Answer = Response<Full<Bytes>>;

/// Serves until the process ends.
///
/// # Errors
/// Where no connection can be accepted any more.
pub async fn run(sockets: Sockets, manner: Manner) -> anyhow::Result<()> {
    let Sockets { plain, tls, dns } = sockets;
    let subscriber = Arc::new(Subscriber {
        manner,
        received: parking_lot::Mutex::default(),
        taken: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        handshakes: AtomicU64::new(0),
        resumed: AtomicU64::new(0),
        queries: AtomicU64::new(0),
        speaks_tls: tls.is_some(),
        answers_names: dns.is_some(),
    });
    let address = plain.local_addr()?.ip();
    let names = async {
        match dns {
            Some(socket) => dns::serve(&socket, address, &subscriber.queries).await,
            None => std::future::pending().await,
        }
    };
    let secret = async {
        match tls {
            Some((listener, acceptor)) => subscriber.listen(listener, Some(acceptor)).await,
            None => std::future::pending().await,
        }
    };
    tokio::try_join!(subscriber.listen(plain, None), secret, names)?;
    Ok(())
}

impl Subscriber {
    async fn listen(
        self: &Arc<Self>,
        listener: TcpListener,
        acceptor: Option<TlsAcceptor>,
    ) -> anyhow::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            self.connections.fetch_add(1, Relaxed);
            stream.set_nodelay(true)?;
            let (this, acceptor) = (Arc::clone(self), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => this.serve(stream).await,
                    Some(acceptor) => this.serve_tls(stream, &acceptor).await,
                }
            });
        }
    }

    async fn serve_tls(&self, stream: TcpStream, acceptor: &TlsAcceptor) {
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        self.handshakes.fetch_add(1, Relaxed);
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Relaxed);
        }
        self.serve(stream).await;
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let serve = service_fn(|request| self.answer(request));
        // A connection that breaks off is the other side's business.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), serve)
            .await;
    }

    fn counters(&self) -> Counters {
        let tls = |counter: &AtomicU64| self.speaks_tls.then(|| counter.load(Relaxed));
        Counters {
            connections: self.connections.load(Relaxed),
            handshakes: tls(&self.handshakes),
            resumed: tls(&self.resumed),
            queries: self.answers_names.then(|| self.queries.load(Relaxed)),
        }
    }

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
        let mut answer = match kind {
            "ok" => empty(StatusCode::NO_CONTENT),
            "slow" => {
                tokio::time::sleep(self.manner.slow).await;
                empty(StatusCode::NO_CONTENT)
            }
            "fail" => empty(StatusCode::INTERNAL_SERVER_ERROR),
            "hang" => match std::future::pending::<Infallible>().await {},
            _ => empty(StatusCode::NOT_FOUND),
        };
        if self.manner.closes {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        Ok(answer)
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
            "/counters" => match serde_json::to_vec(&self.counters()) {
                Ok(counters) => text(counters),
                Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
            },
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
