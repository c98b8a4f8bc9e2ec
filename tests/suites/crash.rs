//! What a subscriber notices when the server dies in the middle of its work, and when it is asked to stop.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::time::Duration;

use postrider_tests::ledger::{Culprit, Fault, Rules, judge};
use postrider_tests::{
    Answer, Api, Installation, Ledger, Receiver, Server, Settings, on_each_installation,
};
use serde_json::json;
use tokio::time::Instant;

const EVENTS: usize = 1_000;
/// So few, and a subscriber so slow, that 1,000 deliveries take at least 4 s: a kill after a third hits the middle.
const SLOTS: &str = "10";
const SLOW: Duration = Duration::from_millis(40);
const CLIENTS: usize = 20;
/// The default grace period.
const GRACE: Duration = Duration::from_secs(35);
/// Where [`Receiver::url`] leads to.
const ENDPOINT: &str = "hook";

on_each_installation!(
    killed_in_the_middle_everything_arrives_and_only_what_was_in_flight_twice,
    asked_to_stop_nothing_is_repeated_and_nothing_lost,
    killed_while_accepting_what_was_answered_arrives,
);

fn settings(installation: &Installation) -> Settings {
    installation.settings().env("SLOTS", SLOTS)
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
    let ledger = Ledger::default();
    for client in clients.collect::<Vec<_>>() {
        for message in client.await.unwrap() {
            let message = message.expect("an event is accepted while everything works");
            ledger.accept_for(message, ENDPOINT);
        }
    }
    ledger
}

async fn killed_in_the_middle_everything_arrives_and_only_what_was_in_flight_twice(
    installation: &Installation,
) {
    let receiver = slow_receiver().await;
    let server = Server::start(&settings(installation)).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    receiver.expect_secret(&app.secret);
    let ledger = accept(&api, &app.id, EVENTS).await;
    receiver.wait_for(EVENTS / 3).await;

    let begun = Instant::now();
    server.kill().await;
    ledger.fault(Fault {
        at: (begun, Instant::now()),
        whose: Culprit::Anybody,
    });
    let before = receiver.count();
    assert!(before < EVENTS, "the kill came too late to hit the middle");

    let server = Server::start(&settings(installation)).await;
    receiver
        .wait_until("all events", |requests| ledger.is_complete(requests))
        .await;
    // Everything that follows a stop has been sent: nothing can arrive after this.
    server.terminate().await;
    let verdict = judge(&ledger.history(&receiver), &Rules::default());
    println!("killed after {before} of {EVENTS}: {verdict}");
    verdict.assert_kept();
}

async fn asked_to_stop_nothing_is_repeated_and_nothing_lost(installation: &Installation) {
    let receiver = slow_receiver().await;
    let server = Server::start(&settings(installation)).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let ledger = accept(&api, &app.id, EVENTS).await;
    receiver.wait_for(EVENTS / 3).await;

    let (status, took) = server.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < GRACE, "took {took:?}");
    assert!(
        receiver.count() < EVENTS,
        "the stop came too late to hit the middle"
    );

    let _server = Server::start(&settings(installation)).await;
    receiver
        .wait_until("all events", |requests| ledger.is_complete(requests))
        .await;
    judge(&ledger.history(&receiver), &Rules::default()).assert_kept();
}

async fn killed_while_accepting_what_was_answered_arrives(installation: &Installation) {
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&installation.settings()).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    let senders: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(send_until_refused(api.clone(), app.id.clone())))
        .collect();
    let received = receiver.wait_for(300).await.len();
    server.kill().await;
    let ledger = Ledger::default();
    for sender in senders {
        sender
            .await
            .unwrap()
            .into_iter()
            .for_each(|message| ledger.accept_for(message, ENDPOINT));
    }
    let _server = Server::start(&installation.settings()).await;
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
