//! The log's own store killed for a while: nothing waits for it, and it has everything afterwards, within bounds.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, RedisServer, Shared, eventually};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{STEADY, assert_few_log_lines, counted, log_lines};
use crate::watch::Times;

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(150);
const AWAY: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_secs(5);
/// More payload than an ingest keeps for a log that is away.
const BIG: usize = 500 * 1024;
const BIG_EVENTS: usize = 160;

pub(crate) async fn run(_: Form) {
    let mut log = RedisServer::start().await;
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let plan = Plan {
        env: vec![("LOG_STORE", format!("redis://{}", log.address()))],
        ..Plan::default()
    };
    let stage = Stage::set(installation, receiver, plan).await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(STEADY + Duration::from_secs(1)).await;
    let killed = Instant::now();
    log.kill().await;
    wait_for_log(&stage, "degraded").await;
    tokio::time::sleep_until(killed + AWAY).await;
    log.start_again().await;
    let back = Instant::now();
    wait_for_log(&stage, "ok").await;
    let recovered = back.elapsed();
    sleep(AFTER).await;
    let longest = load.take_longest_answer();
    let refused = load.stop().await;
    stage.fault_without_excuse(killed, back);
    let share = |times: &Times| times.rate(killed, back) / times.rate(killed - STEADY, killed);
    let accepted = share(&Times::of_acceptance(&stage.ledger));
    let delivered = share(&Times::of_arrivals(&stage.receiver));
    let dropped = dropped(&stage).await;
    let more = format!(
        "refused={refused} longest_answer={longest:.1?} accepted_meanwhile={accepted:.2} delivered_meanwhile={delivered:.2} (of before) \
         log_records_dropped={dropped} log_again={recovered:.1?} log_lines_a_second={:?}",
        log_lines(&stage)
    );
    // The ends of all pairs are read from the log: it has everything.
    stage
        .judge("log_store_away", &Rules::default(), PATIENCE, more)
        .await;
    assert_eq!((refused, dropped), (0, 0.0));
    assert_few_log_lines(&stage);
    beyond_the_bound(&stage, &mut log).await;
}

/// The oldest are dropped, and counted.
async fn beyond_the_bound(stage: &Stage, log: &mut RedisServer) {
    log.kill().await;
    let app = &stage.tenants[0].id;
    let before = stage.receiver.count();
    let payload = "x".repeat(BIG);
    for _ in 0..BIG_EVENTS {
        let accepted = stage
            .cluster
            .api
            .event(app, "big.one", json!({"text": payload}))
            .await;
        accepted.expect("accepted although the log is away");
    }
    eventually("records to be dropped", || async {
        (dropped(stage).await > 0.0).then_some(())
    })
    .await;
    stage.receiver.wait_for(before + BIG_EVENTS).await;
    let dropped = dropped(stage).await;
    log.start_again().await;
    wait_for_log(stage, "ok").await;
    println!(
        "log_store_away: big_events={BIG_EVENTS} all delivered, log_records_dropped={dropped}"
    );
}

/// Of all processes.
async fn wait_for_log(stage: &Stage, status: &str) {
    for server in stage.processes() {
        eventually("the log to be seen as it is", || async {
            let (code, report) = server.health().await?;
            assert_eq!(code, 200, "nothing depends on the log: {report}");
            let of_all = report["status"] == status;
            (of_all && (status == "ok" || report["dependencies"]["log"]["status"] != "ok"))
                .then_some(())
        })
        .await;
    }
}

async fn dropped(stage: &Stage) -> f64 {
    counted(stage, "postrider_log_records_dropped_total", "").await
        + counted(
            stage,
            "postrider_api_batch_records_dropped_total",
            "batch=\"log\"",
        )
        .await
}
