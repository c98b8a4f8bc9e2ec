//! A subscriber: records what arrives, verifies it, and answers as it is told to.
//!
//! One receiver serves as many endpoints as a test needs: the last segment of the path is the endpoint's name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, Uri};
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
    /// Not at all: it holds the connection for as long as the client does.
    Never,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    /// The last segment of the path.
    pub endpoint: String,
    /// The port that the request came from: it tells which process made it.
    pub peer: u16,
    pub timestamp: String,
    pub signature: String,
    pub body: Bytes,
    pub at: Instant,
    /// What was answered; `None` as long as it was not, or where the client hung up before.
    pub answered: Option<u16>,
    /// When it was answered, or the client hung up.
    pub ended: Option<Instant>,
}

type Decide = dyn Fn(usize, &Received) -> Answer + Send + Sync;

struct Shared {
    decide: Box<Decide>,
    requests: watch::Sender<Vec<Received>>,
    /// By endpoint; the empty name stands for all others.
    keys: Mutex<HashMap<String, VerifyingKey>>,
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
            keys: Mutex::default(),
        });
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// The URL of the endpoint of that name.
    #[must_use]
    pub fn url_of(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.url)
    }

    /// From now on, every request must verify with this secret; one that does not fails the test at its end.
    pub fn expect_secret(&self, secret: &str) {
        self.expect_secret_at("", secret);
    }

    /// The same for one endpoint.
    pub fn expect_secret_at(&self, endpoint: &str, secret: &str) {
        let key = secret.parse().unwrap();
        self.shared.keys.lock().insert(endpoint.to_owned(), key);
    }

    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.borrow().clone()
    }

    /// A look at the requests that copies none of them.
    pub fn look<T>(&self, at: impl FnOnce(&[Received]) -> T) -> T {
        at(&self.shared.requests.borrow())
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.look(<[Received]>::len)
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
                self.count()
            ),
        }
    }

    /// Whether it carried a valid signature when it arrived, by the secret that is expected.
    #[must_use]
    pub fn verifies(&self, request: &Received) -> bool {
        // When it arrived: a run may take longer than the tolerance.
        let ago = i64::try_from(request.at.elapsed().as_secs()).unwrap();
        let now = std::time::UNIX_EPOCH.elapsed_seconds() - ago;
        let headers = WebhookHeaders {
            id: &request.id,
            timestamp: &request.timestamp,
            signature: &request.signature,
        };
        let keys = self.shared.keys.lock();
        let key = keys.get(&request.endpoint).or_else(|| keys.get(""));
        let tolerance = Duration::from_secs(300);
        key.is_none_or(|key| verify([key], &headers, &request.body, now, tolerance).is_ok())
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

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let request = noted(peer, &uri, &headers, body);
    let mut index = 0;
    let mut answer = Answer::Status(200);
    shared.requests.send_modify(|requests| {
        index = requests.len();
        answer = (shared.decide)(index, &request);
        requests.push(request);
    });
    let mut open = Open {
        shared,
        index,
        answered: None,
    };
    let status = match answer {
        Answer::Status(status) => status,
        Answer::After(pause) => {
            tokio::time::sleep(pause).await;
            200
        }
        Answer::Never => std::future::pending().await,
    };
    open.answered = Some(status);
    StatusCode::from_u16(status).unwrap()
}

fn noted(peer: SocketAddr, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Received {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    Received {
        id: text("webhook-id"),
        endpoint: uri.path().rsplit('/').next().unwrap_or("").to_owned(),
        peer: peer.port(),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        at: Instant::now(),
        answered: None,
        ended: None,
        body,
    }
}

/// A request that has not ended. The server drops it where the client hangs up.
struct Open {
    shared: Arc<Shared>,
    index: usize,
    answered: Option<u16>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let (index, answered) = (self.index, self.answered);
        self.shared.requests.send_modify(|requests| {
            requests[index].answered = answered;
            requests[index].ended = Some(Instant::now());
        });
    }
}
