//! What each role does and does not do, and what it says while RabbitMQ or Redis is away.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::collections::HashSet;
use std::time::Duration;

use postrider_tests::ledger::{Culprit, Fault, Rules, judge};
use postrider_tests::{
    Addresses, Answer, Api, Ledger, Load, Proxy, Receiver, Role, Route, Server, Shared, Tenant,
    eventually, until,
};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_answers_and_delivers_nothing() {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let settings = installation.settings();
    let ingest = Server::start(&settings.clone().role(Role::Ingest)).await;
    let api = Api::new(&ingest).await;
    let app = api.application(&receiver.url).await;
    let message = api.event(&app.id, "order.paid", json!({})).await.unwrap();
    // The message shows although nobody is there to deliver it.
    let path = format!("/api/v1/app/{}/msg/{message}", app.id);
    assert_eq!(api.get(&path).await["id"], json!(message));
    let attempts = format!("/api/v1/app/{}/attempt/msg/{message}", app.id);
    assert_eq!(api.get(&attempts).await["data"], json!([]));

    // A worker takes a second or so to come up: whoever else delivers would have done so by then.
    let before = Instant::now();
    let worker = Server::launch(&settings.role(Role::Worker)).await;
    let requests = receiver.wait_for(1).await;
    assert!(requests[0].at > before, "delivered without a worker");
    eventually("the worker to count its delivery", || async {
        (delivered(&worker).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(delivered(&ingest).await, 0.0);
}

async fn delivered(server: &Server) -> f64 {
    let metrics = server.scrape().await;
    metrics.sum("postrider_attempts_total", "outcome=\"delivered\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_metrics_and_health_and_nothing_else() {
    let installation = Shared::new().await;
    let worker = Server::start(&installation.settings().role(Role::Worker)).await;
    assert_eq!(worker.api, None, "a worker has no address for the API");
    let (status, report) = worker.health().await.unwrap();
    assert_eq!(
        (status, &report["roles"]),
        (200, &json!(["worker"])),
        "{report}"
    );
    assert_eq!(worker.scrape().await.sum("postrider_build_info", ""), 1.0);
    let ingest = Server::start(&installation.settings().role(Role::Ingest)).await;
    let api = Api::new(&ingest).await.at(&worker.metrics);
    let response = api.send(Method::GET, "/api/v1/app", None).await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
}

/// An ingest and a worker behind a proxy each for RabbitMQ and Redis.
struct Site {
    _installation: Shared,
    broker: Proxy,
    store: Proxy,
    ingest: Server,
    worker: Server,
    receiver: Receiver,
    api: Api,
    tenant: Tenant,
}

impl Site {
    async fn start() -> Self {
        let installation = Shared::new().await;
        let broker = Proxy::start(&installation.broker_address()).await;
        let store = Proxy::start(&installation.redis.address()).await;
        let settings = installation.settings_at(&broker.address(), &store.address());
        let ingest = Server::start(&settings.clone().role(Role::Ingest)).await;
        let worker = Server::start(&settings.role(Role::Worker)).await;
        let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
        let api = Api::new(&ingest).await;
        let tenant = api.tenant(&receiver, &["shop"]).await;
        Self {
            _installation: installation,
            broker,
            store,
            ingest,
            worker,
            receiver,
            api,
            tenant,
        }
    }

    fn load(&self, total: usize, ledger: &Ledger) -> postrider_tests::Running {
        let load = Load {
            clients: 8,
            total,
            pause: Duration::from_millis(5),
            routes: vec![Route::to(&self.tenant)],
        };
        let addresses = Addresses::of(std::slice::from_ref(&self.ingest));
        load.start(&self.api, &addresses, ledger)
    }

    /// An event is refused, by 503 and a time after which to come again.
    async fn is_refused(&self) {
        let path = format!("/api/v1/app/{}/msg", self.tenant.id);
        let body = json!({"eventType": "order.paid", "payload": {"probe": true}});
        let response = self
            .api
            .send(Method::POST, &path, Some(body))
            .await
            .unwrap();
        assert_eq!(
            response.status().as_u16(),
            503,
            "accepted although nothing can be promised"
        );
        let after = response
            .headers()
            .get("retry-after")
            .expect("a time to come again");
        let seconds: u32 = after.to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "come again after {seconds} s");
    }

    /// Refused is not the same as lost: such an event may arrive, too.
    fn probes(&self) -> HashSet<String> {
        let probe = br#"{"probe":true}"#;
        let requests = self.receiver.requests().into_iter();
        let probes = requests.filter(|request| request.body.as_ref() == probe);
        probes.map(|request| request.id).collect()
    }
}

/// Takes a server away under load, and gives it back: nothing is promised that is not kept.
async fn away_and_back(what: &str, depends: &str, pick: impl Fn(&Site) -> &Proxy) {
    let site = Site::start().await;
    let ledger = Ledger::default();
    let total = 400;
    let load = site.load(total, &ledger);
    site.receiver.wait_for(total / 4).await;
    let begun = Instant::now();
    pick(&site).refuse();
    for process in [&site.ingest, &site.worker] {
        process.wait_for_health(503).await;
        assert_eq!(
            process
                .scrape()
                .await
                .sum("postrider_dependency_up", depends),
            0.0
        );
    }
    site.is_refused().await;
    assert!(ledger.len() < total, "it was taken away too late");
    pick(&site).accept();
    // The very same processes: nobody has restarted them.
    for process in [&site.ingest, &site.worker] {
        process.wait_for_health(200).await;
        assert_eq!(
            process
                .scrape()
                .await
                .sum("postrider_dependency_up", depends),
            1.0
        );
    }
    ledger.fault(Fault {
        at: (begun, Instant::now()),
        whose: Culprit::Anybody,
    });
    let repeated = load.finish().await;
    assert!(repeated > 0, "no client noticed anything");
    until("all events to arrive", || {
        site.receiver.look(|requests| ledger.is_complete(requests))
    })
    .await;
    let tenants = [site.tenant.clone()];
    let mut history = ledger
        .full_history(&site.receiver, &site.api, &tenants)
        .await;
    let probes = site.probes();
    history
        .arrivals
        .retain(|arrival| !probes.contains(&arrival.message));
    let verdict = judge(&history, &Rules::default());
    println!("{what} away and back: {verdict} tries_without_answer={repeated}");
    verdict.assert_kept();
    assert_eq!(verdict.delivered, total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_nothing_is_accepted_and_what_was_refused_is_safe_to_repeat() {
    away_and_back("RabbitMQ", "dependency=\"broker\"", |site| &site.broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nothing_is_accepted_and_what_was_refused_is_safe_to_repeat() {
    away_and_back("Redis", "dependency=\"limits\"", |site| &site.store).await;
}
