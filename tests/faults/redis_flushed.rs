//! Redis emptied under load, and its registry imported again: what was lost must not look like nobody being there.

use std::time::Duration;

use nix::sys::signal::Signal;
use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Backup, Rates, STEADY, counted, judge_arrivals};
use crate::watch::Times;

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(150);
/// For how long workers are stopped before, so that there are first attempts to be made.
const BACKLOG: Duration = Duration::from_secs(1);

pub(crate) async fn run(form: Form) {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let stage = Stage::set(installation, receiver, Plan::default()).await;
    let backup = Backup::of(&stage.settings).await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(STEADY + Duration::from_secs(1)).await;

    let normal = Rates::now(&stage);
    for worker in &stage.cluster.workers {
        worker.signal(Signal::SIGSTOP);
    }
    sleep(BACKLOG).await;
    let waiting = stage.ledger.len() - stage.receiver.count();
    let flushed = Instant::now();
    stage.installation.redis.flush().await;
    for worker in &stage.cluster.workers {
        worker.signal(Signal::SIGCONT);
    }
    for server in stage.processes() {
        server.wait_for_health(503).await;
    }
    let refused_before = load.unanswered();
    sleep(form.pick(Duration::from_secs(4), Duration::from_secs(20))).await;
    let accepted_while_lost = Times::of_acceptance(&stage.ledger);
    let lost_for = Duration::from_secs(3);
    let now = Instant::now();
    let accepted_while_lost = accepted_while_lost.rate(now - lost_for, now);
    let refused = load.unanswered() - refused_before;
    let meanwhile = stage.receiver.count();

    backup.import(&stage.settings).await;
    let imported = Instant::now();
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    let ready = imported.elapsed();
    let back = normal.back(&stage, imported).await;
    load.stop().await;
    stage.fault_without_excuse(flushed, imported);

    let canceled = counted(&stage, "postrider_canceled_total", "").await;
    let losses = counted(&stage, "postrider_registry_losses_total", "").await;
    let more = format!(
        "waiting={waiting} refused={refused} accepted_while_lost={accepted_while_lost:.1}/s canceled={canceled} losses_seen={losses} \
         ready={ready:.1?} {back}",
    );
    judge_arrivals(&stage, "redis_flushed", &Rules::default(), PATIENCE, more).await;
    assert!(
        waiting > 0 && meanwhile >= waiting,
        "workers do not go on by what they know"
    );
    assert!(
        refused > 0 && accepted_while_lost < 1.0,
        "a registry that is lost is not an empty one"
    );
    assert_eq!(canceled, 0.0, "nobody wanted it to be canceled");
    assert_eq!(
        losses,
        stage.processes().count() as f64,
        "each process sees the loss once"
    );
}
