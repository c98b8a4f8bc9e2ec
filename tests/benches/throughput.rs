//! How much one process does: clients that send one event after the other, and a subscriber that answers at once.
//!
//! ```sh
//! cargo build --release -p postrider && POSTRIDER_BIN=target/release/postrider cargo bench -p postrider-tests
//! ```
//!
//! Load, server and subscriber share the machine, so the figures are for comparing runs on one machine, not for
//! sizing. CPU is the server's own, as the kernel counts it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is its report"
)]

use postrider_tests::{Answer, Api, Receiver, Server, Settings};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

const CLIENTS: usize = 64;
const EVENTS: usize = 40_000;
const WARM_UP: usize = 2_000;
/// Jiffies a second, as `/proc` counts CPU time on Linux.
const TICKS: f64 = 100.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for endpoints in [1, 5] {
        measure(endpoints, EVENTS / endpoints).await;
    }
}

async fn measure(endpoints: usize, events: usize) {
    let data = TempDir::new().unwrap();
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server =
        Server::start(&Settings::new(data.path()).env("LOG", "warn,postrider::wiring=info")).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    for _ in 1..endpoints {
        api.post(
            &format!("/api/v1/app/{}/endpoint", app.id),
            json!({"url": receiver.url}),
        )
        .await;
    }
    send(&api, &app.id, WARM_UP).await;
    receiver.wait_for(WARM_UP * endpoints).await;

    let (begun, cpu) = (Instant::now(), cpu_seconds(server.pid()));
    send(&api, &app.id, events).await;
    let accepted = begun.elapsed();
    receiver.wait_for((WARM_UP + events) * endpoints).await;
    let (took, cpu) = (begun.elapsed(), cpu_seconds(server.pid()) - cpu);
    let deliveries = (events * endpoints) as f64;
    println!(
        "{endpoints} endpoint(s), {CLIENTS} clients: {:.0} events/s accepted, {:.0} deliveries/s, {:.0} µs CPU per delivery, {} MiB peak",
        events as f64 / accepted.as_secs_f64(),
        deliveries / took.as_secs_f64(),
        cpu * 1e6 / deliveries,
        peak_mib(server.pid()),
    );
    server.terminate().await;
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

fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse().unwrap())
        .collect();
    fields.iter().sum::<f64>() / TICKS
}

fn peak_mib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
