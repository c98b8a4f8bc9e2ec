//! What scenarios of Redis share: a tenant whose endpoints change all the time, backups, what was accepted against what
//! arrived where the log has lost its part.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postrider_tests::ledger::{Rules, judge};
use postrider_tests::{Addresses, Api, Received, Server, Settings, Verdict, within};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::stage::Stage;
use crate::watch::{Times, most_repeated};

/// Endpoints that are changed in turns.
const ENDPOINTS: usize = 20;
const BETWEEN: Duration = Duration::from_millis(20);

/// Somebody who creates and changes endpoints, and notes what was answered 2xx.
pub(crate) struct Changes {
    app: String,
    api: Api,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    stop: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By identifier, what the description may be: the last that was answered 2xx, or one whose answer never came after it.
    endpoints: BTreeMap<String, Vec<String>>,
    answered: usize,
}

impl Changes {
    /// In an application of its own, which gets no events.
    pub(crate) async fn start(api: &Api, addresses: &Addresses) -> Self {
        let app = api.post("/api/v1/app", json!({"name": "Changing"})).await;
        let app = app["id"].as_str().unwrap().to_owned();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            known: Mutex::default(),
        });
        let writer = Writer {
            app: app.clone(),
            api: api.clone(),
            addresses: addresses.clone(),
            shared: Arc::clone(&shared),
        };
        Self {
            app,
            api: api.clone(),
            shared,
            task: tokio::spawn(writer.run()),
        }
    }

    /// Writes no more. Returns how many were answered 2xx, and those that are not there.
    pub(crate) async fn stop(self) -> (usize, Vec<String>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let path = format!("/api/v1/app/{}/endpoint", self.app);
        let endpoints = self.api.list(&path).await;
        let found: BTreeMap<&str, &str> = endpoints
            .iter()
            .map(|endpoint| (text(endpoint, "id"), text(endpoint, "description")))
            .collect();
        let known = self.shared.known.lock();
        let missing = known.endpoints.iter().filter(|(id, may_be)| {
            let is = found.get(id.as_str());
            !is.is_some_and(|is| may_be.iter().any(|text| text == is))
        });
        let missing = missing.map(|(id, may_be)| {
            format!("{id}: {:?} instead of {may_be:?}", found.get(id.as_str()))
        });
        (known.answered, missing.collect())
    }
}

struct Writer {
    app: String,
    api: Api,
    addresses: Addresses,
    shared: Arc<Shared>,
}

impl Writer {
    async fn run(self) {
        let mut number = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            number += 1;
            self.write(number).await;
            sleep(BETWEEN).await;
        }
    }

    async fn write(&self, number: usize) {
        let Some(address) = self.addresses.pick(number) else {
            return;
        };
        let api = self.api.at(&address);
        let path = format!("/api/v1/app/{}/endpoint", self.app);
        let body = json!({"url": "http://127.0.0.1:9/spare", "description": number.to_string()});
        match self.to_change(number) {
            None => {
                let answer = api.send(Method::POST, &path, Some(body)).await;
                if let Some(made) = success(answer).await {
                    self.note(text(&made, "id"), number, true);
                }
            }
            Some(id) => {
                self.note(&id, number, false);
                let path = format!("{path}/{id}");
                let body = json!({"description": number.to_string()});
                if success(api.send(Method::PATCH, &path, Some(body)).await)
                    .await
                    .is_some()
                {
                    self.note(&id, number, true);
                }
            }
        }
    }

    /// Every fifth write makes a new one, as long as there are not too many.
    fn to_change(&self, number: usize) -> Option<String> {
        let known = self.shared.known.lock();
        let count = known.endpoints.len();
        let makes_one = count == 0 || (number.is_multiple_of(5) && count < ENDPOINTS);
        let id = known.endpoints.keys().nth(number % count.max(1));
        id.filter(|_| !makes_one).cloned()
    }

    fn note(&self, id: &str, number: usize, answered: bool) {
        let mut known = self.shared.known.lock();
        known.answered += usize::from(answered);
        let may_be = known.endpoints.entry(id.to_owned()).or_default();
        if answered {
            may_be.clear();
        }
        may_be.push(number.to_string());
    }
}

async fn success(answer: reqwest::Result<reqwest::Response>) -> Option<Value> {
    let answer = answer.ok().filter(|answer| answer.status().is_success())?;
    answer.json().await.ok()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// `postrider registry export` and `import`.
pub(crate) struct Backup(tempfile::TempDir);

impl Backup {
    pub(crate) async fn of(settings: &Settings) -> Self {
        let backup = Self(tempfile::TempDir::new().unwrap());
        let file = backup.file();
        let (done, said) = Server::run(settings, &["registry", "export", "--to", &file]).await;
        assert!(done, "{said}");
        backup
    }

    pub(crate) async fn import(&self, settings: &Settings) -> String {
        let (done, said) = Server::run(settings, &["registry", "import", &self.file()]).await;
        assert!(done, "{said}");
        said
    }

    fn file(&self) -> String {
        let path = self.0.path().join("registry.jsonl");
        path.to_str().unwrap().to_owned()
    }
}

/// Waits until everything accepted was answered 2xx, prints the figures, and asserts that everything promised was kept, as far
/// as the receivers can tell: for what the log was to say of it may be lost.
pub(crate) async fn judge_arrivals(
    stage: &Stage,
    name: &str,
    rules: &Rules,
    bound: Duration,
    more: impl fmt::Display,
) -> Verdict {
    let welcome = |request: &&Received| request.answered.is_some_and(|status| status < 300);
    let arrived = within(bound, || async {
        let requests = |all: &[Received]| all.iter().filter(welcome).cloned().collect::<Vec<_>>();
        let complete = stage.ledger.is_complete(&stage.receiver.look(requests));
        complete.then_some(())
    });
    if arrived.await.is_none() {
        println!("{name}: not everything arrived within {bound:?}");
    }
    let verdict = judge(&stage.ledger.history(&stage.receiver), rules);
    println!(
        "{name}: {verdict} {more} log_lines_a_second={:?}",
        log_lines(stage)
    );
    verdict.assert_kept();
    assert_few_log_lines(stage);
    verdict
}

/// The rate is to be back to this share within [`BACK_WITHIN`]; asserted at three times that.
const SHARE: f64 = 0.9;
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Of one cause, in a second; asserted at three times that.
const LOG_LINES: usize = 1;
/// Over which the rate before is taken.
pub(crate) const STEADY: Duration = Duration::from_secs(4);

/// How much was accepted and delivered in a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    accepted: f64,
    delivered: f64,
}

impl Rates {
    /// Of the last seconds.
    pub(crate) fn now(stage: &Stage) -> Self {
        let now = Instant::now();
        let rate = |times: Times| times.rate(now - STEADY, now);
        Self {
            accepted: rate(Times::of_acceptance(&stage.ledger)),
            delivered: rate(Times::of_arrivals(&stage.receiver)),
        }
    }

    /// Waits until both are back after a fault that was over at `over`, and says how long that took.
    pub(crate) async fn back(self, stage: &Stage, over: Instant) -> String {
        let back = within(3 * BACK_WITHIN, || async {
            let acceptance = Times::of_acceptance(&stage.ledger);
            let arrivals = Times::of_arrivals(&stage.receiver);
            let accepts = acceptance.back_after(over, self.accepted, SHARE)?;
            let delivers = arrivals.back_after(over, self.delivered, SHARE)?;
            Some((accepts, delivers))
        });
        let Some((accepts, delivers)) = back.await else {
            panic!(
                "it does not go on as before: {self:?}, now {:?}",
                Self::now(stage)
            );
        };
        format!("accepts_again={accepts:.1?} delivers_again={delivers:.1?}")
    }
}

/// Of all processes: the most lines of one cause in a second, and which.
pub(crate) fn log_lines(stage: &Stage) -> (usize, String) {
    stage.processes().map(most_repeated).max().unwrap()
}

pub(crate) fn assert_few_log_lines(stage: &Stage) {
    let (times, what) = log_lines(stage);
    assert!(times <= 3 * LOG_LINES, "{times} lines in a second: {what}");
}

/// The sum of a counter over all processes.
pub(crate) async fn counted(stage: &Stage, name: &str, label: &str) -> f64 {
    let mut sum = 0.0;
    for server in stage.processes() {
        sum += server.scrape().await.sum(name, label);
    }
    sum
}
