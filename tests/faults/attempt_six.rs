//! Redis emptied between the fifth attempt and the sixth: what waits does so in RabbitMQ, and comes at its time.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared, until};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::stage::{Plan, Stage};
use crate::store::{Backup, judge_arrivals};

const EVENTS: usize = 40;
const ATTEMPTS: usize = 6;
/// In seconds. The last one is long enough for an import.
const SCHEDULE: [u64; ATTEMPTS - 1] = [1, 1, 1, 1, 12];
/// By which an attempt may come later than the jitter of its delay; asserted at three times that.
const LATE: Duration = Duration::from_secs(2);

pub(crate) async fn run(_: Form) {
    let installation = Shared::new().await;
    // The sixth of each message is welcome: those before were told apart by counting.
    let seen = parking_lot::Mutex::new(std::collections::HashMap::<String, usize>::new());
    let receiver = Receiver::start(move |_, request| {
        let mut seen = seen.lock();
        let times = seen.entry(request.id.clone()).or_default();
        *times += 1;
        Answer::Status(if *times < ATTEMPTS { 500 } else { 200 })
    })
    .await;
    let plan = Plan {
        tenants: vec![vec!["one"]],
        env: vec![("RETRY_SCHEDULE", json!(SCHEDULE).to_string())],
        ..Plan::default()
    };
    let stage = Stage::set(installation, receiver, plan).await;
    let backup = Backup::of(&stage.settings).await;
    let app = &stage.tenants[0].id;
    for number in 0..EVENTS {
        let message = stage
            .cluster
            .api
            .event(app, "order.paid", json!({"number": number}))
            .await;
        stage.ledger.accept_for(message.unwrap(), "one");
    }
    until("five attempts of each", || {
        stage.receiver.count() >= EVENTS * (ATTEMPTS - 1)
    })
    .await;
    // The outcome of the last ones is stored within milliseconds, or it does not matter.
    sleep(Duration::from_millis(500)).await;
    let early = stage.receiver.count() - EVENTS * (ATTEMPTS - 1);
    let flushed = Instant::now();
    stage.installation.redis.flush().await;
    for server in stage.processes() {
        server.wait_for_health(503).await;
    }
    backup.import(&stage.settings).await;
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    stage.fault_without_excuse(flushed, Instant::now());
    let lost_for = flushed.elapsed();
    until("the sixth attempts", || {
        stage.receiver.count() >= EVENTS * ATTEMPTS
    })
    .await;
    let rules = Rules {
        schedule: SCHEDULE.map(Duration::from_secs).to_vec(),
        late: Some(3 * LATE),
        ..Rules::default()
    };
    let more = format!(
        "attempts={} lost_for={lost_for:.1?} sixth_before_the_fault={early}",
        stage.receiver.count()
    );
    judge_arrivals(&stage, "attempt_six", &rules, PATIENCE, more).await;
    assert_eq!(early, 0);
    assert_eq!(stage.receiver.count(), EVENTS * ATTEMPTS);
}
