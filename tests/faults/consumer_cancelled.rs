//! RabbitMQ cancels consumers whose queues are there: what they had been sent is delivered to others, too.

use std::time::Duration;

use postrider_tests::proxy::CONSUMER;
use postrider_tests::{PATIENCE, Shared, until};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::failing::{self, Twice};
use crate::stage::Stage;

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(500);

pub(crate) async fn run(form: Form) {
    let stage = Stage::set(
        Shared::new().await,
        failing::receiver().await,
        failing::plan(),
    )
    .await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(Duration::from_secs(1)).await;
    for _ in 0..form.pick(5, 30) {
        let begun = Instant::now();
        stage.broker.cancel_consumer(CONSUMER);
        until("a consumer to be cancelled", || {
            stage.broker.insertions_left() == 0
        })
        .await;
        sleep(BETWEEN).await;
        stage.fault(begun, Instant::now());
    }
    let repeated = load.stop().await;
    let twice = Twice(&stage.receiver);
    let more = format_args!("delivered_twice={twice} tries_without_answer={repeated}");
    stage
        .judge("consumer_cancelled", &failing::rules(), PATIENCE, more)
        .await;
}
