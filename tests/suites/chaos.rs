//! Processes that are killed all the time, at random, under load.
//!
//! `POSTRIDER_TEST_SEED` repeats a run's choices; which requests a kill hits still depends on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_tests::ledger::{Culprit, History, Rules, judge};
use postrider_tests::{
    Addresses, Answer, Api, Cluster, Ledger, Load, PATIENCE, Receiver, Role, Route, Server,
    Settings, Shared, kill_ingest, kill_worker, within,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// At least: events come for as long as kills do.
const EVENTS: usize = 20_000;
const CLIENTS: usize = 64;
const WORKERS: usize = 3;
const INGESTS: usize = 2;
const WORKER_KILLS: usize = 50;
const INGEST_KILLS: usize = 10;
/// So that a kill finds requests under way.
const SLOW: Duration = Duration::from_millis(5);
/// Between two kills.
const BETWEEN: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_millis(1_300);
/// A client's pause between two events: leaves something of two cores to the processes that start.
const PAUSE: Duration = Duration::from_millis(120);
/// For what the kills left of the events; they come at some 500 a second.
const ENOUGH: Duration = Duration::from_secs(180);
/// Short, because what a killed worker had claimed waits for longer than that.
const TIMEOUT: &str = "2s";
/// An ingest that is killed leaves reservations that its clients wait for, for 30 s: its kills come before this part of
/// all is over.
const INGESTS_DIE_UNTIL: f64 = 0.6;

/// Who is killed, in which order.
fn plan(random: &mut StdRng) -> Vec<Role> {
    let mut plan = vec![Role::Worker; WORKER_KILLS];
    for _ in 0..INGEST_KILLS {
        let last = (plan.len() as f64 * INGESTS_DIE_UNTIL) as usize;
        plan.insert(random.random_range(0..last), Role::Ingest);
    }
    plan
}

/// Kills, and starts again at once.
struct Reaper {
    settings: Settings,
    addresses: Addresses,
    ledger: Ledger,
    random: StdRng,
    up: Vec<(Role, Server)>,
    starting: JoinSet<(Role, Server)>,
    logs: Logs,
}

/// What every process has said, also those that are dead.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<Log>>>);

type Log = Arc<Mutex<Vec<String>>>;

impl Logs {
    fn follow(&self, server: &Server) {
        self.0.lock().push(server.log_lines());
    }

    fn naming(&self, text: &str) -> Vec<String> {
        let logs = self.0.lock();
        let mut lines: Vec<String> = Vec::new();
        for (process, log) in logs.iter().enumerate() {
            let log = log.lock();
            let own = log.iter().filter(|line| line.contains(text));
            lines.extend(own.map(|line| format!("process {process}: {line}")));
        }
        lines
    }
}

impl Reaper {
    async fn strike(&mut self, role: Role) {
        let victim = self.choose(role).await;
        match role {
            Role::Worker => kill_worker(victim, &self.ledger).await,
            Role::Ingest | Role::Both => {
                self.addresses.remove(victim.api());
                kill_ingest(victim, &self.ledger).await;
            }
        }
        let (settings, addresses) = (self.settings.clone().role(role), self.addresses.clone());
        let logs = self.logs.clone();
        self.starting.spawn(async move {
            let server = Server::start(&settings).await;
            logs.follow(&server);
            if role == Role::Ingest {
                addresses.add(&server);
            }
            (role, server)
        });
    }

    /// One of those that are up; where none is, the next one that comes up.
    async fn choose(&mut self, role: Role) -> Server {
        loop {
            while let Some(started) = self.starting.try_join_next() {
                self.up.push(started.unwrap());
            }
            let candidates: Vec<usize> = (0..self.up.len())
                .filter(|index| self.up[*index].0 == role)
                .collect();
            if let Some(index) = candidates.choose(&mut self.random) {
                return self.up.swap_remove(*index).1;
            }
            let started = self.starting.join_next().await;
            self.up
                .push(started.expect("all are up or starting").unwrap());
        }
    }

    /// What the broker holds, as one of the workers sees it.
    async fn packs(&self) -> String {
        let worker = self.up.iter().find(|(role, _)| *role == Role::Worker);
        let metrics = worker.unwrap().1.scrape().await;
        let packs = ["ready", "waiting", "leased", "quarantined"].map(|state| {
            let label = format!("state=\"{state}\"");
            format!("{state}={}", metrics.sum("postrider_queue_packs", &label))
        });
        packs.join(" ")
    }

    /// Waits until all are up again; a client of an ingest.
    async fn rest(&mut self, api: &Api) -> Api {
        while let Some(started) = self.starting.join_next().await {
            self.up.push(started.unwrap());
        }
        api.at(&self.addresses.pick(0).unwrap())
    }
}

fn seed() -> u64 {
    match std::env::var("POSTRIDER_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    }
}

/// What is known of a message that nobody has received.
async fn explain(history: &History, api: &Api, message: &str) {
    let event = history
        .accepted
        .iter()
        .find(|event| event.message == message);
    let event = event.unwrap();
    let distance = |(begun, over): (Instant, Instant)| {
        let before = event.at.saturating_duration_since(over).as_millis();
        let after = begun.saturating_duration_since(event.at).as_millis();
        if after > 0 {
            format!("+{after}")
        } else {
            format!("-{before}")
        }
    };
    let near = history.faults.iter().filter(|fault| {
        let far = Duration::from_secs(3);
        fault.at.0 < event.at + far && fault.at.1 + far > event.at
    });
    let near: Vec<_> = near
        .map(|fault| {
            let whose = if matches!(fault.whose, Culprit::Nobody) {
                "ingest"
            } else {
                "worker"
            };
            format!("{whose} {} ms", distance(fault.at))
        })
        .collect();
    println!(
        "lost: {message} for {:?}, accepted by {}; kills around it: {near:?}",
        event.endpoints, event.by
    );
    for path in ["", "/endpoint"] {
        let path = format!("/api/v1/app/{}/msg/{message}{path}", event.app);
        println!("  {path}: {:?}", api.call(Method::GET, &path, None).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_kills_lose_nothing_and_repeat_only_what_was_under_way() {
    let seed = seed();
    println!("POSTRIDER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let installation = Shared::new().await;
    let settings = installation.settings().env("REQUEST_TIMEOUT", TIMEOUT);
    let receiver = Receiver::start(|_, _| Answer::After(SLOW)).await;
    let Cluster {
        ingests,
        workers,
        addresses,
        api,
    } = Cluster::start(&settings, INGESTS, WORKERS).await;
    let tenants = [
        api.tenant(&receiver, &["one"]).await,
        api.tenant(&receiver, &["two"]).await,
    ];
    let ledger = Ledger::default();
    let load = Load {
        clients: CLIENTS,
        total: usize::MAX,
        pause: PAUSE,
        routes: tenants.iter().map(Route::to).collect(),
    };
    let load = load.start(&api, &addresses, &ledger);

    let plan = plan(&mut random);
    let workers = workers.into_iter().map(|server| (Role::Worker, server));
    let ingests = ingests.into_iter().map(|server| (Role::Ingest, server));
    let mut reaper = Reaper {
        settings,
        addresses,
        ledger: ledger.clone(),
        random,
        up: workers.chain(ingests).collect(),
        starting: JoinSet::new(),
        logs: Logs::default(),
    };
    for (_, server) in &reaper.up {
        reaper.logs.follow(server);
    }
    for role in plan {
        sleep(reaper.random.random_range(BETWEEN)).await;
        reaper.strike(role).await;
    }
    let api = reaper.rest(&api).await;
    let enough = within(ENOUGH, || async { (ledger.len() >= EVENTS).then_some(()) });
    enough.await.expect("the load goes on after the kills");
    let repeated = load.stop().await;
    // Where they do not, the verdict says which; what waits somewhere is told by the gauges.
    let arrived = within(PATIENCE, || async {
        receiver
            .look(|requests| ledger.is_complete(requests))
            .then_some(())
    });
    if arrived.await.is_none() {
        println!("not all events have arrived; {}", reaper.packs().await);
    }

    let history = ledger.full_history(&receiver, &api, &tenants).await;
    // Debug builds that are started sixty times leave little of two cores for the outcomes.
    let rules = Rules {
        flush: Duration::from_millis(1_500),
        ..Rules::default()
    };
    let verdict = judge(&history, &rules);
    for pair in &verdict.lost {
        explain(&history, &api, &pair.message).await;
        for line in reaper.logs.naming(&pair.message) {
            println!("  {line}");
        }
    }
    let touched = verdict.touched;
    println!(
        "chaos (seed {seed}): {verdict} touched_by_kills={touched} tries_without_answer={repeated}"
    );
    verdict.assert_kept();
    assert!(touched > 0, "no kill hit anything");
    assert!(verdict.duplicated.len() <= touched);
    assert_eq!(
        (verdict.delivered, verdict.dead, verdict.canceled),
        (ledger.len(), 0, 0)
    );
}
