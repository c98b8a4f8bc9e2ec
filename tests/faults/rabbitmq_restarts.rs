//! RabbitMQ killed and started again, twice, under load.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::watch::{Cpu, Times, most_repeated};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
/// The rate is measured over this time before a fault.
const STEADY: Duration = Duration::from_secs(5);
/// For how long it stays away beyond what its start takes.
const AWAY: Duration = Duration::from_secs(3);
/// For how long the load goes on once it is back.
const AFTER: Duration = Duration::from_secs(12);

/// The rate is to be back to this share within [`BACK_WITHIN`]; asserted at three times that.
const SHARE: f64 = 0.9;
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Of a core, for a process that waits; asserted at three times that.
const WAITING_CPU: f64 = 0.05;
/// Of one cause, in a second; asserted at three times that.
const LOG_LINES: usize = 1;

pub(crate) async fn run(form: Form) {
    let installation = Shared::with_own_rabbitmq().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let mut stage = Stage::set(installation, receiver, Plan::default()).await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(Duration::from_secs(2)).await;
    let mut restarts = Vec::new();
    for _ in 0..form.pick(2, 4) {
        sleep(STEADY).await;
        restarts.push(restart(&mut stage).await);
        sleep(AFTER).await;
    }
    let repeated = load.stop().await;
    // A process that lost the connection does not know what became of its acknowledgements.
    let figures = restarts.iter().map(|restart| restart.check(&stage));
    let figures: Vec<String> = figures.collect();
    let (times, what) = stage.processes().map(most_repeated).max().unwrap();
    let more = format!(
        "tries_without_answer={repeated} {} log_lines_a_second={times} ({what:?})",
        figures.join(" ")
    );
    stage
        .judge("rabbitmq_restarts", &Rules::default(), PATIENCE, more)
        .await;
    assert!(times <= 3 * LOG_LINES, "{times} lines in a second: {what}");
}

struct Restart {
    killed: Instant,
    accepting: Instant,
    /// Of the worker that used the most, as a share of a core.
    cpu: f64,
}

async fn restart(stage: &mut Stage) -> Restart {
    let killed = Instant::now();
    stage.installation.rabbitmq().kill().await;
    let watches: Vec<Cpu> = stage.cluster.workers.iter().map(Cpu::of).collect();
    for server in stage.processes() {
        server.wait_for_health(503).await;
    }
    sleep(AWAY).await;
    let cpu = watches.iter().map(Cpu::share).fold(0.0, f64::max);
    stage.installation.rabbitmq().start_again().await;
    let accepting = Instant::now();
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    stage.fault(killed, accepting);
    Restart {
        killed,
        accepting,
        cpu,
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
            "accepts_again={accepted:.1?} delivers_again={delivered:.1?} waiting_cpu={:.3}",
            self.cpu
        )
    }
}
