//! A Redis Cluster of three masters, each with a replica; the master that holds the registry's versions is killed under load.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, RedisCluster, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Changes, counted, judge_arrivals};
use crate::watch::{Times, most_repeated};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const STEADY: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(12);
/// The key beneath which the registry's epoch lies.
const INSTALLATION: &str = "pr1:{pr}re";
const SHARE: f64 = 0.9;
const BACK_WITHIN: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 1;
const CLIENTS_WAIT: Duration = Duration::from_secs(10);
const KILLS: usize = 2;

pub(crate) async fn run(_: Form) {
    let mut redis = RedisCluster::start().await;
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let plan = Plan {
        env: vec![("STORE", redis.url())],
        ..Plan::default()
    };
    let stage = Stage::set(installation, receiver, plan).await;
    let load = stage.load(CLIENTS, PAUSE);
    let changes = Changes::start(&stage.cluster.api, &stage.cluster.addresses).await;
    sleep(Duration::from_secs(1)).await;
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        sleep(STEADY).await;
        let master = redis.master_of(INSTALLATION).await;
        let killed = Instant::now();
        redis.kill(master).await;
        redis.promoted_without(master).await;
        let promoted = Instant::now();
        for server in stage.processes() {
            server.wait_for_health(200).await;
        }
        stage.fault_without_excuse(killed, promoted);
        kills.push((killed, promoted, promoted.elapsed()));
        redis.start_again(master).await;
        sleep(AFTER).await;
    }
    let longest = load.take_longest_answer();
    let refused = load.stop().await;
    let (answered, missing) = changes.stop().await;
    let arrivals = Times::of_arrivals(&stage.receiver);
    let acceptance = Times::of_acceptance(&stage.ledger);
    let back = |times: &Times, killed: Instant, promoted: Instant| {
        let normal = times.rate(killed - STEADY, killed);
        times
            .back_after(promoted, normal, SHARE)
            .expect("it goes on as before")
    };
    let mut figures = String::new();
    for (killed, promoted, ready) in kills {
        let accepts = back(&acceptance, killed, promoted);
        let delivers = back(&arrivals, killed, promoted);
        assert!(accepts.max(delivers).max(ready) <= 3 * BACK_WITHIN);
        let promotion = promoted - killed;
        figures += &format!(
            "promoted={promotion:.1?} ready={ready:.1?} accepts_again={accepts:.1?} delivers_again={delivers:.1?} "
        );
    }
    let losses = counted(&stage, "postrider_registry_losses_total", "").await;
    let rewinds = counted(&stage, "postrider_registry_rewinds_total", "").await;
    let healed = counted(&stage, "postrider_registry_changes_healed_total", "").await;
    let (times, what) = stage.processes().map(most_repeated).max().unwrap();
    let more = format!(
        "refused={refused} longest_answer={longest:.1?} {figures}losses_seen={losses} rewinds_seen={rewinds} healed={healed} \
         changes_answered={answered} missing={} log_lines_a_second={times} ({what:?})",
        missing.len()
    );
    judge_arrivals(&stage, "redis_cluster", &Rules::default(), PATIENCE, more).await;
    assert_eq!(losses, 0.0, "the registry was taken for lost");
    assert!(
        missing.is_empty(),
        "changes that were answered 2xx: {missing:#?}"
    );
    assert!(longest <= 3 * CLIENTS_WAIT, "{longest:?}");
    assert!(times <= 3 * LOG_LINES, "{times} lines in a second: {what}");
}
