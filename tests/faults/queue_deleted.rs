//! An operator deletes queues while everything runs.
//!
//! | queue | noticed by | what becomes of it |
//! |---|---|---|
//! | of events, empty | a worker | made anew |
//! | of events, empty, with its exchange | an ingest, alone | the same |
//! | of events, full | an ingest, alone | made anew; the loss is reported; its messages are found and resent |
//! | steps of the ladder, full | whoever counts | the same for retries |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_tests::ledger::{Accepted, Rules, judge};
use postrider_tests::{
    Answer, Management, PATIENCE, Receiver, Role, Scrape, Server, Shared, eventually, within,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};

/// Each in a pack of its own, since one follows the other.
const EVENTS: usize = 40;
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);
/// Seconds: on the ladder it waits in one of these steps.
const RETRY_AFTER: u64 = 20;
const STEPS: std::ops::RangeInclusive<u8> = 15..=20;
/// Queues are counted every 5 s; asserted at three times that.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

pub(crate) async fn run(_: Form) {
    let refuses = Arc::new(AtomicBool::new(false));
    let mut site = Site::set(Arc::clone(&refuses)).await;
    let by_worker = site.lose_empty_queues().await;
    site.stop_worker().await;
    let by_ingest = site.lose_exchange_and_queues().await;
    site.start_worker().await;
    site.everything_arrives("what was sent around empty queues")
        .await;

    site.stop_worker().await;
    let lost = site.lose_full_queues().await;
    site.start_worker().await;
    let resent = site.resend_what_nobody_tried().await;
    assert_eq!(resent, EVENTS, "what was lost can be told");
    site.everything_arrives("what was resent").await;

    refuses.store(true, Ordering::SeqCst);
    let waiting = site.lose_ladder().await;
    refuses.store(false, Ordering::SeqCst);
    let retried = site.resend_what_waits_in_vain().await;
    assert_eq!(retried, EVENTS);
    site.everything_arrives("what was retried by hand").await;
    let more = format!(
        "made_anew_by_worker={by_worker:.1?} by_ingest={by_ingest:.1?} packs_reported_lost={lost} retries_reported_lost={waiting} \
         resent={}",
        resent + retried
    );
    site.judge(&more).await;
}

struct Site {
    stage: Stage,
    management: Management,
    /// Those of which the loss is not yet made good.
    last: Vec<String>,
}

impl Site {
    async fn set(refuses: Arc<AtomicBool>) -> Self {
        let status = move || {
            if refuses.load(Ordering::SeqCst) {
                500
            } else {
                200
            }
        };
        let receiver = Receiver::start(move |_, _| Answer::Status(status())).await;
        let plan = Plan {
            ingests: 1,
            workers: 1,
            tenants: vec![vec!["one"]],
            env: vec![("RETRY_SCHEDULE", format!("[{RETRY_AFTER}]"))],
            ..Plan::default()
        };
        let stage = Stage::set(Shared::new().await, receiver, plan).await;
        Self {
            management: stage.installation.management(),
            stage,
            last: Vec::new(),
        }
    }

    fn ingest(&self) -> &Server {
        &self.stage.cluster.ingests[0]
    }

    async fn stop_worker(&mut self) {
        let worker = self.stage.cluster.workers.pop().unwrap();
        worker.terminate().await;
    }

    async fn start_worker(&mut self) {
        let settings = self.stage.settings.clone().role(Role::Worker);
        let worker = Server::start(&settings).await;
        self.stage.cluster.workers.push(worker);
    }

    /// How long it takes until they are there again.
    async fn lose_empty_queues(&self) -> Duration {
        let mut names = events();
        names.extend(["pr.v1.retry.3", "pr.v1.dead", "pr.v1.quarantine"].map(str::to_owned));
        let took = self.lose(&names).await;
        self.some_load().await;
        took
    }

    /// Publishes meet it at once.
    async fn lose_exchange_and_queues(&self) -> Duration {
        self.management.delete_exchange("pr.v1.events").await;
        for name in events() {
            self.management.delete_queue(&name).await;
        }
        let begun = Instant::now();
        self.some_load().await;
        let names = self.management.queues().await;
        assert!(events().iter().all(|name| names.contains(name)));
        begun.elapsed()
    }

    async fn lose_full_queues(&mut self) -> f64 {
        self.last = self.send(EVENTS).await;
        self.count_shows("ready", EVENTS).await;
        self.lose(&events()).await;
        self.ingest().wait_for_health(200).await;
        let metrics = self.ingest().scrape().await;
        let lost = of(&metrics, "postrider_broker_packs_lost_total", "events");
        let queues = of(
            &metrics,
            "postrider_broker_queues_recreated_total",
            "events",
        );
        assert_eq!(lost as usize, EVENTS, "as they were last counted");
        assert!(queues >= 8.0, "{queues}");
        self.says_what_was_lost(self.ingest(), "pr.v1.events.");
        lost
    }

    async fn lose_ladder(&mut self) -> f64 {
        let before = self.stage.receiver.count();
        self.last = self.send(EVENTS).await;
        self.stage.receiver.wait_for(before + EVENTS).await;
        let known = || async {
            let packs = of_state(&self.ingest().scrape().await, "waiting");
            (packs > 0.0).then_some(packs)
        };
        eventually("retries to be counted", known).await;
        // The last of them may have been handed off behind that count.
        sleep(2 * NOTICED_WITHIN).await;
        let names: Vec<String> = STEPS.map(|step| format!("pr.v1.delay.{step}")).collect();
        self.lose(&names).await;
        eventually("somebody to report it", || async {
            for server in self.stage.processes() {
                let metrics = server.scrape().await;
                let lost = of(&metrics, "postrider_broker_packs_lost_total", "delay");
                if lost > 0.0 {
                    self.says_what_was_lost(server, "pr.v1.delay.");
                    return Some(lost);
                }
            }
            None
        })
        .await
    }

    async fn lose(&self, names: &[String]) -> Duration {
        for name in names {
            self.management.delete_queue(name).await;
        }
        let begun = Instant::now();
        eventually("queues to be made anew", || async {
            let there = self.management.queues().await;
            names.iter().all(|name| there.contains(name)).then_some(())
        })
        .await;
        let took = begun.elapsed();
        assert!(took <= 3 * NOTICED_WITHIN, "{took:?}");
        took
    }

    async fn some_load(&self) {
        let load = self.stage.load(CLIENTS, PAUSE);
        sleep(Duration::from_secs(2)).await;
        load.stop().await;
    }

    /// One after the other.
    async fn send(&self, count: usize) -> Vec<String> {
        let tenant = &self.stage.tenants[0];
        let mut sent = Vec::new();
        for number in 0..count {
            let payload = json!({"number": number});
            let message = self
                .stage
                .cluster
                .api
                .event(&tenant.id, "order.paid", payload)
                .await;
            let message = message.unwrap();
            self.stage.ledger.accept(Accepted {
                message: message.clone(),
                app: tenant.id.clone(),
                endpoints: tenant.names(),
                at: Instant::now(),
                by: String::new(),
            });
            sent.push(message);
        }
        sent
    }

    async fn count_shows(&self, state: &str, packs: usize) {
        eventually(&format!("{packs} packs to be {state}"), || async {
            let counted = of_state(&self.ingest().scrape().await, state);
            (counted as usize == packs).then_some(())
        })
        .await;
    }

    /// In one line of the log, an error.
    fn says_what_was_lost(&self, server: &Server, queue: &str) {
        let log = server.log();
        let says = |line: &&str| line.contains("ERROR") && line.contains(queue);
        let line = log.lines().find(says);
        println!("queue_deleted: {}", line.expect("an error names the queue"));
    }

    /// What an operator does: of all messages, those that nobody has tried.
    async fn resend_what_nobody_tried(&self) -> usize {
        let app = &self.stage.tenants[0].id;
        let mut resent = 0;
        for message in self
            .stage
            .cluster
            .api
            .list(&format!("/api/v1/app/{app}/msg"))
            .await
        {
            let message = message["id"].as_str().unwrap();
            let destinations = format!("/api/v1/app/{app}/msg/{message}/endpoint");
            if self.stage.cluster.api.list(&destinations).await.is_empty() {
                assert!(self.last.iter().any(|lost| lost == message), "{message}");
                self.resend(message).await;
                resent += 1;
            }
        }
        resent
    }

    /// Those whose next attempt is not made although its time is over: pending, and their last attempt has failed.
    async fn resend_what_waits_in_vain(&self) -> usize {
        let app = &self.stage.tenants[0].id;
        let mut resent = 0;
        for message in self
            .stage
            .cluster
            .api
            .list(&format!("/api/v1/app/{app}/msg"))
            .await
        {
            let message = message["id"].as_str().unwrap();
            let path = format!("/api/v1/app/{app}/msg/{message}/endpoint");
            let destinations = self.stage.cluster.api.list(&path).await;
            let waits = |destination: &Value| !destination["nextAttempt"].is_null();
            if destinations.iter().any(waits) {
                assert!(self.last.iter().any(|lost| lost == message), "{message}");
                self.resend(message).await;
                resent += 1;
            }
        }
        resent
    }

    async fn resend(&self, message: &str) {
        let tenant = &self.stage.tenants[0];
        let endpoint = &tenant.subscribers[0].id;
        let path = format!(
            "/api/v1/app/{}/msg/{message}/endpoint/{endpoint}/resend",
            tenant.id
        );
        let (status, body) = self.stage.cluster.api.call(Method::POST, &path, None).await;
        assert_eq!(status, 202, "{body}");
    }

    /// With success.
    async fn everything_arrives(&self, what: &str) {
        let arrived = within(PATIENCE, || async {
            self.stage
                .receiver
                .look(|requests| {
                    let good = requests
                        .iter()
                        .filter(|request| request.answered == Some(200));
                    let good: Vec<_> = good.cloned().collect();
                    self.stage.ledger.is_complete(&good)
                })
                .then_some(())
        });
        assert!(arrived.await.is_some(), "{what} has not arrived");
    }

    async fn judge(&self, more: &str) {
        let Stage {
            ledger,
            receiver,
            cluster,
            tenants,
            ..
        } = &self.stage;
        let history = ledger.full_history(receiver, &cluster.api, tenants).await;
        let rules = Rules {
            schedule: vec![Duration::from_secs(RETRY_AFTER)],
            ..Rules::default()
        };
        let mut verdict = judge(&history, &rules);
        println!("queue_deleted: {verdict} {more}");
        // What is resent by hand does not wait for the schedule.
        verdict
            .early
            .retain(|pair| !self.last.contains(&pair.message));
        verdict.assert_kept();
    }
}

fn events() -> Vec<String> {
    (0..8)
        .map(|shard| format!("pr.v1.events.{shard}"))
        .collect()
}

fn of(metrics: &Scrape, name: &str, queue: &str) -> f64 {
    metrics.sum(name, &format!("queue=\"{queue}\""))
}

fn of_state(metrics: &Scrape, state: &str) -> f64 {
    metrics.sum("postrider_queue_packs", &format!("state=\"{state}\""))
}
