//! One event that ends whoever touches it, among a hundred that do not, some of them in its pack.
//!
//! The worker is started again each time. Deaths that the event does not cause any more are made by `kill -9`.

use std::time::Duration;

use postrider_tests::ledger::{Accepted, Rules};
use postrider_tests::{Answer, PATIENCE, Receiver, Role, Server, Settings, Shared, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};

/// In the payload of the one.
const MARKER: &str = "whoever reads this ends";
const OTHERS: usize = 100;
const DEATHS: usize = 30;
/// Five with its pack, five by itself, three on trial; the broker may miss one of each five.
const OF_ITSELF: usize = 15;
/// What a worker that died had claimed waits for longer than that.
const TIMEOUT: &str = "2s";
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) async fn run(_: Form) {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let plan = Plan {
        ingests: 1,
        workers: 0,
        tenants: vec![vec!["one"]],
        env: vec![
            ("TEST_ABORT_ON", MARKER.to_owned()),
            ("REQUEST_TIMEOUT", TIMEOUT.to_owned()),
        ],
        ..Plan::default()
    };
    let mut stage = Stage::set(installation, receiver, plan).await;
    let deadly = publish(&stage).await;
    let packs = packs(&stage).await;
    assert!(packs < OTHERS / 2, "packs are shared: {packs}");
    let begun = Instant::now();
    let deaths = die(&stage).await;
    stage.fault(begun, Instant::now());
    let took = begun.elapsed();
    let worker = stage.settings.clone().role(Role::Worker);
    stage.cluster.workers.push(Server::start(&worker).await);
    let figures = format!(
        "packs={packs} of_itself={} killed={} took={took:.1?}",
        deaths.of_itself, deaths.killed
    );
    let verdict = stage
        .judge("crash_loop", &Rules::default(), 3 * PATIENCE, figures)
        .await;
    let letters = stage.letters().await;
    assert_poison(&letters, &deadly);
    assert_eq!((verdict.accepted, verdict.delivered), (OTHERS, OTHERS));
    assert!(deaths.of_itself <= OF_ITSELF, "{}", deaths.of_itself);
    let shown = stage.shown(&deadly).await;
    assert_eq!(shown, json!(2), "the log shows that it was given up");
}

/// All at once, so that they share packs, and before there is a worker. Returns the deadly one.
async fn publish(stage: &Stage) -> String {
    let mut sending = JoinSet::new();
    let tenant = &stage.tenants[0];
    for number in 0..=OTHERS {
        let (api, app) = (stage.cluster.api.clone(), tenant.id.clone());
        let is_deadly = number == OTHERS / 2;
        let note = if is_deadly { MARKER } else { "harmless" };
        sending.spawn(async move {
            let payload = json!({"number": number, "note": note});
            (is_deadly, api.event(&app, "order.paid", payload).await)
        });
    }
    let mut deadly = None;
    while let Some(sent) = sending.join_next().await {
        let (is_deadly, message) = sent.unwrap();
        let message = message.expect("it is accepted");
        if is_deadly {
            deadly = Some(message);
            continue;
        }
        stage.ledger.accept(Accepted {
            message,
            app: tenant.id.clone(),
            endpoints: tenant.names(),
            at: Instant::now(),
            by: String::new(),
        });
    }
    deadly.unwrap()
}

async fn packs(stage: &Stage) -> usize {
    let ingest = &stage.cluster.ingests[0];
    eventually("the packs to be counted", || async {
        let ready = ingest.scrape().await;
        let ready = ready.sum("postrider_queue_packs", "state=\"ready\"");
        (ready > 0.0).then_some(ready as usize)
    })
    .await
}

struct Deaths {
    of_itself: usize,
    killed: usize,
}

/// Starts one worker after the other, until so many have died.
async fn die(stage: &Stage) -> Deaths {
    let settings = stage.settings.clone().role(Role::Worker);
    let mut deaths = Deaths {
        of_itself: 0,
        killed: 0,
    };
    let mut said = Said::default();
    while deaths.of_itself + deaths.killed < DEATHS {
        match live(stage, &settings, &mut said).await {
            End::OfItself => deaths.of_itself += 1,
            End::Killed => deaths.killed += 1,
        }
    }
    println!("crash_loop: {}", said.0.join("\n"));
    deaths
}

enum End {
    OfItself,
    Killed,
}

/// One worker's life. It is killed once the deadly event is filed and there is something to be killed.
async fn live(stage: &Stage, settings: &Settings, said: &mut Said) -> End {
    let Ok(mut worker) = Server::try_launch(settings).await else {
        return End::OfItself;
    };
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        if worker.has_ended() {
            said.add(&worker);
            return End::OfItself;
        }
        let is_well = matches!(worker.health().await, Some((200, _)));
        if is_well && !stage.letters().await.is_empty() {
            said.add(&worker);
            worker.kill().await;
            return End::Killed;
        }
        assert!(Instant::now() < deadline, "it is neither dead nor done");
        sleep(LOOK_AGAIN).await;
    }
}

/// Lines of the logs that an operator sees, each once.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn add(&mut self, worker: &Server) {
        for line in worker.log_lines().lock().iter() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let told = format!("{} {}", text("level"), text("message"));
            if !told.starts_with("INFO") && !self.0.contains(&told) {
                self.0.push(told);
            }
        }
    }
}

impl Stage {
    async fn letters(&self) -> Vec<Value> {
        let path = format!("/api/v1/app/{}/dead-letter", self.tenants[0].id);
        self.cluster.api.list(&path).await
    }

    /// How the log shows the one delivery of a message.
    async fn shown(&self, message: &str) -> Value {
        let path = format!("/api/v1/app/{}/msg/{message}/endpoint", self.tenants[0].id);
        let list = self.cluster.api.list(&path).await;
        list[0]["status"].clone()
    }
}

fn assert_poison(letters: &[Value], message: &str) {
    let [letter] = letters else {
        panic!("one event is a dead letter: {letters:?}");
    };
    assert_eq!(letter["msgId"], message);
    assert_eq!(letter["reason"], "poison");
    assert_eq!(letter["payload"]["note"], MARKER, "it has its payload");
}
