//! Redis there, and of no use: stopped, slow, read-only, full.
//!
//! Each time the same: a load; workers that were stopped for a moment and so have first attempts to make when the fault comes;
//! the fault, for a while; then Redis is well again, and nobody helps.

use std::time::Duration;

use nix::sys::signal::Signal;
use postrider_tests::ledger::Rules;
use postrider_tests::proxy::{Way, Who};
use postrider_tests::{Answer, PATIENCE, Receiver, Running, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Rates, STEADY, counted, judge_arrivals};
use crate::watch::Times;

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(150);
/// To fill a log quickly.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
/// For how long workers are stopped before.
const BACKLOG: Duration = Duration::from_millis(1_500);
/// What clients are willing to wait for an answer, at least.
const CLIENTS_WAIT: Duration = Duration::from_secs(10);
/// Every answer of a slow Redis comes after this.
const SLOW: Duration = Duration::from_secs(2);
const ROOM: u64 = 16 << 20;
/// For a Redis that our own log fills.
const LITTLE_ROOM: u64 = 6 << 20;

pub(crate) async fn paused(form: Form) {
    let (stage, load) = prepare(PAUSE).await;
    let mut fault = Fault::begin(&stage, &load).await;
    stage.installation.redis.signal(Signal::SIGSTOP);
    fault.lasts(&stage, form.pick(6, 10)).await;
    stage.installation.redis.signal(Signal::SIGCONT);
    fault.end("redis_paused", stage, load).await;
}

pub(crate) async fn slow(_: Form) {
    let (stage, load) = prepare(PAUSE).await;
    let mut fault = Fault::begin(&stage, &load).await;
    stage.store.delay(Who::All, Way::ToClient, SLOW);
    fault.lasts(&stage, 10).await;
    stage.store.delay(Who::All, Way::ToClient, Duration::ZERO);
    fault.end("redis_slow", stage, load).await;
}

pub(crate) async fn read_only(_: Form) {
    let (stage, load) = prepare(PAUSE).await;
    let mut fault = Fault::begin(&stage, &load).await;
    stage.installation.redis.refuse_writes().await;
    fault.lasts(&stage, 10).await;
    stage.installation.redis.take_writes().await;
    fault.end("redis_read_only", stage, load).await;
}

/// Somebody else's data take all there is: the log gives way, in vain.
pub(crate) async fn full(_: Form) {
    let (stage, load) = prepare(PAUSE).await;
    let redis = &stage.installation.redis;
    redis.limit_memory(redis.used_memory().await + ROOM).await;
    let mut fault = Fault::begin(&stage, &load).await;
    redis.fill(2 * ROOM).await;
    fault.lasts(&stage, 10).await;
    let shed = counted(&stage, "postrider_log_rows_shed_total", "").await;
    redis.clear().await;
    println!("redis_full: log_rows_shed={shed}");
    assert!(shed > 0.0, "the log has not given way");
    fault.end("redis_full", stage, load).await;
}

/// Our own log would take all there is: it gives way, and nobody notices.
pub(crate) async fn full_of_log(_: Form) {
    let (stage, load) = prepare(SHORT_PAUSE).await;
    let redis = &stage.installation.redis;
    let limit = redis.used_memory().await + LITTLE_ROOM;
    redis.limit_memory(limit).await;
    let mut most = 0;
    let begun = Instant::now();
    while counted(&stage, "postrider_log_rows_shed_total", "").await == 0.0 {
        most = redis.used_memory().await.max(most);
        assert!(begun.elapsed() < 3 * PATIENCE, "the log never gives way");
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let shed = counted(&stage, "postrider_log_rows_shed_total", "").await;
    let took = begun.elapsed();
    let refused = load.stop().await;
    let more = format!(
        "log_rows_shed={shed} after={took:.1?} most_of_maxmemory={:.2} refused={refused}",
        most as f64 / limit as f64
    );
    judge_arrivals(
        &stage,
        "redis_full_of_log",
        &Rules::default(),
        PATIENCE,
        more,
    )
    .await;
    assert_eq!(refused, 0, "events were refused for want of room");
}

async fn prepare(pause: Duration) -> (Stage, Running) {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let stage = Stage::set(installation, receiver, Plan::default()).await;
    let load = stage.load(CLIENTS, pause);
    sleep(STEADY + Duration::from_secs(1)).await;
    (stage, load)
}

/// What is known of a fault from its beginning on.
struct Fault {
    normal: Rates,
    begun: Instant,
    /// Events whose first attempts were still to be made.
    waiting: usize,
    /// What `/health` said of Redis.
    health: String,
}

impl Fault {
    /// What comes right after this is the fault.
    async fn begin(stage: &Stage, load: &Running) -> Self {
        let normal = Rates::now(stage);
        for worker in &stage.cluster.workers {
            worker.signal(Signal::SIGSTOP);
        }
        sleep(BACKLOG).await;
        load.take_longest_answer();
        Self {
            normal,
            begun: Instant::now(),
            waiting: stage.ledger.len() - stage.receiver.count(),
            health: String::new(),
        }
    }

    async fn lasts(&mut self, stage: &Stage, seconds: u64) {
        for worker in &stage.cluster.workers {
            worker.signal(Signal::SIGCONT);
        }
        for server in stage.processes() {
            server.wait_for_health(503).await;
        }
        let (_, health) = stage.cluster.ingests[0].health().await.unwrap();
        self.health = health["dependencies"]["limits"]["detail"].to_string();
        tokio::time::sleep_until(self.begun + Duration::from_secs(seconds)).await;
    }

    async fn end(self, name: &str, stage: Stage, load: Running) {
        let over = Instant::now();
        for server in stage.processes() {
            server.wait_for_health(200).await;
        }
        let ready = over.elapsed();
        let back = self.normal.back(&stage, over).await;
        let longest = load.take_longest_answer();
        let refused = load.stop().await;
        stage.fault_without_excuse(self.begun, over);
        let meanwhile = Times::of_arrivals(&stage.receiver).count(self.begun, over);
        let unguarded = counted(&stage, "postrider_unguarded_total", "").await;
        let more = format!(
            "longest_answer={longest:.1?} refused={refused} waiting={} delivered_meanwhile={meanwhile} unguarded={unguarded} \
             ready={ready:.1?} {back} health={}",
            self.waiting, self.health,
        );
        judge_arrivals(&stage, name, &Rules::default(), PATIENCE, more).await;
        assert!(longest <= CLIENTS_WAIT, "{longest:?}");
        assert!(refused > 0, "nothing was refused, so nothing was wrong");
        assert!(
            self.waiting > 0 && meanwhile >= self.waiting,
            "first attempts waited for Redis"
        );
    }
}
