//! Requests over HTTP.

mod answers;
mod reply;
mod resolver;
mod sessions;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_core::attempt::{Failure, Reply};
use postrider_core::target::TargetPolicy;
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout};

use crate::sender::{Outgoing, Sender};

pub use resolver::ResolverError;

/// Idle connections kept per destination: as many as a burst may open, or each burst would open them anew.
const IDLE_PER_HOST: usize = 1024;
/// An idle connection is closed after this, so that a name that has moved is resolved anew.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

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
    client: reqwest::Client,
    policy: Arc<TargetPolicy>,
}

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
pub enum HttpSenderError {
    #[error("the resolver cannot be set up: {0}")]
    Resolver(#[from] ResolverError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpSender {
    /// # Errors
    /// Where the system's resolver configuration or certificates cannot be read.
    pub fn new(config: HttpConfig) -> Result<Self, HttpSenderError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = tls::client_config(config.tls_sessions, &config.roots, provider)?;
        let policy = Arc::new(config.policy);
        let resolver = resolver::PolicyResolver::new(Arc::clone(&policy), &config.nameservers)?;
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(resolver))
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Nothing is sent twice unless the engine says so; and no copy is made for it.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()?;
        Ok(Self { client, policy })
    }

    async fn exchange(&self, request: Outgoing) -> Result<Answer, Failure> {
        let now = request.now;
        let response = self
            .client
            .post(request.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await
            .map_err(reply::classify)?;
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: reply::retry_after(response.headers(), now),
            body: reply::read(response).await?,
        })
    }
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
        if self.policy.check_literal(&request.url).is_err() {
            return Reply::failed(Failure::AddressNotAllowed, Duration::ZERO);
        }
        if self.policy.https_only && request.url.scheme() != "https" {
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
