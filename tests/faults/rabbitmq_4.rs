//! RabbitMQ 4: what `check` says of it, a ledger with kills of workers and retries, and the scenarios in which what RabbitMQ
//! itself counts and returns matters.

use std::process::Stdio;
use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{JWT_SECRET, PATIENCE, Role, Server, Shared, binary, kill_worker};
use tokio::process::Command;
use tokio::time::sleep;

use crate::Form;
use crate::failing;
use crate::stage::{Plan, Stage};

const PROGRAMS: &str = "POSTRIDER_TEST_RABBITMQ4_SBIN";
const CLIENTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const KILLS: usize = 10;
const BETWEEN: Duration = Duration::from_secs(1);
/// What a killed worker had claimed waits for longer than that.
const TIMEOUT: &str = "2s";
/// Garbage on every queue, quarantine and its way back, and the way of what cannot be handed off.
const OTHERS: [&str; 3] = ["garbage", "crash_loop", "memory_alarm"];

pub(crate) async fn run(_: Form) {
    let mut installation = Shared::with_rabbitmq_4().await;
    let version = installation.rabbitmq().ctl(&["--silent", "version"]).await;
    let version = version.trim().to_owned();
    assert!(version.starts_with("4."), "{version}");
    let said = check(&installation).await;
    assert!(said.contains(&format!("RabbitMQ {version} at amqp://")));
    assert!(said.contains("no queues yet"), "{said}");

    let mut stage = Stage::set(installation, failing::receiver().await, plan()).await;
    let said = check(&stage.installation).await;
    assert!(said.contains("all queues are there"), "{said}");
    let load = stage.load(CLIENTS, PAUSE);
    for _ in 0..KILLS {
        sleep(BETWEEN).await;
        let victim = stage.cluster.workers.remove(0);
        kill_worker(victim, &stage.ledger).await;
        let settings = stage.settings.clone().role(Role::Worker);
        stage.cluster.workers.push(Server::start(&settings).await);
    }
    let repeated = load.stop().await;
    let rules = Rules {
        // Debug builds that are started leave little of two cores for the outcomes.
        flush: Duration::from_millis(1_500),
        ..failing::rules()
    };
    let more = format!("kills={KILLS} tries_without_answer={repeated} version={version}");
    stage.judge("rabbitmq_4", &rules, 2 * PATIENCE, more).await;
    for name in OTHERS {
        again(name, &mut stage.installation).await;
    }
}

fn plan() -> Plan {
    let mut plan = failing::plan();
    plan.env.push(("REQUEST_TIMEOUT", TIMEOUT.to_owned()));
    Plan { workers: 3, ..plan }
}

/// Another scenario, on this RabbitMQ and others of its kind.
async fn again(name: &str, installation: &mut Shared) {
    let node = installation.rabbitmq();
    let server = format!("amqp://guest:guest@{}", node.address());
    let itself = std::env::current_exe().unwrap();
    let mut command = Command::new(itself);
    command
        .args(["--exact", name, "--nocapture"])
        .env("POSTRIDER_TEST_AMQP", server)
        .env("POSTRIDER_TEST_RABBITMQ_API", node.management())
        .env(
            "POSTRIDER_TEST_RABBITMQ_SBIN",
            std::env::var(PROGRAMS).unwrap(),
        )
        .kill_on_drop(true);
    let status = command.status().await.unwrap();
    assert!(status.success(), "{name} on RabbitMQ 4");
}

/// What `postrider check` prints.
async fn check(installation: &Shared) -> String {
    let mut command = Command::new(binary());
    command
        .arg("check")
        .env_clear()
        .env("POSTRIDER_JWT_SECRET", JWT_SECRET)
        .env("POSTRIDER_LISTEN", "127.0.0.1:0")
        .env("POSTRIDER_METRICS_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, value) in installation.settings().env {
        command.env(format!("POSTRIDER_{name}"), value);
    }
    let output = command.output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
