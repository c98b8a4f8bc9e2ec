//! Requests over HTTP.

mod answers;
mod connections;
mod reply;
mod resolver;
mod sessions;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use postrider_core::attempt::{Failure, Reply};
use postrider_core::target::TargetPolicy;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout};

use self::connections::{Connection, Connections};
use crate::sender::{Outgoing, Sender};

pub use resolver::ResolverError;

/// How requests are made.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Whom they may go to.
    pub policy: TargetPolicy,
    /// Asked about names instead of the system's name servers, where there are any.
    pub nameservers: Vec<SocketAddr>,
    /// Of how many servers TLS sessions are kept; 0 makes every handshake a full one.
    pub tls_sessions: usize,
    /// Trusted beside the system's roots.
    pub roots: Vec<CertificateDer<'static>>,
}

impl HttpConfig {
    /// The system's name servers and roots.
    #[must_use]
    pub const fn new(policy: TargetPolicy) -> Self {
        Self {
            policy,
            nameservers: Vec::new(),
            tls_sessions: 32_768,
            roots: Vec::new(),
        }
    }
}

/// Sends requests with connections that are kept alive and shared by all deliveries.
///
/// What it does not do, on purpose: follow redirects, decompress, use a proxy of the environment, accept invalid
/// certificates, or connect to an address that the policy denies.
#[derive(Debug)]
pub struct HttpSender {
    connections: Connections,
    policy: Arc<TargetPolicy>,
}

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
pub enum HttpSenderError {
    #[error("the resolver cannot be set up: {0}")]
    Resolver(#[from] ResolverError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl HttpSender {
    /// # Errors
    /// Where the system's resolver configuration or certificates cannot be read.
    pub fn new(config: HttpConfig) -> Result<Self, HttpSenderError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = tls::client_config(config.tls_sessions, &config.roots, provider)?;
        let policy = Arc::new(config.policy);
        let resolver = resolver::PolicyResolver::new(Arc::clone(&policy), &config.nameservers)?;
        Ok(Self {
            connections: Connections::new(resolver, tls),
            policy,
        })
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Answer, Failure> {
        let (to, now) = (Arc::clone(&outgoing.to), outgoing.now);
        let (connection, response) = self.first_answer(to.origin(), request(outgoing)).await?;
        let (head, body) = response.into_parts();
        let (body, is_whole) = reply::read(body).await?;
        if is_whole {
            self.connections.keep(to.origin(), connection);
        }
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: reply::retry_after(&head.headers, now),
            body,
        })
    }

    /// Writes the request to the connection that was used last. One that the other side has closed meanwhile takes
    /// nothing, and so it is tried on the next; what may have been written is not sent again.
    async fn first_answer(
        &self,
        origin: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        while let Some(mut connection) = self.connections.idle(origin) {
            match connection.requests.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    Some(untouched) => request = untouched,
                    None => return Err(reply::broken(&error.into_error())),
                },
            }
        }
        let opened = self.connections.open(origin).await;
        let mut connection = opened.map_err(|error| reply::not_connected(&*error))?;
        match connection.requests.send_request(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(reply::broken(&error)),
        }
    }
}

fn request(outgoing: Outgoing) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = outgoing.to.uri().clone();
    *request.headers_mut() = outgoing.headers;
    let headers = request.headers_mut();
    headers.insert(HOST, outgoing.to.host().clone());
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    request
}

struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: String,
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, request: Outgoing) -> Reply {
        let begun = Instant::now();
        // The client asks its resolver about names only; an address in the URL is checked here.
        if self.policy.check_literal(request.to.url()).is_err() {
            return Reply::failed(Failure::AddressNotAllowed, Duration::ZERO);
        }
        if self.policy.https_only && request.to.url().scheme() != "https" {
            return Reply::failed(Failure::BadUrl("must use https".to_owned()), Duration::ZERO);
        }
        let deadline = request.deadline;
        let ended = timeout(deadline, self.exchange(request)).await;
        let duration = begun.elapsed();
        match ended {
            Ok(Ok(answer)) => Reply {
                status: Ok(answer.status),
                retry_after: answer.retry_after,
                body: answer.body,
                duration,
            },
            Ok(Err(failure)) => Reply::failed(failure, duration),
            Err(_) => Reply::failed(Failure::Timeout(deadline), duration),
        }
    }
}
