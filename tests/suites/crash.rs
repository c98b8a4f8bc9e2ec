//! What a subscriber notices when the server dies in the middle of its work, and when it is asked to stop.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_tests::{Answer, Api, Ledger, Received, Receiver, Server, Settings};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

const EVENTS: usize = 1_000;
/// So few, and a subscriber so slow, that 1,000 deliveries take at least 4 s: a kill after a third hits the middle.
const SLOTS: &str = "10";
const SLOW: Duration = Duration::from_millis(40);
const CLIENTS: usize = 20;
/// An outcome that was answered this shortly before the kill may not have been stored.
const FLUSH: Duration = Duration::from_millis(500);
/// The default grace period.
const GRACE: Duration = Duration::from_secs(35);

fn settings(data: &TempDir) -> Settings {
    Settings::new(data.path()).env("SLOTS", SLOTS)
}

async fn slow_receiver() -> Receiver {
    Receiver::start(|_, _| Answer::After(SLOW)).await
}

/// Sends the events by several clients at once, so that all are accepted long before all are delivered.
async fn accept(api: &Api, app: &str, count: usize) -> Ledger {
    let clients = (0..CLIENTS).map(|_| {
        let (api, app) = (api.clone(), app.to_owned());
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..count / CLIENTS {
                accepted.push(
                    api.event(&app, "order.paid", json!({"number": number}))
                        .await,
                );
            }
            accepted
        })
    });
    let mut ledger = Ledger::default();
    for client in clients.collect::<Vec<_>>() {
        for message in client.await.unwrap() {
            ledger.accept(message.expect("an event is accepted while everything works"));
        }
    }
    ledger
}

/// Messages that were under way when the process died: not answered, or so late that it could not be noted.
fn in_flight(requests: &[Received], died: Instant) -> BTreeSet<String> {
    let open = |request: &&Received| request.answered.is_none() || request.at + SLOW + FLUSH > died;
    requests
        .iter()
        .filter(open)
        .map(|request| request.id.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_everything_arrives_and_only_what_was_in_flight_twice() {
    let data = TempDir::new().unwrap();
    let receiver = slow_receiver().await;
    let server = Server::start(&settings(&data)).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    receiver.expect_secret(&app.secret);
    let ledger = accept(&api, &app.id, EVENTS).await;
    receiver.wait_for(EVENTS / 3).await;

    server.kill().await;
    let died = Instant::now();
    let before = receiver.requests();
    assert!(
        before.len() < EVENTS,
        "the kill came too late to hit the middle"
    );
    let flying = in_flight(&before, died);

    let server = Server::start(&settings(&data)).await;
    let requests = receiver
        .wait_until("all events", |requests| ledger.is_complete(requests))
        .await;
    // Everything that follows a stop has been sent: nothing can arrive after this.
    server.terminate().await;
    let tally = ledger.compare(&receiver.requests());
    assert_eq!(
        (tally.lost.len(), tally.unexpected.len()),
        (0, 0),
        "{tally:?}"
    );
    let twice: BTreeSet<String> = tally.duplicated.keys().cloned().collect();
    assert!(
        twice.is_subset(&flying),
        "repeated although it was settled: {:?}",
        twice.difference(&flying)
    );
    receiver.assert_all_verify();
    println!(
        "killed after {} of {EVENTS}: {} in flight, {} repeated",
        before.len(),
        flying.len(),
        twice.len()
    );
    assert!(requests.len() >= EVENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_nothing_is_repeated_and_nothing_lost() {
    let data = TempDir::new().unwrap();
    let receiver = slow_receiver().await;
    let server = Server::start(&settings(&data)).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let ledger = accept(&api, &app.id, EVENTS).await;
    receiver.wait_for(EVENTS / 3).await;

    let (status, took) = server.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < GRACE, "took {took:?}");
    assert!(
        receiver.requests().len() < EVENTS,
        "the stop came too late to hit the middle"
    );

    let _server = Server::start(&settings(&data)).await;
    receiver
        .wait_until("all events", |requests| ledger.is_complete(requests))
        .await;
    let tally = ledger.compare(&receiver.requests());
    assert_eq!(
        (tally.lost.len(), tally.duplicated.len()),
        (0, 0),
        "{tally:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_accepting_what_was_answered_arrives() {
    let data = TempDir::new().unwrap();
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&Settings::new(data.path())).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let senders: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(send_until_refused(api.clone(), app.id.clone())))
        .collect();
    let received = receiver.wait_for(300).await.len();
    server.kill().await;
    let mut ledger = Ledger::default();
    for sender in senders {
        sender
            .await
            .unwrap()
            .into_iter()
            .for_each(|message| ledger.accept(message));
    }
    let _server = Server::start(&Settings::new(data.path())).await;
    receiver
        .wait_until("every accepted event", |requests| {
            ledger.is_complete(requests)
        })
        .await;
    // An event may arrive before its sender has its answer: each client had at most one such event.
    assert!(ledger.len() + CLIENTS >= received);
}

async fn send_until_refused(api: Api, app: String) -> Vec<String> {
    let mut accepted = Vec::new();
    while let Ok(message) = api
        .event(&app, "user.created", json!({"number": accepted.len()}))
        .await
    {
        accepted.push(message);
    }
    accepted
}
