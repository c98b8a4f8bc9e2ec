//! The load: clients that send events as client libraries do.
//!
//! **Closed loop**: each client sends its next event when it has the answer to the last. **Open loop**: events are due at a
//! fixed rate, whatever has become of those before; a client takes the next one that is due. Where all clients wait, what is
//! due is late; its time counts from when it was due, so that a stalled server cannot hide behind clients that it holds up.
//! Otherwise an event's time counts from the moment it was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::rows::Sent;
use crate::{clock, payload};

/// Between two tries of an event that was refused.
const PAUSE: Duration = Duration::from_millis(100);

/// A tag that few events have, so that there is something to look for.
pub const TAG: &str = "rare";
/// Of so many events one has it.
const TAGGED: u32 = 10_000;

/// What is sent, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Servers, taken in turns by the clients.
    pub addresses: Vec<SocketAddr>,
    /// Where events are posted, taken in turns.
    pub paths: Vec<String>,
    /// For the header `authorization`; the floor needs none.
    pub token: String,
    /// The number of the first event.
    pub first: u32,
    /// How many.
    pub events: u32,
    /// Connections.
    pub clients: u32,
    /// Events a second; a closed loop without.
    pub rate: Option<f64>,
    /// Bytes of a payload.
    pub payload: usize,
    /// After this, what is not accepted stays so.
    pub patience: Duration,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A row for every event.
    pub sent: Vec<Sent>,
    /// Answers other than 202, and requests without an answer.
    pub refused: u32,
    /// The first of those.
    pub cause: Option<String>,
}

struct Shared {
    plan: Plan,
    begun: Instant,
    next: AtomicU32,
    over: AtomicBool,
}

/// Sends everything.
///
/// # Errors
/// Where a server cannot be connected to at all.
pub async fn run(plan: Plan) -> anyhow::Result<Outcome> {
    let clients = plan.clients;
    let give_up = plan.patience;
    let shared = Arc::new(Shared {
        plan,
        begun: Instant::now(),
        next: AtomicU32::new(0),
        over: AtomicBool::new(false),
    });
    let running: Vec<_> = (0..clients)
        .map(|number| {
            let client = Client::new(Arc::clone(&shared), number);
            tokio::spawn(client.run())
        })
        .collect();
    let limit = {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            sleep(give_up).await;
            shared.over.store(true, Relaxed);
        })
    };
    let mut all = Outcome::default();
    for client in running {
        let one = client.await.context("a client has failed")??;
        all.sent.extend(one.sent);
        all.refused += one.refused;
        all.cause = all.cause.or(one.cause);
    }
    limit.abort();
    Ok(all)
}

struct Client {
    shared: Arc<Shared>,
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    outcome: Outcome,
}

impl Client {
    fn new(shared: Arc<Shared>, number: u32) -> Self {
        let addresses = &shared.plan.addresses;
        let address = addresses[number as usize % addresses.len()];
        Self {
            shared,
            address,
            connection: None,
            outcome: Outcome::default(),
        }
    }

    async fn run(mut self) -> anyhow::Result<Outcome> {
        self.connect().await?;
        while let Some((number, begun)) = self.next().await {
            let accepted = self.persist(number).await;
            self.outcome.sent.push(Sent {
                number,
                begun,
                accepted,
            });
        }
        Ok(self.outcome)
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        self.connection = Some(sender);
        Ok(())
    }

    /// The next event, and from when its time counts.
    async fn next(&self) -> Option<(u32, u64)> {
        let plan = &self.shared.plan;
        let index = self.shared.next.fetch_add(1, Relaxed);
        if index >= plan.events || self.shared.over.load(Relaxed) {
            return None;
        }
        let number = plan.first + index;
        let Some(rate) = plan.rate else {
            return Some((number, clock::now()));
        };
        let due = self.shared.begun + Duration::from_secs_f64(f64::from(index) / rate);
        let late = due.elapsed();
        if late.is_zero() {
            sleep_until(due).await;
            return Some((number, clock::now()));
        }
        let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        Some((number, clock::now().saturating_sub(late)))
    }

    /// Repeats until it is accepted, or the time is over; 0 then.
    async fn persist(&mut self, number: u32) -> u64 {
        let key = format!("auto_{:032x}", rand::random::<u128>());
        loop {
            let cause = match self.post(number, &key).await {
                Ok(StatusCode::ACCEPTED) => return clock::now(),
                Ok(status) => format!("answered {status}"),
                Err(error) => {
                    self.connection = None;
                    format!("{error:#}")
                }
            };
            self.outcome.refused += 1;
            self.outcome.cause.get_or_insert(cause);
            if self.shared.over.load(Relaxed) {
                return 0;
            }
            sleep(PAUSE).await;
        }
    }

    async fn post(&mut self, number: u32, key: &str) -> anyhow::Result<StatusCode> {
        let request = self.request(number, key)?;
        if self.connection.is_none() {
            self.connect().await?;
        }
        let connection = self.connection.as_mut().context("not connected")?;
        let patience = self.shared.plan.patience;
        let answer = timeout(patience, async {
            connection.ready().await?;
            let answer = connection.send_request(request).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            anyhow::Ok(status)
        });
        answer.await.context("no answer")?
    }

    fn request(&self, number: u32, key: &str) -> anyhow::Result<Request<Full<Bytes>>> {
        let plan = &self.shared.plan;
        let path = &plan.paths[number as usize % plan.paths.len()];
        let payload = payload::make(number, plan.payload);
        let tags = match number % TAGGED {
            0 => format!(r#","tags":["{TAG}"]"#),
            _ => String::new(),
        };
        let body = format!(r#"{{"eventType":"bench.event","payload":{payload}{tags}}}"#);
        let request = Request::post(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", plan.token))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::from(body))?;
        Ok(request)
    }
}
