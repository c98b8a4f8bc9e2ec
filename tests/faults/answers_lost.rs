//! RabbitMQ has done what it was asked for, and its answer never comes: a confirm of an event, and the acknowledgement of
//! what was handed off.
//!
//! ```text
//!  ingest ──publish──▶ RabbitMQ ──confirm──╳        the client repeats with its key: one event, not two
//!  worker ──hand-off─▶ RabbitMQ ──confirm──▶
//!         ──ack──╳     RabbitMQ gives the pack again: the retry is under way already, and has one carrier
//! ```

use std::time::Duration;

use postrider_tests::proxy::{ACK, Way, Who};
use postrider_tests::{PATIENCE, Shared, until};
use tokio::time::{Instant, sleep};

use crate::stage::Stage;
use crate::{Form, failing};

const INGEST: Who = Who::Named("ingest publish");
const HANDING_OFF: Who = Who::Named("worker publish");
const CONSUMING: Who = Who::Named("worker consume");

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(700);
pub(crate) async fn run(form: Form) {
    let stage = Stage::set(
        Shared::new().await,
        failing::receiver().await,
        failing::plan(),
    )
    .await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(Duration::from_secs(1)).await;
    let rounds = form.pick(5, 20);
    for _ in 0..rounds {
        lose_confirms(&stage).await;
        sleep(BETWEEN).await;
        lose_acknowledgements(&stage).await;
        sleep(BETWEEN).await;
    }
    let repeated = load.stop().await;
    let more = format!("confirms_lost={rounds} acks_lost={rounds} tries_without_answer={repeated}");
    let verdict = stage
        .judge("answers_lost", &failing::rules(), PATIENCE, more)
        .await;
    assert!(repeated >= rounds, "no client was left without an answer");
    assert!(verdict.dead > 0, "what always fails is given up");
}

/// No delivery may be repeated because of it.
async fn lose_confirms(stage: &Stage) {
    let begun = Instant::now();
    let broker = &stage.broker;
    broker.hold(INGEST, Way::ToClient);
    // Whatever is seen from here on is not passed on.
    let before = broker.seen(&INGEST, Way::ToClient, ACK);
    until("the server to confirm what was published", || {
        broker.seen(&INGEST, Way::ToClient, ACK) > before
    })
    .await;
    broker.cut(&INGEST);
    broker.release(&INGEST, Way::ToClient);
    stage.fault_without_excuse(begun, Instant::now());
}

/// What is under way when the connection is cut may be repeated, and nothing that was answered before.
async fn lose_acknowledgements(stage: &Stage) {
    let broker = &stage.broker;
    let acks = || broker.seen(&CONSUMING, Way::ToServer, ACK);
    let confirms = || broker.seen(&HANDING_OFF, Way::ToClient, ACK);
    broker.hold(CONSUMING, Way::ToServer);
    let (acks_before, confirms_before) = (acks(), confirms());
    until("hand-offs to be confirmed and acknowledged", || {
        acks() > acks_before && confirms() > confirms_before
    })
    .await;
    let begun = Instant::now();
    broker.cut(&CONSUMING);
    broker.release(&CONSUMING, Way::ToServer);
    until("workers to be back", || broker.open(&CONSUMING) >= 2).await;
    stage.fault(begun, Instant::now());
}
