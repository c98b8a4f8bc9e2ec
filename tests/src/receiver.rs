//! A subscriber: records what arrives, verifies it, and answers as it is told to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_signature::{VerifyingKey, WebhookHeaders, verify};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::PATIENCE;

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// 200, after this long.
    After(Duration),
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
    /// What was answered; `None` as long as it was not.
    pub answered: Option<u16>,
}

type Decide = dyn Fn(usize, &Received) -> Answer + Send + Sync;

struct Shared {
    decide: Box<Decide>,
    requests: watch::Sender<Vec<Received>>,
    key: Mutex<Option<VerifyingKey>>,
}

/// A subscriber on a loopback port of its own.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// `decide` is given the number of requests before, and the request.
    pub async fn start(
        decide: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            decide: Box::new(decide),
            requests: watch::Sender::new(Vec::new()),
            key: Mutex::default(),
        });
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// From now on, every request must verify with this secret; one that does not fails the test at its end.
    pub fn expect_secret(&self, secret: &str) {
        *self.shared.key.lock() = Some(secret.parse().unwrap());
    }

    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.borrow().clone()
    }

    /// Waits until as many requests have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |requests| {
            requests.len() >= count
        })
        .await
    }

    pub async fn wait_until(
        &self,
        what: &str,
        mut done: impl FnMut(&[Received]) -> bool,
    ) -> Vec<Received> {
        let mut requests = self.shared.requests.subscribe();
        let waited = timeout(PATIENCE, requests.wait_for(|requests| done(requests))).await;
        match waited {
            Ok(Ok(requests)) => requests.clone(),
            _ => panic!(
                "waited in vain for {what}; {} requests arrived",
                self.requests().len()
            ),
        }
    }

    fn verifies(&self, request: &Received) -> bool {
        let now = std::time::UNIX_EPOCH.elapsed_seconds();
        let headers = WebhookHeaders {
            id: &request.id,
            timestamp: &request.timestamp,
            signature: &request.signature,
        };
        let key = self.shared.key.lock();
        let tolerance = Duration::from_secs(300);
        key.as_ref()
            .is_none_or(|key| verify([key], &headers, &request.body, now, tolerance).is_ok())
    }

    /// Panics where a request does not verify.
    pub fn assert_all_verify(&self) {
        for request in self.requests() {
            assert!(
                self.verifies(&request),
                "a request does not verify: {request:?}"
            );
        }
    }
}

trait ElapsedSeconds {
    fn elapsed_seconds(&self) -> i64;
}

impl ElapsedSeconds for std::time::SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "a receiver compares timestamps with its own clock"
    )]
    fn elapsed_seconds(&self) -> i64 {
        i64::try_from(self.elapsed().unwrap().as_secs()).unwrap()
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let request = Received {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        at: Instant::now(),
        answered: None,
        headers: headers.clone(),
        body,
    };
    let mut index = 0;
    let mut answer = Answer::Status(200);
    shared.requests.send_modify(|requests| {
        index = requests.len();
        answer = (shared.decide)(index, &request);
        requests.push(request);
    });
    let status = match answer {
        Answer::Status(status) => status,
        Answer::After(pause) => {
            tokio::time::sleep(pause).await;
            200
        }
    };
    shared
        .requests
        .send_modify(|requests| requests[index].answered = Some(status));
    StatusCode::from_u16(status).unwrap()
}
