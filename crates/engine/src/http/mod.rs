//! Requests over HTTP.

mod reply;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_core::attempt::{Failure, Reply};
use postrider_core::target::TargetPolicy;
use reqwest::redirect;
use tokio::time::{Instant, timeout};

use crate::sender::{Outgoing, Sender};

pub use resolver::ResolverError;

/// Idle connections kept per destination.
const IDLE_PER_HOST: usize = 256;
/// An idle connection is closed after this, so that a name that has moved is resolved anew.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

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
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpSender {
    /// # Errors
    /// Where the system's resolver configuration or certificates cannot be read.
    pub fn new(policy: TargetPolicy) -> Result<Self, HttpSenderError> {
        // Whoever comes first sets it; the provider is the same one everywhere.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let policy = Arc::new(policy);
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(resolver::PolicyResolver::new(Arc::clone(
                &policy,
            ))?))
            .redirect(redirect::Policy::none())
            .no_proxy()
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
