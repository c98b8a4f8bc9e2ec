//! Thirty per cent of 3,000 endpoints stop answering in the same second, and come back a minute later.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{
    Answer, Api, Load, PATIENCE, Receiver, Role, Route, Scrape, Server, Shared, Tenant,
    kill_worker, within,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::watch::{Cpu, most_repeated};

const APPLICATIONS: usize = 30;
const ENDPOINTS: usize = 100;
/// Of ten endpoints.
const HANGING: usize = 3;
/// More than a debug build carries on two cores with this harness beside it.
const EVENTS_A_SECOND: u32 = 1_000;
const BEFORE: Duration = Duration::from_secs(15);
const HANG: Duration = Duration::from_secs(60);
const JUST_BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(15);
/// The last attempt lies beyond the minute: 5 s, 30 s and 60 s, with their deadlines of 15 s.
const SCHEDULE: [u64; 3] = [5, 30, 60];
/// The delays that are left, jitter and deadlines included.
const ENDED_WITHIN: Duration = Duration::from_secs(150);
/// An eighth of the default, so that what hangs pins more than half of it.
const PREFETCH: usize = 512;
const SLOTS: f64 = 4_096.0;
const TOLD: &str = "requests that hang pin more than half of what may be held";
/// Packs of an event queue that RabbitMQ lets a worker have.
const WINDOW: usize = 512;

pub(crate) async fn run(_: Form) {
    play("mass_hang", false).await;
}

/// The same; the only worker is killed in the middle of it.
pub(crate) async fn run_killed(_: Form) {
    play("mass_hang_killed", true).await;
}

async fn play(name: &str, is_killed: bool) {
    let hangs = Arc::new(AtomicBool::new(false));
    let mut stage = stage(&hangs).await;
    let load = Load {
        clients: 512,
        total: usize::MAX,
        pause: Duration::from_secs(1) / EVENTS_A_SECOND,
        routes: routes(&stage.tenants),
    };
    let load = load.start_open(&stage.cluster.api, &stage.cluster.addresses, &stage.ledger);
    let cpu = Cpu::of(&stage.cluster.workers[0]);
    sleep(BEFORE).await;
    let cpu_before = cpu.share();
    let cpu = Cpu::of(&stage.cluster.workers[0]);
    let begun = Instant::now();
    hangs.store(true, Relaxed);
    let mut seen = Seen::default();
    seen.during(HANG / 2, &stage.cluster.workers[0]).await;
    let mut stood_still = Duration::ZERO;
    let cpu_during = cpu.share();
    if is_killed {
        stood_still = longest_gap(&stage, Instant::now() - JUST_BEFORE);
        replace_worker(&mut stage).await;
    }
    let left = HANG.saturating_sub(begun.elapsed());
    seen.during(left, &stage.cluster.workers[0]).await;
    hangs.store(false, Relaxed);
    let over = Instant::now();
    sleep(AFTER).await;
    let repeated = load.stop().await;
    let calm = Latency::of_healthy(&stage, begun - BEFORE + Duration::from_secs(2), begun);
    let during = Latency::of_healthy(&stage, begun, over);
    let backlog = backlog(&stage, over).await;
    stage.fault_without_excuse(begun, over);
    let end = stage.cluster.workers[0].scrape().await;
    let (times, what) = most_repeated(&stage.cluster.workers[0]);
    let more = format!(
        "rate={EVENTS_A_SECOND}/s tries_without_answer={repeated} healthy_before={calm} healthy_during={during} worker_cpu_before={cpu_before:.2} worker_cpu_during={cpu_during:.2} {seen} {} backlog_done={backlog:.0?}_after stood_still={stood_still:.1?} log_lines_a_second={times} ({what:?})",
        counted(&end)
    );
    let mut rules = Rules {
        schedule: SCHEDULE.map(Duration::from_secs).to_vec(),
        ..Rules::default()
    };
    // Where everything stands still for a while, so does the store.
    rules.flush += stood_still;
    stage.judge(name, &rules, PATIENCE, more).await;
    assert!(seen.in_flight < SLOTS, "all slots were taken");
    assert!(seen.suspects > 0.0, "nothing was withheld");
    assert!(
        end.sum("postrider_rehomed_packs_total", "") > 0.0,
        "no pack was re-homed"
    );
    let log = stage.cluster.workers[0].log();
    assert!(log.contains(TOLD), "nobody was told:\n{log}");
}

/// With hundreds of requests a second, a gap between two of them is the machine's.
fn longest_gap(stage: &Stage, from: Instant) -> Duration {
    let times = stage.receiver.look(|requests| {
        let times = requests.iter().map(|request| request.at);
        times.filter(|at| *at >= from).collect::<Vec<_>>()
    });
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

async fn replace_worker(stage: &mut Stage) {
    kill_worker(stage.cluster.workers.remove(0), &stage.ledger).await;
    let settings = stage.settings.clone().role(Role::Worker);
    stage.cluster.workers.push(Server::start(&settings).await);
}

async fn stage(hangs: &Arc<AtomicBool>) -> Stage {
    let hanging = Arc::clone(hangs);
    let receiver = Receiver::start(move |_, request| {
        if hanging.load(Relaxed) && is_hanging(&request.endpoint) {
            Answer::Never
        } else {
            Answer::Status(200)
        }
    });
    let plan = Plan {
        ingests: 1,
        workers: 1,
        tenants: Vec::new(),
        env: vec![
            ("RETRY_SCHEDULE", format!("{SCHEDULE:?}")),
            ("PREFETCH", PREFETCH.to_string()),
        ],
        program: Some(release_build()),
    };
    let mut stage = Stage::set(Shared::new().await, receiver.await, plan).await;
    let mut making = JoinSet::new();
    for app in 0..APPLICATIONS {
        let (api, receiver) = (stage.cluster.api.clone(), stage.receiver.clone());
        making.spawn(async move { tenant(&api, &receiver, app).await });
    }
    stage.tenants = making.join_all().await;
    stage
}

/// `./scripts/test` makes it for those who run this.
fn release_build() -> PathBuf {
    let path = std::env::var_os("POSTRIDER_RELEASE_BIN").map(PathBuf::from);
    path.expect("POSTRIDER_RELEASE_BIN must name a release build; ./scripts/test --only mass_hang makes one")
}

/// An application whose endpoints each listen to a channel of their own.
async fn tenant(api: &Api, receiver: &Receiver, app: usize) -> Tenant {
    let made = api.post("/api/v1/app", json!({"name": "Shop"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let mut subscribers = Vec::new();
    for number in 0..ENDPOINTS {
        let kind = if number % 10 < HANGING {
            "hangs"
        } else {
            "healthy"
        };
        let name = format!("{kind}-{app}-{number}");
        let body = json!({"url": receiver.url_of(&name), "uid": name, "channels": [name]});
        subscribers.push(api.subscriber(receiver, &id, &name, body).await);
    }
    Tenant { id, subscribers }
}

fn is_hanging(endpoint: &str) -> bool {
    endpoint.starts_with("hangs")
}

/// One for each endpoint, those of an application far apart.
fn routes(tenants: &[Tenant]) -> Vec<Route> {
    let route = |tenant: &Tenant, number: usize| Route {
        app: tenant.id.clone(),
        channel: Some(tenant.subscribers[number].name.clone()),
        endpoints: vec![tenant.subscribers[number].name.clone()],
    };
    let numbers = 0..ENDPOINTS;
    numbers
        .flat_map(|number| tenants.iter().map(move |tenant| route(tenant, number)))
        .collect()
}

/// How long it took until everything accepted was answered 2xx.
async fn backlog(stage: &Stage, over: Instant) -> Duration {
    let all: HashSet<String> = stage
        .ledger
        .accepted()
        .into_iter()
        .map(|event| event.message)
        .collect();
    let done = within(ENDED_WITHIN, || async {
        let delivered = stage.receiver.look(|requests| {
            let answered = requests
                .iter()
                .filter(|request| request.answered == Some(200));
            answered
                .map(|request| request.id.clone())
                .collect::<HashSet<_>>()
        });
        let last = all.is_subset(&delivered).then_some(());
        // Counting is work, and the machine is small.
        sleep(Duration::from_millis(500)).await;
        last
    });
    if done.await.is_none() {
        println!("not everything was delivered within {ENDED_WITHIN:?}");
    }
    over.elapsed()
}

/// From the 202 to the request's arrival.
struct Latency {
    p50: Duration,
    p99: Duration,
}

impl Latency {
    fn of_healthy(stage: &Stage, from: Instant, to: Instant) -> Self {
        let arrived = stage.receiver.look(|requests| {
            let healthy = requests
                .iter()
                .filter(|request| !is_hanging(&request.endpoint));
            healthy
                .map(|request| (request.id.clone(), request.at))
                .collect::<HashMap<_, _>>()
        });
        let accepted = stage.ledger.accepted().into_iter();
        let accepted = accepted.filter(|event| event.at >= from && event.at < to);
        let mut took: Vec<Duration> = accepted
            .filter_map(|event| {
                Some(
                    arrived
                        .get(&event.message)?
                        .saturating_duration_since(event.at),
                )
            })
            .collect();
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        write!(f, "p50={:.1}ms,p99={:.1}ms", ms(self.p50), ms(self.p99))
    }
}

/// The highest of what a worker's metrics showed.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    in_flight: f64,
    packs: f64,
    packs_of_a_queue: f64,
    suspects: f64,
}

impl Seen {
    async fn during(&mut self, time: Duration, worker: &Server) {
        let over = Instant::now() + time;
        while Instant::now() < over {
            self.look(&worker.scrape().await);
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn look(&mut self, scrape: &Scrape) {
        let sum = |name| scrape.sum(name, "");
        self.in_flight = self.in_flight.max(sum("postrider_requests_in_flight"));
        self.packs = self.packs.max(sum("postrider_packs_held"));
        self.suspects = self.suspects.max(sum("postrider_suspect_endpoints"));
        let events = scrape.max("postrider_queue_packs_held", "pr.v1.events");
        self.packs_of_a_queue = self.packs_of_a_queue.max(events);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "requests_in_flight={}/{SLOTS} packs_held={}/{PREFETCH} packs_of_an_event_queue={}/{WINDOW} suspects={}",
            self.in_flight, self.packs, self.packs_of_a_queue, self.suspects
        )
    }
}

/// What became of work that was not simply done.
fn counted(end: &Scrape) -> String {
    let sum = |name, label| end.sum(name, label);
    format!(
        "withheld={} rehomed_packs={} rehomed_requests={} done_already={}",
        sum("postrider_handed_off_total", "why=\"suspect\""),
        sum("postrider_rehomed_packs_total", ""),
        sum("postrider_rehomed_targets_total", ""),
        sum("postrider_claims_lost_total", ""),
    )
}
