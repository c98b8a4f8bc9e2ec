//! Redis killed and started again under load, while endpoints are created and changed: once as it was, once without its
//! last second, as where its machine dies.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Changes, counted, judge_arrivals};
use crate::watch::{Cpu, Times, most_repeated};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
/// The rate is measured over this time before a fault.
const STEADY: Duration = Duration::from_secs(4);
const AWAY: Duration = Duration::from_secs(3);
/// For how long the load goes on once Redis is back.
const AFTER: Duration = Duration::from_secs(9);
/// What a machine that dies takes along.
const LAST: Duration = Duration::from_secs(1);

/// The rate is to be back to this share within [`BACK_WITHIN`]; asserted at three times that.
const SHARE: f64 = 0.9;
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Of a core, for a process that waits; asserted at three times that.
const WAITING_CPU: f64 = 0.05;
/// Of one cause, in a second; asserted at three times that.
const LOG_LINES: usize = 1;
/// What clients are willing to wait for an answer, at least.
const CLIENTS_WAIT: Duration = Duration::from_secs(10);

pub(crate) async fn run(form: Form) {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let mut stage = Stage::set(installation, receiver, Plan::default()).await;
    let load = stage.load(CLIENTS, form.pick(PAUSE, PAUSE / 2));
    let changes = Changes::start(&stage.cluster.api, &stage.cluster.addresses).await;
    sleep(Duration::from_secs(1)).await;
    let mut restarts = Vec::new();
    for loses in [false, true] {
        sleep(form.pick(STEADY, 2 * STEADY)).await;
        restarts.push(restart(&mut stage, loses).await);
        sleep(form.pick(AFTER, 2 * AFTER)).await;
    }
    let longest = load.take_longest_answer();
    let repeated = load.stop().await;
    let (answered, missing) = changes.stop().await;
    let figures: Vec<String> = restarts.iter().map(|it| it.check(&stage)).collect();
    let (times, what) = stage.processes().map(most_repeated).max().unwrap();
    let rewinds = counted(&stage, "postrider_registry_rewinds_total", "").await;
    let healed = counted(&stage, "postrider_registry_changes_healed_total", "").await;
    let more = format!(
        "tries_without_answer={repeated} longest_answer={longest:.1?} {} changes_answered={answered} missing={} \
         rewinds_seen={rewinds} healed={healed} log_lines_a_second={times} ({what:?})",
        figures.join(" "),
        missing.len(),
    );
    judge_arrivals(&stage, "redis_restarts", &Rules::default(), PATIENCE, more).await;
    assert!(
        missing.is_empty(),
        "changes that were answered 2xx: {missing:#?}"
    );
    assert!(
        rewinds > 0.0 && healed > 0.0,
        "nothing was lost, or nobody saw it"
    );
    assert!(longest <= CLIENTS_WAIT, "{longest:?}");
    assert!(times <= 3 * LOG_LINES, "{times} lines in a second: {what}");
}

struct Restart {
    killed: Instant,
    accepting: Instant,
    /// Of the process that used the most, as a share of a core.
    cpu: f64,
    ready: Duration,
}

async fn restart(stage: &mut Stage, loses: bool) -> Restart {
    let written = stage.installation.redis.written();
    sleep(LAST).await;
    let killed = Instant::now();
    stage.installation.redis.kill().await;
    if loses {
        stage.installation.redis.forget_since(written);
    }
    for server in stage.processes() {
        server.wait_for_health(503).await;
    }
    // Ingests are busy turning clients away.
    let watches: Vec<Cpu> = stage.cluster.workers.iter().map(Cpu::of).collect();
    sleep(AWAY).await;
    let cpu = watches.iter().map(Cpu::share).fold(0.0, f64::max);
    stage.installation.redis.start_again().await;
    let accepting = Instant::now();
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    // No delivery is repeated because Redis was away: what was sent and not recorded is not let go.
    stage.fault_without_excuse(killed, accepting);
    Restart {
        killed,
        accepting,
        cpu,
        ready: accepting.elapsed(),
    }
}

impl Restart {
    fn check(&self, stage: &Stage) -> String {
        let back = |times: &Times| {
            let normal = times.rate(self.killed - STEADY, self.killed);
            times.back_after(self.accepting, normal, SHARE)
        };
        let accepted = back(&Times::of_acceptance(&stage.ledger)).expect("accepts as before");
        let delivered = back(&Times::of_arrivals(&stage.receiver)).expect("delivers as before");
        assert!(accepted.max(delivered) <= 3 * BACK_WITHIN);
        assert!(self.cpu <= 3.0 * WAITING_CPU, "{} of a core", self.cpu);
        format!(
            "accepts_again={accepted:.1?} delivers_again={delivered:.1?} ready={:.1?} waiting_cpu={:.3}",
            self.ready, self.cpu
        )
    }
}
