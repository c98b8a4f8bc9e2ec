//! A Redis Cluster of three masters, each with a replica; the master that holds the registry's versions is killed under load.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, RedisCluster, Shared};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Changes, Rates, STEADY, counted, judge_arrivals};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(150);
/// The key beneath which the registry's epoch lies.
const INSTALLATION: &str = "pr1:{pr}re";
const CLIENTS_WAIT: Duration = Duration::from_secs(10);
const KILLS: usize = 2;
/// In seconds.
const SCHEDULE: [u64; 3] = [2, 2, 2];
const TIMEOUT: &str = "2s";
/// A claim that was made and whose answer was lost with its server is in the way until its lease ends, 5 s after the request
/// would have; then the ladder's step. Three times that.
const LATE: Duration = Duration::from_secs(30);

pub(crate) async fn run(_: Form) {
    let mut redis = RedisCluster::start().await;
    let installation = Shared::new().await;
    let failed = Mutex::new(HashSet::new());
    // What failed once is claimed before it is tried again.
    let receiver = Receiver::start(move |_, request| {
        let fails = request.endpoint == "flaky" && failed.lock().insert(request.id.clone());
        Answer::Status(if fails { 500 } else { 200 })
    })
    .await;
    let plan = Plan {
        tenants: vec![vec!["one"], vec!["flaky"]],
        env: vec![
            ("STORE", redis.url()),
            ("REQUEST_TIMEOUT", TIMEOUT.to_owned()),
            ("RETRY_SCHEDULE", json!(SCHEDULE).to_string()),
        ],
        ..Plan::default()
    };
    let stage = Stage::set(installation, receiver, plan).await;
    let load = stage.load(CLIENTS, PAUSE);
    let changes = Changes::start(&stage.cluster.api, &stage.cluster.addresses).await;
    sleep(Duration::from_secs(1)).await;
    let mut figures = String::new();
    for _ in 0..KILLS {
        sleep(STEADY).await;
        let master = redis.master_of(INSTALLATION).await;
        let normal = Rates::now(&stage);
        let killed = Instant::now();
        redis.kill(master).await;
        redis.promoted_without(master).await;
        let promoted = Instant::now();
        for server in stage.processes() {
            server.wait_for_health(200).await;
        }
        stage.fault_without_excuse(killed, promoted);
        let (promotion, ready) = (promoted - killed, promoted.elapsed());
        let back = normal.back(&stage, promoted).await;
        figures += &format!("promoted={promotion:.1?} ready={ready:.1?} {back} ");
        redis.start_again(master).await;
    }
    let longest = load.take_longest_answer();
    let refused = load.stop().await;
    let (answered, missing) = changes.stop().await;
    let losses = counted(&stage, "postrider_registry_losses_total", "").await;
    let rewinds = counted(&stage, "postrider_registry_rewinds_total", "").await;
    let healed = counted(&stage, "postrider_registry_changes_healed_total", "").await;
    let more = format!(
        "refused={refused} longest_answer={longest:.1?} {figures}losses_seen={losses} rewinds_seen={rewinds} healed={healed} \
         changes_answered={answered} missing={}",
        missing.len(),
    );
    let rules = Rules {
        schedule: SCHEDULE.map(Duration::from_secs).to_vec(),
        late: Some(LATE),
        ..Rules::default()
    };
    judge_arrivals(&stage, "redis_cluster", &rules, PATIENCE, more).await;
    assert_eq!(losses, 0.0, "the registry was taken for lost");
    assert!(
        missing.is_empty(),
        "changes that were answered 2xx: {missing:#?}"
    );
    assert!(longest <= 3 * CLIENTS_WAIT, "{longest:?}");
}
