//! An endpoint that is disabled gets nothing more, from whichever worker, whether or not that worker was told.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::time::Duration;

use postrider_tests::ledger::{Rules, judge};
use postrider_tests::proxy::Who;
use postrider_tests::{
    Answer, Api, Ledger, Load, Proxy, Receiver, Role, Route, Server, Shared, Tenant, local_ports,
    until,
};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

const EVENTS: usize = 200;
const CLIENTS: usize = 16;
/// Retries of failures that go on for much longer than disabling takes.
const RETRIES: usize = 60;
/// A worker has its part in them once it has made so many requests.
const PART: usize = 20;
/// 2 s are promised.
const BOUND: Duration = Duration::from_secs(6);

/// One ingest, and two workers with proxies of their own before Redis.
struct Fleet {
    installation: Shared,
    ingest: Server,
    workers: Vec<(Server, Proxy)>,
}

impl Fleet {
    async fn start() -> Self {
        let installation = Shared::new().await;
        let schedule = format!("{:?}", vec![1; RETRIES]);
        let settings = installation.settings().role(Role::Ingest);
        let ingest = Server::start(&settings).await;
        let mut workers = Vec::new();
        for _ in 0..2 {
            let proxy = Proxy::start(&installation.redis.address()).await;
            let settings = installation
                .settings_at(&installation.broker_address(), &proxy.address())
                .role(Role::Worker)
                .env("RETRY_SCHEDULE", schedule.clone());
            workers.push((Server::start(&settings).await, proxy));
        }
        Self {
            installation,
            ingest,
            workers,
        }
    }

    /// Sends events that keep failing, until each worker tries some of them again.
    async fn fail(&self, api: &Api, receiver: &Receiver, tenant: &Tenant) -> Ledger {
        let ledger = Ledger::default();
        let load = Load {
            clients: CLIENTS,
            total: EVENTS,
            pause: Duration::ZERO,
            routes: vec![Route::to(tenant)],
        };
        let addresses = postrider_tests::Addresses::of(std::slice::from_ref(&self.ingest));
        load.start(api, &addresses, &ledger).finish().await;
        until("every worker to repeat requests", || {
            let busy = |(worker, _): &(Server, Proxy)| {
                let ports = local_ports(worker.pid());
                receiver.look(|requests| {
                    let mut retries = requests.iter().skip(EVENTS);
                    retries
                        .by_ref()
                        .filter(|request| ports.contains(&request.peer))
                        .count()
                        >= PART
                })
            };
            self.workers.iter().all(busy)
        })
        .await;
        ledger
    }
}

async fn disable(api: &Api, tenant: &Tenant) -> Instant {
    let endpoint = &tenant.subscribers[0].id;
    let path = format!("/api/v1/app/{}/endpoint/{endpoint}", tenant.id);
    let body = json!({"disabled": true});
    let (status, answer) = api.call(Method::PATCH, &path, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    Instant::now()
}

/// Everything ends canceled, and nobody was called after the bound.
async fn judge_stop(
    what: &str,
    (receiver, api): (&Receiver, &Api),
    (tenant, ledger): (Tenant, Ledger),
    disabled: Instant,
) {
    let history = ledger.full_history(receiver, api, &[tenant]).await;
    let last = history.arrivals.iter().map(|arrival| arrival.at).max();
    let went_on = last.unwrap().saturating_duration_since(disabled);
    let rules = Rules {
        schedule: vec![Duration::from_secs(1); RETRIES],
        ..Rules::default()
    };
    let verdict = judge(&history, &rules);
    println!("{what}: the last request came {went_on:?} after it; {verdict}");
    assert!(went_on < BOUND, "requests went on for {went_on:?}");
    verdict.assert_kept();
    assert_eq!(verdict.canceled, EVENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_endpoint_is_left_alone_by_every_worker() {
    let fleet = Fleet::start().await;
    let receiver = Receiver::start(|_, _| Answer::Status(503)).await;
    let api = Api::new(&fleet.ingest).await;
    let tenant = api.tenant(&receiver, &["down"]).await;
    let ledger = fleet.fail(&api, &receiver, &tenant).await;
    let disabled = disable(&api, &tenant).await;
    judge_stop("disabled", (&receiver, &api), (tenant, ledger), disabled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hears_of_no_change_finds_out_by_itself() {
    let fleet = Fleet::start().await;
    let receiver = Receiver::start(|_, _| Answer::Status(503)).await;
    let api = Api::new(&fleet.ingest).await;
    let tenant = api.tenant(&receiver, &["down"]).await;
    let ledger = fleet.fail(&api, &receiver, &tenant).await;
    for (_, proxy) in &fleet.workers {
        assert!(
            proxy.open(&Who::Subscriber) > 0,
            "a worker does not listen for changes at all"
        );
        proxy.bar(Who::Subscriber);
    }
    until("the workers to be cut off from notices", || {
        let mut proxies = fleet.workers.iter().map(|(_, proxy)| proxy);
        proxies.all(|proxy| proxy.open(&Who::Subscriber) == 0)
    })
    .await;
    let disabled = disable(&api, &tenant).await;
    let what = "disabled, and no notice of it";
    judge_stop(what, (&receiver, &api), (tenant, ledger), disabled).await;
    drop(fleet.installation);
}
