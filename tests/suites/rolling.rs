//! Deployments under load: processes that are asked to stop, one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::time::Duration;

use postrider_tests::ledger::{Rules, Verdict, judge};
use postrider_tests::{
    Answer, Cluster, Ledger, Load, Receiver, Role, Route, Server, Shared, Tenant, until,
};

const CLIENTS: usize = 32;
/// So that requests are under way at any time.
const SLOW: Duration = Duration::from_millis(30);
const PAUSE: Duration = Duration::from_millis(20);
/// The default, above the longest deadline.
const GRACE: Duration = Duration::from_secs(35);

fn load(total: usize, tenant: &Tenant) -> Load {
    Load {
        clients: CLIENTS,
        total,
        pause: PAUSE,
        routes: vec![Route::to(tenant)],
    }
}

async fn stop(server: Server) {
    let pid = server.pid();
    let (status, took) = server.terminate().await;
    assert_eq!(status.code(), Some(0), "process {pid}");
    assert!(took < GRACE, "process {pid} took {took:?} to stop");
}

/// Waits until everything has arrived and ended; nothing may be lost or repeated.
async fn judge_all(
    ledger: &Ledger,
    receiver: &Receiver,
    api: &postrider_tests::Api,
    tenant: Tenant,
) -> Verdict {
    until("all events to arrive", || {
        receiver.look(|requests| ledger.is_complete(requests))
    })
    .await;
    let history = ledger.full_history(receiver, api, &[tenant]).await;
    let verdict = judge(&history, &Rules::default());
    verdict.assert_kept();
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_stop_repeats_nothing_and_loses_nothing() {
    const EVENTS: usize = 3_000;
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::After(SLOW)).await;
    let mut cluster = Cluster::start(&installation.settings(), 1, 2).await;
    let tenant = cluster.api.tenant(&receiver, &["shop"]).await;
    let ledger = Ledger::default();
    let load = load(EVENTS, &tenant).start(&cluster.api, &cluster.addresses, &ledger);
    receiver.wait_for(EVENTS / 3).await;
    stop(cluster.workers.remove(0)).await;
    assert!(
        receiver.count() < EVENTS,
        "the stop came too late to hit the middle"
    );
    load.finish().await;
    let verdict = judge_all(&ledger, &receiver, &cluster.api, tenant).await;
    println!("a worker stopped under load: {verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_repeats_nothing_and_loses_nothing() {
    let installation = Shared::new().await;
    let settings = installation.settings();
    let receiver = Receiver::start(|_, _| Answer::After(SLOW)).await;
    let Cluster {
        ingests,
        workers,
        addresses,
        api,
    } = Cluster::start(&settings, 2, 2).await;
    let tenant = api.tenant(&receiver, &["shop"]).await;
    let ledger = Ledger::default();
    let load = load(usize::MAX, &tenant).start(&api, &addresses, &ledger);
    let mut fresh = Vec::new();
    for (role, old) in ingests
        .into_iter()
        .map(|server| (Role::Ingest, server))
        .chain(workers.into_iter().map(|server| (Role::Worker, server)))
    {
        let begun = receiver.count();
        let new = Server::start(&settings.clone().role(role)).await;
        if role == Role::Ingest {
            addresses.add(&new);
        }
        // Clients go on calling it until they are refused.
        let address = old.api.clone();
        stop(old).await;
        if let Some(address) = address {
            addresses.remove(&address);
        }
        fresh.push(new);
        // Not a word is said of a restart that nothing went on beside.
        until("events to flow", || receiver.count() > begun + CLIENTS).await;
    }
    let repeated = load.stop().await;
    let api = api.at(&addresses.pick(0).unwrap());
    let verdict = judge_all(&ledger, &receiver, &api, tenant).await;
    println!("everything restarted under load: {verdict} tries_without_answer={repeated}");
    assert!(verdict.duplicated.is_empty());
}
