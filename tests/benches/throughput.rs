//! How much it does: clients that send one event after the other, and a subscriber that answers at once.
//!
//! ```sh
//! cargo build --release -p postrider
//! export POSTRIDER_BIN=target/release/postrider
//! cargo bench -p postrider-tests                                  # one process, embedded
//! POSTRIDER_BENCH=shared cargo bench -p postrider-tests           # one ingest, two workers; RabbitMQ and Redis
//! ```
//!
//! For `shared`, `POSTRIDER_TEST_AMQP` and `POSTRIDER_TEST_RABBITMQ_API` name a RabbitMQ that nobody else uses meanwhile.
//!
//! Load, servers and subscriber share the machine, so the figures are for comparing runs on one machine, not for
//! sizing. CPU is as the kernel counts it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is its report"
)]

use postrider_tests::{
    Answer, Api, Cluster, Installation, Receiver, Server, Settings, Shared, cpu_seconds_of_tree,
    peak_mib,
};
use serde_json::json;
use tokio::time::Instant;

const CLIENTS: usize = 64;
const EVENTS: usize = 40_000;
const WARM_UP: usize = 2_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let shared = std::env::var("POSTRIDER_BENCH").is_ok_and(|kind| kind == "shared");
    for endpoints in [1, 5] {
        let site = if shared {
            Site::shared().await
        } else {
            Site::embedded().await
        };
        site.measure(endpoints, EVENTS / endpoints).await;
    }
}

/// What is measured.
struct Site {
    // Before the installation, so that the processes end first.
    postrider: Vec<Server>,
    api: Api,
    installation: Installation,
}

fn quiet(settings: Settings) -> Settings {
    settings.env("LOG", "warn,postrider::wiring=info")
}

impl Site {
    async fn embedded() -> Self {
        let installation = Installation::embedded();
        let server = Server::start(&quiet(installation.settings())).await;
        Self {
            api: Api::new(&server).await,
            postrider: vec![server],
            installation,
        }
    }

    async fn shared() -> Self {
        let shared = Shared::new().await;
        let cluster = Cluster::start(&quiet(shared.settings()), 1, 2).await;
        Self {
            api: cluster.api,
            postrider: cluster.ingests.into_iter().chain(cluster.workers).collect(),
            installation: Installation::Shared(Box::new(shared)),
        }
    }

    async fn measure(self, endpoints: usize, events: usize) {
        let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
        let app = self.api.application(&receiver.url).await;
        for _ in 1..endpoints {
            let path = format!("/api/v1/app/{}/endpoint", app.id);
            self.api.post(&path, json!({"url": receiver.url})).await;
        }
        send(&self.api, &app.id, WARM_UP).await;
        receiver.wait_for(WARM_UP * endpoints).await;

        let (begun, before) = (Instant::now(), self.used().await);
        send(&self.api, &app.id, events).await;
        let accepted = begun.elapsed();
        receiver.wait_for((WARM_UP + events) * endpoints).await;
        let (took, used) = (begun.elapsed(), self.used().await);
        let deliveries = (events * endpoints) as f64;
        println!(
            "{endpoints} endpoint(s), {CLIENTS} clients: {:.0} events/s accepted, {:.0} deliveries/s; CPU per delivery:{}; peak {} MiB{}",
            events as f64 / accepted.as_secs_f64(),
            deliveries / took.as_secs_f64(),
            used.cpu_since(&before, deliveries),
            self.peak(),
            used.memory_since(&before, events),
        );
        for server in self.postrider {
            server.terminate().await;
        }
    }

    /// Of all processes together.
    fn peak(&self) -> u64 {
        let processes = self.postrider.iter();
        processes.map(|server| peak_mib(server.pid())).sum()
    }

    async fn used(&self) -> Used {
        let own = self.postrider.iter();
        let own = own.map(|server| cpu_seconds_of_tree(server.pid())).sum();
        let mut used = Used {
            cpu: vec![("Postrider", own)],
            redis_bytes: None,
        };
        if let Installation::Shared(shared) = &self.installation {
            let rabbitmq = cpu_seconds_of_tree(shared.broker_pid().await);
            used.cpu.push(("RabbitMQ", rabbitmq));
            let redis = cpu_seconds_of_tree(shared.redis.pid());
            used.cpu.push(("Redis", redis));
            used.redis_bytes = Some(shared.redis.used_memory().await);
        }
        used
    }
}

/// What has been used up since the processes began.
struct Used {
    /// Seconds, user and system.
    cpu: Vec<(&'static str, f64)>,
    redis_bytes: Option<u64>,
}

impl Used {
    fn cpu_since(&self, before: &Self, deliveries: f64) -> String {
        let pairs = self.cpu.iter().zip(&before.cpu);
        let each = pairs.map(|((name, now), (_, then))| {
            format!(" {name} {:.0} µs", (now - then) * 1e6 / deliveries)
        });
        each.collect::<Vec<_>>().join(",")
    }

    fn memory_since(&self, before: &Self, events: usize) -> String {
        let (Some(now), Some(then)) = (self.redis_bytes, before.redis_bytes) else {
            return String::new();
        };
        let each = (now as f64 - then as f64) / events as f64;
        format!(", {each:.0} bytes in Redis per message")
    }
}

async fn send(api: &Api, app: &str, events: usize) {
    let payload = json!({"padding": "x".repeat(490)});
    let clients = (0..CLIENTS).map(|client| {
        let (api, app, payload) = (api.clone(), app.to_owned(), payload.clone());
        let share = events / CLIENTS + usize::from(client < events % CLIENTS);
        tokio::spawn(async move {
            for _ in 0..share {
                api.event(&app, "order.paid", payload.clone())
                    .await
                    .unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}
