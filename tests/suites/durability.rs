//! An event is answered 202 only once it is on disk. A kill cannot show a missing fsync, since the kernel keeps what
//! was written: the system calls can.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use postrider_tests::{Answer, Api, Receiver, Server, Settings};
use serde_json::json;
use tempfile::TempDir;

const EVENTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_202_is_preceded_by_a_sync_of_the_log_file() {
    let data = TempDir::new().unwrap();
    let trace = data.path().join("trace");
    let mut settings = Settings::new(&data.path().join("data"));
    let calls = "trace=fsync,fdatasync,read,recvfrom,sendto,sendmsg,write,writev";
    settings.wrapper = [
        "strace",
        "-f",
        "-y",
        "-s",
        "64",
        "-e",
        calls,
        "-o",
        trace.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec();
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&settings).await;
    let api = Api::new(&server).await;
    // No endpoint: nothing but the acceptance writes, apart from the log, which is not waited for.
    let app = api.post("/api/v1/app", json!({"name": "Shop"})).await;
    for number in 0..EVENTS {
        api.event(
            app["id"].as_str().unwrap(),
            "order.paid",
            json!({"number": number}),
        )
        .await
        .unwrap();
    }
    server.terminate().await;
    drop(receiver);

    let trace = std::fs::read_to_string(&trace).unwrap();
    let mut synced = false;
    let mut answers = 0;
    for line in trace.lines() {
        if line.contains("POST /api/v1/app/") {
            synced = false;
        } else if is_sync(line) {
            synced = true;
        } else if line.contains("HTTP/1.1 202") {
            assert!(synced, "answered before anything was synced:\n{line}");
            answers += 1;
        }
    }
    assert_eq!(answers, EVENTS);
}

/// A finished sync of the write-ahead log. A call that another thread interrupts is shown in two lines; the second
/// one tells its end.
fn is_sync(line: &str) -> bool {
    let begun_and_done = line.contains("sync(") && line.contains("-wal") && line.ends_with("= 0");
    let resumed = line.contains("sync resumed>") && line.ends_with("= 0");
    begun_and_done || resumed
}
