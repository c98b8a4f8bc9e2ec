//! RabbitMQ hangs: its process is stopped, its connections stay open, and nobody answers.

use std::time::Duration;

use nix::sys::signal::Signal;
use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::failing::{app_without_endpoints, one_event};
use crate::stage::{Plan, Stage};
use crate::watch::{Cpu, Times, most_repeated};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const STEADY: Duration = Duration::from_secs(5);
/// Longer than a confirm may take, and than a heartbeat does.
const STOPPED: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_secs(12);
/// For a confirm, 10 s; asserted at three times that.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// A probe waits for 2 s; asserted at three times that.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);
const SHARE: f64 = 0.9;
const BACK_WITHIN: Duration = Duration::from_secs(10);
const WAITING_CPU: f64 = 0.05;

pub(crate) async fn run(_: Form) {
    let installation = Shared::with_own_rabbitmq().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let mut stage = Stage::set(installation, receiver, Plan::default()).await;
    let nobody = app_without_endpoints(&stage.cluster.api).await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(STEADY + Duration::from_secs(2)).await;

    let stopped = Instant::now();
    stage.installation.rabbitmq().signal(Signal::SIGSTOP);
    let watches: Vec<Cpu> = stage.cluster.workers.iter().map(Cpu::of).collect();
    let unanswered = one_event(&stage.cluster.api, &nobody);
    let told = async {
        stage.cluster.ingests[0].wait_for_health(503).await;
        let told = stopped.elapsed();
        for server in stage.processes() {
            server.wait_for_health(503).await;
        }
        told
    };
    let ((status, answered), told) = tokio::join!(unanswered, told);
    sleep(STOPPED.saturating_sub(stopped.elapsed())).await;
    let cpu = watches.iter().map(Cpu::share).fold(0.0, f64::max);
    stage.installation.rabbitmq().signal(Signal::SIGCONT);
    let back = Instant::now();
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    stage.fault(stopped, Instant::now());
    sleep(AFTER).await;
    let repeated = load.stop().await;

    let again = |times: &Times| {
        let normal = times.rate(stopped - STEADY, stopped);
        times.back_after(back, normal, SHARE)
    };
    let accepted = again(&Times::of_acceptance(&stage.ledger)).expect("accepts as before");
    let delivered = again(&Times::of_arrivals(&stage.receiver)).expect("delivers as before");
    let (times, what) = stage.processes().map(most_repeated).max().unwrap();
    let more = format!(
        "tries_without_answer={repeated} health_503_after={told:.1?} an_event_was_answered={status} after={answered:.1?} \
         accepts_again={accepted:.1?} delivers_again={delivered:.1?} waiting_cpu={cpu:.3} log_lines_a_second={times} ({what:?})"
    );
    stage
        .judge("rabbitmq_paused", &Rules::default(), PATIENCE, more)
        .await;
    assert_eq!(status, 503);
    assert!(answered <= 3 * ANSWERS_WITHIN && told <= 3 * HEALTH_WITHIN);
    assert!(accepted.max(delivered) <= 3 * BACK_WITHIN);
    assert!(cpu <= 3.0 * WAITING_CPU && times <= 3, "{what}");
}
