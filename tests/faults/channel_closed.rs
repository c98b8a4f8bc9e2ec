//! RabbitMQ closes channels, of those who publish and of those who consume: 406, as after a fault of a client.

use std::time::Duration;

use postrider_tests::proxy::{ACK, CLOSE_CHANNEL, PUBLISH, Way, Who};
use postrider_tests::{PATIENCE, Shared, until};
use tokio::time::{Instant, sleep};

use crate::stage::Stage;
use crate::{Form, failing};

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(400);

const VICTIMS: [(Who, postrider_tests::proxy::Method); 3] = [
    (Who::Named("ingest publish"), PUBLISH),
    (Who::Named("worker publish"), PUBLISH),
    (Who::Named("worker consume"), ACK),
];

pub(crate) async fn run(form: Form) {
    let stage = Stage::set(
        Shared::new().await,
        failing::receiver().await,
        failing::plan(),
    )
    .await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(Duration::from_secs(1)).await;
    for _ in 0..form.pick(2, 12) {
        for (who, before) in VICTIMS {
            close(&stage, who, before).await;
        }
    }
    let repeated = load.stop().await;
    let closed = stage.broker.seen(&Who::All, Way::ToClient, CLOSE_CHANNEL);
    let more = format!("channels_closed={closed} tries_without_answer={repeated}");
    stage
        .judge("channel_closed", &failing::rules(), PATIENCE, more)
        .await;
}

async fn close(stage: &Stage, who: Who, before: postrider_tests::proxy::Method) {
    let closed = || stage.broker.seen(&who, Way::ToClient, CLOSE_CHANNEL);
    let (begun, closed_before) = (Instant::now(), closed());
    stage.broker.close_channel(who.clone(), before);
    until("the server to close a channel", || closed() > closed_before).await;
    sleep(BETWEEN).await;
    stage.fault(begun, Instant::now());
}
