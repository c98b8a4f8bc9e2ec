//! Subscribers of which some fail: what has to be retried, or is given up, beside what is not.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, Api, Received, Receiver};
use serde_json::json;
use tokio::time::Instant;

use crate::stage::Plan;

/// Seconds.
const SCHEDULE: [u64; 2] = [2, 2];
/// Attempts of a pair that fail at an endpoint that recovers.
const FAILURES: usize = 2;

/// Endpoints named `fails…` refuse each message twice, those named `dead…` always, all others never.
pub(crate) async fn receiver() -> Receiver {
    let earlier: Mutex<HashMap<(String, String), usize>> = Mutex::default();
    Receiver::start(move |_, request: &Received| {
        let pair = (request.id.clone(), request.endpoint.clone());
        let mut earlier = earlier.lock();
        let count = earlier.entry(pair).or_default();
        *count += 1;
        let fails = request.endpoint.starts_with("fails") && *count <= FAILURES;
        if fails || request.endpoint.starts_with("dead") {
            Answer::Status(500)
        } else {
            Answer::Status(200)
        }
    })
    .await
}

/// Packs of mixed outcome: each event has an endpoint that takes it and others that do not.
pub(crate) fn plan() -> Plan {
    Plan {
        tenants: vec![vec!["one", "fails"], vec!["two", "fails2", "dead"]],
        env: vec![("RETRY_SCHEDULE", format!("{SCHEDULE:?}"))],
        ..Plan::default()
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        schedule: SCHEDULE.map(Duration::from_secs).to_vec(),
        flush: Duration::from_secs(1),
        ..Rules::default()
    }
}

/// For events that nobody is to receive.
pub(crate) async fn app_without_endpoints(api: &Api) -> String {
    let app = api.post("/api/v1/app", json!({"name": "Nobody"})).await;
    app["id"].as_str().unwrap().to_owned()
}

/// Sends an event as a client does that waits for as long as it takes: the status, and how long that was.
pub(crate) async fn one_event(api: &Api, app: &str) -> (u16, Duration) {
    let asked = Instant::now();
    let answer = api.event(app, "order.paid", json!({})).await;
    (answer.err().unwrap_or(202), asked.elapsed())
}

/// Deliveries that succeeded more than once: message and endpoint.
pub(crate) fn delivered_twice(receiver: &Receiver) -> Vec<(String, String)> {
    receiver.look(|requests| {
        let mut seen = HashSet::new();
        let delivered = requests
            .iter()
            .filter(|request| request.answered == Some(200));
        let pairs = delivered.map(|request| (request.id.clone(), request.endpoint.clone()));
        pairs.filter(|pair| !seen.insert(pair.clone())).collect()
    })
}

/// How many those are when somebody writes it down.
pub(crate) struct Twice<'a>(pub(crate) &'a Receiver);

impl fmt::Display for Twice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        delivered_twice(self.0).len().fmt(f)
    }
}
