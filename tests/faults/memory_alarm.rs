//! RabbitMQ blocks publishers by its memory alarm while most deliveries fail, in packs of which some part was delivered: what
//! fails leaves by dead-lettering, which moves even then, and nothing waits for anything in a circle.

use std::time::Duration;

use postrider_tests::{PATIENCE, Shared};
use tokio::time::{Instant, sleep};

use crate::Form;
use crate::failing::{self, app_without_endpoints, delivered_twice, one_event};
use crate::stage::Stage;

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);
/// For a confirm, 10 s; asserted at three times that.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Whatever the server uses is more.
const LOW: &str = "1";
const USUAL: &str = "1GB";
/// What is given back comes again after 30 s, and finds the alarm again where it lasts.
const RETURNED: Duration = Duration::from_secs(35);

pub(crate) async fn with_store(form: Form) {
    run("memory_alarm", form, false).await;
}

/// The same without Redis.
pub(crate) async fn without_store(form: Form) {
    run("memory_alarm_no_store", form, true).await;
}

async fn run(name: &str, form: Form, without_store: bool) {
    let installation = Shared::with_own_rabbitmq().await;
    let mut stage = Stage::set(installation, failing::receiver().await, failing::plan()).await;
    let nobody = app_without_endpoints(&stage.cluster.api).await;
    let load = stage.load(CLIENTS, PAUSE);
    sleep(Duration::from_secs(3)).await;

    let begun = Instant::now();
    watermark(&mut stage, LOW).await;
    if without_store {
        stage.store.refuse();
    }
    for server in stage.processes() {
        server.wait_for_health(503).await;
    }
    let told = begun.elapsed();
    let (status, took) = refused(&stage, &nobody).await;
    sleep(form.pick(Duration::from_secs(3), RETURNED)).await;
    let given_back = given_back(&stage).await;
    if without_store {
        stage.store.accept();
    }
    watermark(&mut stage, USUAL).await;
    let over = Instant::now();
    for server in stage.processes() {
        server.wait_for_health(200).await;
    }
    // What fails and cannot be handed off is tried again when it comes back, without using up an attempt.
    stage.fault(begun, over);
    sleep(Duration::from_secs(3)).await;
    let repeated = load.stop().await;
    let more = format!(
        "tries_without_answer={repeated} health_503_after={told:.1?} an_event_was_answered={status} within={took:.1?} packs_given_back={given_back}"
    );
    let bound = PATIENCE + RETURNED;
    stage.judge(name, &failing::rules(), bound, more).await;
    let again = delivered_twice(&stage.receiver);
    assert!(again.is_empty(), "delivered twice: {again:?}");
    assert_eq!(status, 503);
    assert!(took <= 3 * ANSWERS_WITHIN, "{took:?}");
}

async fn watermark(stage: &mut Stage, bytes: &str) {
    let arguments = ["set_vm_memory_high_watermark", "absolute", bytes];
    stage.installation.rabbitmq().ctl(&arguments).await;
}

/// The status and how long it took at most. The first publishes after the alarm make the server look at it.
async fn refused(stage: &Stage, app: &str) -> (u16, Duration) {
    let deadline = Instant::now() + PATIENCE;
    let mut longest = Duration::ZERO;
    loop {
        let (status, took) = one_event(&stage.cluster.api, app).await;
        longest = longest.max(took);
        if status != 202 {
            return (status, longest);
        }
        assert!(Instant::now() < deadline, "events are still accepted");
    }
}

async fn given_back(stage: &Stage) -> f64 {
    let mut packs = 0.0;
    for worker in &stage.cluster.workers {
        packs += worker.scrape().await.sum("postrider_given_back_total", "");
    }
    packs
}
