//! Several workers: they share the work, and nothing reaches whom it is not for.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::time::Duration;

use postrider_tests::ledger::{Rules, judge};
use postrider_tests::{
    Answer, Api, Cluster, Ledger, Load, PATIENCE, Receiver, Route, Shared, Tenant, until,
};
use serde_json::json;

const EVENTS: usize = 2_000;
const CLIENTS: usize = 32;
/// Long enough that a single worker is not done with one event before the next one comes.
const SLOW: Duration = Duration::from_millis(5);
/// Of two workers each gets at least this part. Evenly would be a half.
const FAIR: f64 = 0.2;

/// An application whose two endpoints want different events.
async fn by_colour(api: &Api, receiver: &Receiver) -> Tenant {
    let mut tenant = api.tenant(receiver, &[]).await;
    for colour in ["red", "blue"] {
        let body = json!({"url": receiver.url_of(colour), "channels": [colour]});
        let endpoint = api.subscriber(receiver, &tenant.id, colour, body).await;
        tenant.subscribers.push(endpoint);
    }
    tenant
}

fn of_colour(tenant: &Tenant, colour: &str) -> Route {
    Route {
        app: tenant.id.clone(),
        channel: Some(colour.to_owned()),
        endpoints: vec![colour.to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_where_it_belongs_by_both_workers() {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::After(SLOW)).await;
    let cluster = Cluster::start(&installation.settings(), 1, 2).await;
    let shop = cluster.api.tenant(&receiver, &["shop-1", "shop-2"]).await;
    let bank = by_colour(&cluster.api, &receiver).await;
    let ledger = Ledger::default();
    let load = Load {
        clients: CLIENTS,
        total: EVENTS,
        pause: Duration::ZERO,
        routes: vec![
            Route::to(&shop),
            of_colour(&bank, "red"),
            Route::to(&shop),
            of_colour(&bank, "blue"),
        ],
    };
    load.start(&cluster.api, &cluster.addresses, &ledger)
        .finish()
        .await;
    until("all events to arrive", || {
        receiver.look(|requests| ledger.is_complete(requests))
    })
    .await;
    let history = ledger
        .full_history(&receiver, &cluster.api, &[shop, bank])
        .await;
    let rules = Rules {
        late: Some(PATIENCE),
        ..Rules::default()
    };
    let verdict = judge(&history, &rules);
    println!("two applications, two workers: {verdict}");
    verdict.assert_kept();
    assert!(verdict.duplicated.is_empty());
    // Every other event was for two endpoints.
    assert_eq!(verdict.delivered, EVENTS / 2 * 3);

    let mut shares = Vec::new();
    for worker in &cluster.workers {
        let metrics = worker.scrape().await;
        shares.push(metrics.sum("postrider_attempts_total", "outcome=\"delivered\""));
    }
    println!("shares of the workers: {shares:?}");
    assert_eq!(shares.iter().sum::<f64>(), verdict.delivered as f64);
    assert!(
        shares
            .iter()
            .all(|share| *share >= FAIR * verdict.delivered as f64),
        "one worker did nearly everything: {shares:?}"
    );
}
