//! `serve`: what it answers beside the API, and how it stops.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixDatagram};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::program::{Server, get, line_with, post, refused, serve, token};

#[tokio::test]
async fn health_is_told_on_both_listeners() {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    let (status, from_api) = get(&server.api, "/health").await;
    assert_eq!(status, 200);
    let mut report: Value = serde_json::from_str(&from_api).unwrap();
    report["version"] = "[version]".into();
    insta::assert_json_snapshot!(report);
    assert_eq!(get(&server.metrics, "/health").await, (200, from_api));
    assert_eq!(
        get(&server.metrics, "/api/v1/app").await.0,
        404,
        "the API is on its own listener only"
    );
    assert_eq!(
        get(&server.api, "/metrics").await.0,
        404,
        "metrics are on their own listener only"
    );
    assert_eq!(server.running.stop(Signal::SIGTERM).await, Some(0));
}

#[tokio::test]
async fn metrics_tell_what_runs_and_what_waits() {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    let (status, metrics) = get(&server.metrics, "/metrics").await;
    assert_eq!(status, 200);
    let version = env!("CARGO_PKG_VERSION");
    for wanted in [
        &format!("postrider_build_info{{version=\"{version}\"}} 1"),
        "postrider_queue_packs{state=\"ready\"} 0",
        "postrider_attempts_total{outcome=\"delivered\"} 0",
        "process_open_fds",
    ] {
        assert!(metrics.contains(wanted), "{wanted} is missing");
    }
    assert_eq!(server.running.stop(Signal::SIGINT).await, Some(0));
}

#[tokio::test]
async fn roles_are_separate() {
    let data = TempDir::new().unwrap();
    let mut command = serve(data.path());
    command.args(["--roles", "worker"]);
    let server = Server::start(command).await;
    assert_eq!(server.api, "none");
    let (_, report) = get(&server.metrics, "/health").await;
    assert!(report.contains("\"roles\":[\"worker\"]"), "{report}");
    server.running.stop(Signal::SIGTERM).await;
}

#[tokio::test]
async fn one_process_at_a_time() {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    refused(
        serve(data.path()),
        &["POSTRIDER_DATA", data.path().to_str().unwrap(), "in use"],
    )
    .await;
    server.running.stop(Signal::SIGTERM).await;
    let again = Server::start(serve(data.path())).await;
    again.running.stop(Signal::SIGTERM).await;
}

/// A subscriber that takes connections and never answers; tells when it has got one.
async fn silent_subscriber() -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let called = Arc::new(Notify::new());
    let tell = Arc::clone(&called);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            tell.notify_one();
        }
    });
    (url, called)
}

/// A server with a delivery under way that will not end by itself.
async fn server_with_a_hanging_delivery(data: &TempDir, grace: &str) -> Server {
    let (url, called) = silent_subscriber().await;
    let token = token().await;
    let mut command = serve(data.path());
    command.env("POSTRIDER_GRACE", grace);
    let server = Server::start(command).await;
    let (_, app) = post(
        &server.api,
        "/api/v1/app",
        &token,
        &json!({ "name": "Shop" }),
    )
    .await;
    let app = format!("/api/v1/app/{}", app["id"].as_str().unwrap());
    post(
        &server.api,
        &format!("{app}/endpoint"),
        &token,
        &json!({ "url": url }),
    )
    .await;
    let event = json!({ "eventType": "order.paid", "payload": {} });
    assert_eq!(
        post(&server.api, &format!("{app}/msg"), &token, &event)
            .await
            .0,
        202
    );
    timeout(Duration::from_secs(30), called.notified())
        .await
        .expect("a delivery is begun");
    server
}

#[tokio::test]
async fn a_stop_says_that_it_is_draining_and_ends_within_the_grace_period() {
    let data = TempDir::new().unwrap();
    let mut server = server_with_a_hanging_delivery(&data, "8s").await;
    let begun = Instant::now();
    server.running.signal(Signal::SIGTERM);
    line_with(&mut server.running.err, "stopping").await;
    let (status, report) = get(&server.metrics, "/health").await;
    assert_eq!(status, 503);
    assert!(report.contains("\"status\":\"draining\""), "{report}");
    assert_eq!(server.running.ended().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let data = TempDir::new().unwrap();
    let mut server = server_with_a_hanging_delivery(&data, "1h").await;
    server.running.signal(Signal::SIGTERM);
    line_with(&mut server.running.err, "stopping").await;
    let begun = Instant::now();
    assert_eq!(server.running.stop(Signal::SIGINT).await, Some(130));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn systemd_is_told() {
    let (data, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = serve(data.path());
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "3000000");
    let server = Server::start(command).await;
    let mut told = Vec::new();
    while !["READY=1", "WATCHDOG=1"]
        .iter()
        .all(|wanted| told.iter().any(|line: &String| line == wanted))
    {
        told.push(receive(&socket).await);
    }
    server.running.signal(Signal::SIGTERM);
    while receive(&socket).await != "STOPPING=1" {}
    assert_eq!(server.running.ended().await, Some(0));
}

async fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = timeout(Duration::from_secs(30), socket.recv(&mut buffer))
        .await
        .expect("a notice")
        .unwrap();
    String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
}
