//! Redis killed and started again under load, while endpoints are created and changed: once as it was, once without its
//! last second, as where its machine dies.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Changes, Rates, STEADY, counted, judge_arrivals};
use crate::watch::Cpu;

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(150);
const AWAY: Duration = Duration::from_secs(3);
/// What a machine that dies takes along.
const LAST: Duration = Duration::from_secs(1);

/// Of a core, for a process that waits; asserted at three times that.
const WAITING_CPU: f64 = 0.05;
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
        sleep(form.pick(STEADY, 3 * STEADY)).await;
        restarts.push(restart(&mut stage, loses).await);
    }
    let longest = load.take_longest_answer();
    let repeated = load.stop().await;
    let (answered, missing) = changes.stop().await;
    let rewinds = counted(&stage, "postrider_registry_rewinds_total", "").await;
    let healed = counted(&stage, "postrider_registry_changes_healed_total", "").await;
    let more = format!(
        "tries_without_answer={repeated} longest_answer={longest:.1?} {} changes_answered={answered} missing={} \
         rewinds_seen={rewinds} healed={healed}",
        restarts.join(" "),
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
}

async fn restart(stage: &mut Stage, loses: bool) -> String {
    let written = stage.installation.redis.written();
    sleep(LAST).await;
    let normal = Rates::now(stage);
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
    let ready = accepting.elapsed();
    // No delivery is repeated because Redis was away: what was sent and not recorded is not let go.
    stage.fault_without_excuse(killed, accepting);
    let back = normal.back(stage, accepting).await;
    assert!(cpu <= 3.0 * WAITING_CPU, "{cpu} of a core");
    format!("{back} ready={ready:.1?} waiting_cpu={cpu:.3}")
}
