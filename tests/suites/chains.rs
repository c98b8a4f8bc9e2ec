//! A delivery never has two carriers that live: a worker is killed at each step of the order in which a failed attempt
//! is settled, and afterwards no attempt is made but the ones of the schedule.
//!
//! ```text
//!  1. hand-off published ─▶ confirmed      killed before it heard of the confirm
//!  2. outcome stored                       killed before that
//!  3. delivery acknowledged                killed before that
//! ```
//!
//! Where the outcome was not stored, the attempt that was under way may be made once more, which nobody can avoid (it is
//! not, where the next one is claimed before); where it was, nothing is repeated.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_tests::ledger::{Accepted, History, Rules, judge};
use postrider_tests::proxy::{ACK, CONSUMER, PUBLISH, PUBLISHER, Way, Who};
use postrider_tests::{
    Answer, Api, Ledger, Proxy, Received, Receiver, Role, Server, Settings, Shared, Tenant,
    eventually, kill_worker, until, within,
};
use serde_json::json;
use tokio::time::Instant;

const SCHEDULE: &str = "[1,1]";
const ATTEMPTS: usize = 3;
/// The least that can be set; a claim outlives it by 5 s.
const TIMEOUT: &str = "1s";
/// How often the gauges of the queues are read.
const GAUGES: Duration = Duration::from_secs(5);

/// What the worker dies before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Confirm,
    Flush,
    Ack,
}

impl Step {
    /// Whether the attempt that was under way may be made once more.
    fn may_repeat(self) -> bool {
        self != Self::Ack
    }
}

/// The way of the worker that will die to its servers.
struct Network {
    broker: Proxy,
    store: Proxy,
    /// What had passed when the fatal attempt was made.
    confirms: Mutex<u64>,
    acks: Mutex<u64>,
}

impl Network {
    /// Called when the attempt is made, before it is answered: what follows from it does not go beyond the step.
    fn stop_at(&self, step: Step) {
        *self.confirms.lock() = self.broker.seen(&PUBLISHER, Way::ToClient, ACK);
        *self.acks.lock() = self.broker.seen(&CONSUMER, Way::ToServer, ACK);
        match step {
            Step::Confirm => {
                let published = (Way::ToServer, PUBLISH);
                self.broker.hold_from(PUBLISHER, published, Way::ToClient);
            }
            Step::Flush => self.store.hold(Who::All, Way::ToServer),
            Step::Ack => self.broker.hold(CONSUMER, Way::ToServer),
        }
    }

    /// Waits until the worker has come to the step.
    async fn reached(&self, step: Step) {
        let confirms = *self.confirms.lock();
        let confirmed = || self.broker.seen(&PUBLISHER, Way::ToClient, ACK) > confirms;
        until("the hand-off to be confirmed", confirmed).await;
        let sent = self.store.bytes(&Who::All, Way::ToServer);
        match step {
            Step::Confirm => {}
            Step::Flush => {
                until("the outcome to be on its way", || {
                    self.store.bytes(&Who::All, Way::ToServer) > sent
                })
                .await;
            }
            Step::Ack => {
                let acks = *self.acks.lock();
                until("the acknowledgement to be on its way", || {
                    self.broker.seen(&CONSUMER, Way::ToServer, ACK) > acks
                })
                .await;
            }
        }
    }
}

/// Refuses everything; the `fatal`th request meets the network that stops at `step`.
async fn receiver(network: &Arc<Network>, step: Step, fatal: usize) -> Receiver {
    let network = Arc::clone(network);
    Receiver::start(move |index, _| {
        if index + 1 == fatal {
            network.stop_at(step);
        }
        Answer::Status(500)
    })
    .await
}

struct Site {
    installation: Shared,
    network: Arc<Network>,
    ingest: Server,
}

impl Site {
    async fn start() -> Self {
        let installation = Shared::new().await;
        let broker = Proxy::start(&installation.broker_address()).await;
        let store = Proxy::start(&installation.redis.address()).await;
        let ingest = Server::start(&installation.settings().role(Role::Ingest)).await;
        let network = Network {
            broker,
            store,
            confirms: Mutex::default(),
            acks: Mutex::default(),
        };
        Self {
            installation,
            ingest,
            network: Arc::new(network),
        }
    }

    fn worker(&self, settings: Settings) -> Settings {
        settings
            .role(Role::Worker)
            .env("RETRY_SCHEDULE", SCHEDULE)
            .env("REQUEST_TIMEOUT", TIMEOUT)
    }

    async fn doomed(&self) -> Server {
        let Network { broker, store, .. } = &*self.network;
        let settings = self
            .installation
            .settings_at(&broker.address(), &store.address());
        Server::start(&self.worker(settings)).await
    }

    async fn heir(&self) -> Server {
        Server::start(&self.worker(self.installation.settings())).await
    }
}

/// One event; the worker dies at `step` of its attempt `fatal`.
async fn die_at(step: Step, fatal: usize) {
    let site = Site::start().await;
    let receiver = receiver(&site.network, step, fatal).await;
    let doomed = site.doomed().await;
    let api = Api::new(&site.ingest).await;
    let tenant = api.tenant(&receiver, &["shop"]).await;
    let ledger = Ledger::default();
    ledger.accept(Accepted {
        message: api
            .event(&tenant.id, "order.paid", json!({}))
            .await
            .unwrap(),
        app: tenant.id.clone(),
        endpoints: tenant.names(),
        at: Instant::now(),
        by: String::new(),
    });
    receiver.wait_for(fatal).await;
    site.network.reached(step).await;
    kill_worker(doomed, &ledger).await;
    let heir = site.heir().await;
    wait_for_the_end((&receiver, &api), &tenant, &ledger, &heir).await;
    let history = ledger
        .full_history(&receiver, &api, std::slice::from_ref(&tenant))
        .await;
    let verdict = judge(&history, &rules(&history, fatal));
    println!("killed before the {step:?} of attempt {fatal}: {verdict}");
    verdict.assert_kept();
    assert_eq!(verdict.dead, 1);
    let most = ATTEMPTS + usize::from(step.may_repeat());
    assert!(
        (ATTEMPTS..=most).contains(&verdict.received),
        "{} requests",
        verdict.received
    );
    receiver.look(assert_one_at_a_time);
    let recorded = recorded(&api, &tenant, &ledger).await;
    // Whatever was not stored when the worker died, and was not repeated, is not in the log.
    let repeated = verdict.received > ATTEMPTS;
    let expected: Vec<usize> = (1..=ATTEMPTS)
        .filter(|number| !step.may_repeat() || repeated || *number != fatal)
        .collect();
    assert_eq!(recorded, expected, "each attempt is recorded once");
}

/// The numbers of the attempts that the log shows.
async fn recorded(api: &Api, tenant: &Tenant, ledger: &Ledger) -> Vec<usize> {
    let message = &ledger.accepted()[0].message;
    let path = format!("/api/v1/app/{}/attempt/msg/{message}", tenant.id);
    let attempts = api.list(&path).await;
    let numbers = attempts.iter().map(|row| row["attemptNumber"].as_u64());
    let mut numbers: Vec<usize> = numbers.map(|number| number.unwrap() as usize).collect();
    numbers.sort_unstable();
    numbers
}

/// Completes once no work is left anywhere.
async fn wait_for_the_end(
    (receiver, api): (&Receiver, &Api),
    tenant: &Tenant,
    ledger: &Ledger,
    heir: &Server,
) {
    let tenants = std::slice::from_ref(tenant);
    ledger.full_history(receiver, api, tenants).await;
    wait_until_idle(heir).await;
}

/// The outcome of the fatal attempt was kept from the store from its answer until the kill.
fn rules(history: &History, fatal: usize) -> Rules {
    let answered = history.arrivals[fatal - 1].ended.expect("it was answered");
    let (killed, _) = history.faults[0].at;
    let held = killed.saturating_duration_since(answered);
    let rules = Rules::default();
    Rules {
        schedule: vec![Duration::from_secs(1); ATTEMPTS - 1],
        flush: rules.flush + held,
        ..rules
    }
}

/// Until the queues were seen empty for longer than it takes to look at them again.
async fn wait_until_idle(worker: &Server) {
    eventually("the queues to be empty", || async {
        let busy = within(GAUGES + GAUGES / 2, || async {
            let metrics = worker.scrape().await;
            // While the depth is unknown there is no such metric.
            let known = metrics.has("postrider_queue_packs");
            (!known || metrics.sum("postrider_queue_packs", "") > 0.0).then_some(())
        });
        busy.await.is_none().then_some(())
    })
    .await;
}

fn assert_one_at_a_time(requests: &[Received]) {
    for two in requests.windows(2) {
        let ended = two[0].ended.expect("it was answered");
        assert!(ended <= two[1].at, "two requests at once: {two:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_confirm_of_a_first_attempt() {
    die_at(Step::Confirm, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_confirm_of_a_second_attempt() {
    die_at(Step::Confirm, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_flush_of_a_first_attempt() {
    die_at(Step::Flush, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_flush_of_a_second_attempt() {
    die_at(Step::Flush, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_ack_of_a_first_attempt() {
    die_at(Step::Ack, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_ack_of_a_second_attempt() {
    die_at(Step::Ack, 2).await;
}
