//! The nodes of a RabbitMQ cluster, killed, restarted and frozen one at a time, under load.

use std::time::Duration;

use nix::sys::signal::Signal;
use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, RabbitCluster, Receiver, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::watch::{longest_silence, most_repeated, slowest};

const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const STEADY: Duration = Duration::from_secs(5);
/// For how long a node stays away beyond what its start takes, or is frozen.
const AWAY: Duration = Duration::from_secs(10);
/// Until a node that is frozen is known to be: two heartbeats of 10 s, and some more.
const FROZEN: Duration = Duration::from_secs(30);

/// A pack whose dead-lettering was under way on the node that died is dead-lettered again after up to 3 minutes.
const ARRIVE_WITHIN: Duration = Duration::from_secs(240);
/// Within this, events are accepted again; asserted at three times that.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(15);

pub(crate) async fn run(_: Form) {
    let mut installation = Shared::with_rabbitmq_cluster().await;
    let version = version(installation.rabbitmq_cluster()).await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let mut stage = Stage::set(installation, receiver, plan()).await;
    let members = cluster(&mut stage).members().await;
    assert_eq!(members, (3, 3), "each queue has a member on each node");
    cluster(&mut stage).can_spare_one().await;

    let load = stage.load(CLIENTS, PAUSE);
    let loaded = Instant::now();
    sleep(STEADY).await;
    let mut figures = Vec::new();
    let mut faults = Vec::new();
    for number in [0, 1] {
        let begun = Instant::now();
        faults.push(begun - loaded);
        cluster(&mut stage).node(number).kill().await;
        settled(&stage, begun).await;
        sleep(AWAY).await;
        cluster(&mut stage).node(number).start_again().await;
        figures.push(after(&mut stage, "killed", begun).await);
    }
    let begun = Instant::now();
    for number in 0..3 {
        let stopped = Instant::now();
        faults.push(stopped - loaded);
        cluster(&mut stage).node(number).stop().await;
        settled(&stage, stopped).await;
        cluster(&mut stage).node(number).start_again().await;
        cluster(&mut stage).can_spare_one().await;
    }
    figures.push(after(&mut stage, "rolling", begun).await);
    let begun = Instant::now();
    faults.push(begun - loaded);
    cluster(&mut stage).node(2).signal(Signal::SIGSTOP);
    sleep(FROZEN).await;
    cluster(&mut stage).node(2).signal(Signal::SIGCONT);
    stage.fault(begun, Instant::now());
    figures.push(after(&mut stage, "frozen", begun).await);
    sleep(STEADY).await;
    let repeated = load.stop().await;

    let (times, what) = stage.processes().map(most_repeated).max().unwrap();
    let more = format!(
        "tries_without_answer={repeated} {} log_lines_a_second={times} ({what:?}) version={version}",
        figures.join(" ")
    );
    stage
        .judge("rabbitmq_cluster", &Rules::default(), ARRIVE_WITHIN, more)
        .await;
    let (accepted, took) = slowest(&stage.ledger, &stage.receiver);
    let after = accepted - loaded;
    println!(
        "rabbitmq_cluster: slowest={took:.1?} accepted_after={after:.1?} faults_at={faults:.0?}"
    );
    for server in stage.processes() {
        let anew = server.scrape().await;
        let anew = anew.sum("postrider_broker_queues_recreated_total", "");
        assert_eq!(anew, 0.0, "a queue that is slow to answer is not missing");
    }
}

/// Enough applications for most of the queues of events, whose leaders are spread over the nodes. An odd number, so that
/// each ingest gets events of each.
fn plan() -> Plan {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    Plan {
        tenants: names.map(|name| vec![name]).to_vec(),
        ..Plan::default()
    }
}

fn cluster(stage: &mut Stage) -> &mut RabbitCluster {
    stage.installation.rabbitmq_cluster()
}

async fn version(cluster: &RabbitCluster) -> String {
    let said = cluster.nodes()[0].ctl(&["--silent", "version"]).await;
    said.trim().to_owned()
}

/// Notes the fault, once every process is well without that node.
async fn settled(stage: &Stage, begun: Instant) {
    let before = stage.ledger.len();
    postrider_tests::until("events to be accepted", || stage.ledger.len() > before).await;
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    stage.fault(begun, Instant::now());
}

/// Waits until the cluster is whole again; how long an ingest accepted nothing for an application since `begun`, at most.
async fn after(stage: &mut Stage, what: &str, begun: Instant) -> String {
    cluster(stage).can_spare_one().await;
    sleep(STEADY).await;
    let gap = longest_silence(&stage.ledger, begun);
    assert!(gap <= 3 * ACCEPTS_WITHIN, "{what}: nothing for {gap:?}");
    format!("{what}: longest_gap={gap:.1?}")
}
