//! Clients that send events as client libraries do: with an idempotency key, and the same key again for as long as
//! nobody says what became of it. So every event ends accepted, and none is accepted twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::ledger::Accepted;
use crate::{Addresses, Api, Ledger, Tenant};

/// A reservation outlives the ingest that made it by 30 s.
const GIVE_UP: Duration = Duration::from_secs(120);
/// `Retry-After` is 1 s, which is long for a test.
const PAUSE: Duration = Duration::from_millis(200);

/// Events of one kind: whose they are, and whom they are for.
#[derive(Debug, Clone)]
pub struct Route {
    pub app: String,
    pub channel: Option<String>,
    /// By name.
    pub endpoints: Vec<String>,
}

impl Route {
    /// Events for all endpoints of an application.
    #[must_use]
    pub fn to(tenant: &Tenant) -> Self {
        Self {
            app: tenant.id.clone(),
            channel: None,
            endpoints: tenant.names(),
        }
    }
}

/// How much is sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// Each sends one event after the other.
    pub clients: usize,
    /// Events in all.
    pub total: usize,
    /// Between two events of a client.
    pub pause: Duration,
    /// Taken in turns.
    pub routes: Vec<Route>,
}

/// A load under way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    api: Api,
    addresses: Addresses,
    ledger: Ledger,
    next: AtomicUsize,
    stop: AtomicBool,
    /// Tries that were answered neither 202 nor anything final.
    unknown: AtomicUsize,
    /// How long the slowest answer took, whatever it was.
    longest: Mutex<Duration>,
}

impl Shared {
    fn answered_after(&self, took: Duration) {
        let mut longest = self.longest.lock();
        *longest = took.max(*longest);
    }
}

impl Load {
    /// Starts the clients; what is accepted is noted in `ledger`.
    #[must_use]
    pub fn start(self, api: &Api, addresses: &Addresses, ledger: &Ledger) -> Running {
        let shared = self.share(api, addresses, ledger);
        let clients = 0..shared.load.clients;
        let clients = clients.map(|_| tokio::spawn(client(Arc::clone(&shared))));
        Running {
            clients: clients.collect(),
            shared,
        }
    }

    /// The same in an open loop: one event each `pause`, whatever has become of those before. `clients` bounds how many
    /// are under way; where that is reached, the loop is not open any more.
    #[must_use]
    pub fn start_open(self, api: &Api, addresses: &Addresses, ledger: &Ledger) -> Running {
        let shared = self.share(api, addresses, ledger);
        Running {
            clients: vec![tokio::spawn(pace(Arc::clone(&shared)))],
            shared,
        }
    }

    fn share(self, api: &Api, addresses: &Addresses, ledger: &Ledger) -> Arc<Shared> {
        Arc::new(Shared {
            load: self,
            api: api.clone(),
            addresses: addresses.clone(),
            ledger: ledger.clone(),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            unknown: AtomicUsize::new(0),
            longest: Mutex::default(),
        })
    }
}

impl Running {
    /// How often an answer was neither 202 nor anything final, so far.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// How long the slowest answer took that came since this was asked last.
    pub fn take_longest_answer(&self) -> Duration {
        std::mem::take(&mut *self.shared.longest.lock())
    }

    /// Waits until all events are accepted; returns how often one had to be repeated.
    pub async fn finish(self) -> usize {
        for client in self.clients {
            client.await.unwrap();
        }
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Sends no more; what is under way is still brought to its end.
    pub async fn stop(self) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }
}

async fn client(shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.load.total {
            return;
        }
        send(&shared, number).await;
        sleep(shared.load.pause).await;
    }
}

async fn pace(shared: Arc<Shared>) {
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for number in 0..shared.load.total {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let since = shared.load.pause * u32::try_from(number).unwrap();
        sleep_until(begun + since).await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= shared.load.clients {
            under_way.join_next().await;
        }
        let shared = Arc::clone(&shared);
        under_way.spawn(async move { send(&shared, number).await });
    }
    while let Some(sent) = under_way.join_next().await {
        sent.unwrap();
    }
}

async fn send(shared: &Shared, number: usize) {
    let route = &shared.load.routes[number % shared.load.routes.len()];
    let mut body = json!({"eventType": "order.paid", "payload": {"number": number}});
    if let Some(channel) = &route.channel {
        body["channels"] = json!([channel]);
    }
    let post = Post {
        path: format!("/api/v1/app/{}/msg", route.app),
        key: format!("auto_{:032x}", rand::random::<u128>()),
        body,
    };
    let (message, by) = post.persist(shared, number).await;
    shared.ledger.accept(Accepted {
        message,
        app: route.app.clone(),
        endpoints: route.endpoints.clone(),
        at: Instant::now(),
        by,
    });
}

struct Post {
    path: String,
    key: String,
    body: Value,
}

impl Post {
    /// Repeats until it is accepted, each time by the next address; under which identifier, and by whom.
    async fn persist(&self, shared: &Shared, first: usize) -> (String, String) {
        let deadline = Instant::now() + GIVE_UP;
        let mut turn = first;
        loop {
            let said = match self.once(shared, turn).await {
                Ok(accepted) => return accepted,
                Err(said) => said,
            };
            assert!(
                Instant::now() < deadline,
                "an event is never accepted: {said}"
            );
            shared.unknown.fetch_add(1, Ordering::Relaxed);
            turn += 1;
            sleep(PAUSE).await;
        }
    }

    /// The error is what was said instead of 202.
    async fn once(&self, shared: &Shared, turn: usize) -> Result<(String, String), String> {
        let address = shared.addresses.pick(turn).ok_or("no ingest is up")?;
        let api = shared.api.at(&address);
        let begun = Instant::now();
        let response = api.post_keyed(&self.path, &self.key, &self.body).await;
        let took = begun.elapsed();
        shared.answered_after(took);
        let message = answer(response.map_err(|error| error.to_string())?).await?;
        Ok((message, address))
    }
}

/// The message's identifier, or why it is not known.
async fn answer(response: Response) -> Result<String, String> {
    let status = response.status().as_u16();
    // An answer that breaks off says nothing.
    let body: Value = response.json().await.map_err(|error| error.to_string())?;
    match status {
        202 => Ok(body["id"].as_str().unwrap().to_owned()),
        503 => Err(body.to_string()),
        _ => panic!("an event was answered {status}: {body}"),
    }
}
