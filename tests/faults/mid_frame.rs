//! Connections that end in the middle of something, again and again, under load: half a frame, half a command.

use std::time::Duration;

use postrider_tests::proxy::{ACK, CONSUMER, DELIVER, Mark, PUBLISH, PUBLISHER, Way, Who};
use postrider_tests::{PATIENCE, Proxy, Shared, until};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::failing::{self, Twice};
use crate::stage::Stage;

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(500);

/// Behind the name of a method there are a few bytes of arguments; behind those, a header and the message.
const CUTS_OF_BROKER: [(Who, Way, Mark, usize); 6] = [
    (PUBLISHER, Way::ToServer, Mark::Method(PUBLISH), 0),
    (PUBLISHER, Way::ToServer, Mark::Method(PUBLISH), 150),
    (PUBLISHER, Way::ToClient, Mark::Method(ACK), 3),
    (CONSUMER, Way::ToServer, Mark::Method(ACK), 5),
    (CONSUMER, Way::ToClient, Mark::Method(DELIVER), 2),
    (CONSUMER, Way::ToClient, Mark::Method(DELIVER), 200),
];
const CUTS_OF_STORE: [(Who, Way, Mark, usize); 3] = [
    (Who::NoSubscriber, Way::ToServer, Mark::Word("EVALSHA"), 10),
    (Who::NoSubscriber, Way::ToServer, Mark::Word("EVALSHA"), 100),
    (Who::NoSubscriber, Way::ToClient, Mark::Word("\r\n"), 1),
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
    for _ in 0..form.pick(1, 4) {
        for what in CUTS_OF_BROKER {
            cut(&stage, &stage.broker, what).await;
        }
        for what in CUTS_OF_STORE {
            cut(&stage, &stage.store, what).await;
        }
    }
    let repeated = load.stop().await;
    // Those that are repeated otherwise are attempts that failed and could not be handed off.
    let twice = Twice(&stage.receiver);
    let more = format_args!("delivered_twice={twice} tries_without_answer={repeated}");
    stage
        .judge("mid_frame", &failing::rules(), PATIENCE, more)
        .await;
}

async fn cut(stage: &Stage, network: &Proxy, (who, way, mark, more): (Who, Way, Mark, usize)) {
    let begun = Instant::now();
    network.cut_within(who, way, mark, more);
    until("something to be cut within", || network.cuts_left() == 0).await;
    sleep(BETWEEN).await;
    stage.fault(begun, Instant::now());
}
