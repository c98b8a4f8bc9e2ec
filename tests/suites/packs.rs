//! One endpoint that hangs and 63 that do not, in one piece of work: the 63 neither wait for it nor are called again
//! because of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_tests::ledger::{Accepted, Rules, Verdict, judge};
use postrider_tests::proxy::{ACK, PUBLISH, PUBLISHER, Way};
use postrider_tests::{
    Answer, Api, Ledger, Proxy, Received, Receiver, Role, Server, Shared, Tenant, body_of,
    eventually, kill_worker, local_ports, until,
};
use serde_json::json;
use tokio::time::Instant;

const SIZE: usize = 64;
/// A third of the deadline for which the one hangs.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Hangs at the first request that `hangs`, and at no other.
async fn receiver(hangs: impl Fn(&Received) -> bool + Send + Sync + 'static) -> Receiver {
    let hung = AtomicBool::new(false);
    Receiver::start(move |_, request| {
        if hangs(request) && !hung.swap(true, Ordering::SeqCst) {
            Answer::Never
        } else {
            Answer::Status(200)
        }
    })
    .await
}

/// Two workers.
struct Workers(Vec<Server>);

impl Workers {
    async fn start(installation: &Shared) -> Self {
        let settings = installation.settings().role(Role::Worker);
        let (first, second) = tokio::join!(Server::start(&settings), Server::start(&settings));
        Self(vec![first, second])
    }

    /// `kill -9` of the one that made this request.
    async fn kill_maker_of(&mut self, request: &Received, ledger: &Ledger) {
        let made = |worker: &Server| local_ports(worker.pid()).contains(&request.peer);
        let index = self.0.iter().position(made).expect("one of them made it");
        let victim = self.0.remove(index);
        kill_worker(victim, ledger).await;
    }
}

/// The delivered pairs are known to the store, the hanging one is open: the worker dies now. Everything that follows
/// is one more request, for the one that hung.
async fn kill_and_judge(
    (receiver, api): (&Receiver, &Api),
    tenant: &Tenant,
    workers: &mut Workers,
    ledger: &Ledger,
) -> Verdict {
    let open = |requests: &[Received]| {
        let mut open = requests.iter().filter(|request| request.ended.is_none());
        open.next().cloned()
    };
    let hanging = receiver.look(open).expect("one hangs");
    eventually("the fast ones to be recorded", || async {
        (delivered(api, tenant).await == receiver.count() - 1).then_some(())
    })
    .await;
    let before = receiver.count();
    workers.kill_maker_of(&hanging, ledger).await;
    until("the hanging one to be tried again", || {
        receiver.count() > before
    })
    .await;
    let tenants = std::slice::from_ref(tenant);
    let history = ledger.full_history(receiver, api, tenants).await;
    let verdict = judge(&history, &Rules::default());
    assert_eq!(
        verdict.received,
        before + 1,
        "more than the hanging one was repeated: {verdict}"
    );
    verdict.assert_kept();
    verdict
}

/// How many attempts the log shows as delivered.
async fn delivered(api: &Api, tenant: &Tenant) -> usize {
    let mut count = 0;
    for endpoint in &tenant.subscribers {
        let path = format!(
            "/api/v1/app/{}/attempt/endpoint/{}?status=0",
            tenant.id, endpoint.id
        );
        count += api.list(&path).await.len();
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_endpoint_of_64_hangs() {
    let installation = Shared::new().await;
    let receiver = receiver(|request| request.endpoint == "e-0").await;
    let ingest = Server::start(&installation.settings().role(Role::Ingest)).await;
    let mut workers = Workers::start(&installation).await;
    let api = Api::new(&ingest).await;
    let names: Vec<String> = (0..SIZE).map(|number| format!("e-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tenant = api.tenant(&receiver, &names).await;
    let message = api
        .event(&tenant.id, "order.paid", json!({}))
        .await
        .unwrap();
    let accepted = Instant::now();
    let ledger = Ledger::default();
    ledger.accept(Accepted {
        message,
        app: tenant.id.clone(),
        endpoints: tenant.names(),
        at: accepted,
        by: String::new(),
    });
    let requests = receiver.wait_for(SIZE).await;
    let slowest = requests.iter().map(|request| request.at).max().unwrap();
    assert!(
        slowest < accepted + AT_ONCE,
        "some waited for the one that hangs"
    );
    let verdict = kill_and_judge((&receiver, &api), &tenant, &mut workers, &ledger).await;
    println!("one event, 64 endpoints, one of them hangs, kill: {verdict}");
}

/// Posts events at once while the ingest hears of no confirm: those that must wait for one go out together.
async fn post_together(
    (api, tenant): (&Api, &Tenant),
    broker: &Proxy,
    installation: &Shared,
) -> Vec<String> {
    broker.hold_from(PUBLISHER, (Way::ToServer, PUBLISH), Way::ToClient);
    let before = keys(installation).await;
    let posts: Vec<_> = (0..SIZE)
        .map(|number| tokio::spawn(post(api.clone(), tenant.id.clone(), number)))
        .collect();
    // Each is reserved right before it is published, under a key of its own.
    eventually("all events to be reserved", || async {
        (keys(installation).await >= before + SIZE as u64).then_some(())
    })
    .await;
    until("a confirm to be held", || {
        broker.seen(&PUBLISHER, Way::ToClient, ACK) > 0
    })
    .await;
    broker.release(&PUBLISHER, Way::ToClient);
    let mut messages = Vec::new();
    for post in posts {
        messages.push(post.await.unwrap());
    }
    messages
}

async fn post(api: Api, app: String, number: usize) -> String {
    let payload = json!({"number": number, "hangs": number == SIZE - 1});
    let body = json!({"eventType": "order.paid", "payload": payload});
    let path = format!("/api/v1/app/{app}/msg");
    let key = format!("auto_{number}");
    let response = api.post_keyed(&path, &key, &body).await.unwrap();
    let (status, answer) = body_of(response).await;
    assert_eq!(status, 202, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// How many keys Redis holds.
async fn keys(installation: &Shared) -> u64 {
    let keyspace = installation.redis.command("INFO keyspace").await;
    let counts = keyspace.lines().filter_map(|line| line.split_once("keys="));
    let counts = counts.filter_map(|(_, rest)| rest.split(',').next());
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_of_a_pack_hangs() {
    let installation = Shared::new().await;
    let broker = Proxy::start(&installation.broker_address()).await;
    let receiver = receiver(|request| {
        request
            .body
            .windows(12)
            .any(|part| part == b"\"hangs\":true")
    })
    .await;
    let settings = installation.settings_at(&broker.address(), &installation.redis.address());
    let ingest = Server::start(&settings.role(Role::Ingest)).await;
    let mut workers = Workers::start(&installation).await;
    let api = Api::new(&ingest).await;
    let tenant = api.tenant(&receiver, &["shop"]).await;
    let before = broker.seen(&PUBLISHER, Way::ToServer, PUBLISH);
    let messages = post_together((&api, &tenant), &broker, &installation).await;
    let packs = broker.seen(&PUBLISHER, Way::ToServer, PUBLISH) - before;
    // An application has two shards, and one or two packs of each may have been on their way.
    assert!(
        packs <= SIZE as u64 / 4,
        "{SIZE} events travelled in {packs} packs"
    );
    let ledger = Ledger::default();
    let accepted = Instant::now();
    for message in messages {
        ledger.accept(Accepted {
            message,
            app: tenant.id.clone(),
            endpoints: tenant.names(),
            at: accepted,
            by: String::new(),
        });
    }
    let requests = receiver.wait_for(SIZE).await;
    let slowest = requests.iter().map(|request| request.at).max().unwrap();
    assert!(
        slowest < accepted + AT_ONCE,
        "some waited for the one that hangs"
    );
    let distinct: HashSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
    assert_eq!(distinct.len(), SIZE);
    let verdict = kill_and_judge((&receiver, &api), &tenant, &mut workers, &ledger).await;
    println!("{SIZE} events in {packs} packs, one of them hangs, kill: {verdict}");
}
