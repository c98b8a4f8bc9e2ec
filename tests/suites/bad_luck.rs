//! Wrong settings, a directory in use, a full disk.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use postrider_tests::{
    Answer, Api, Installation, PATIENCE, Receiver, Server, Settings, on_each_installation,
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

// What concerns the data directory is for the embedded backends alone.
on_each_installation!(
    a_bad_setting_is_one_clear_line,
    a_port_in_use_is_one_clear_line,
);

/// The start fails with exit code 2 and exactly one line, which names `subject`.
async fn refused(settings: &Settings, subject: &str) {
    let (code, said) = Server::fail(settings).await;
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(
        said.trim_end().lines().count(),
        1,
        "more than one line:\n{said}"
    );
    assert!(said.contains(subject), "{subject:?} is not named:\n{said}");
}

async fn a_bad_setting_is_one_clear_line(installation: &Installation) {
    let cases = [
        ("LISTEN", "nonsense"),
        ("RETRY_SCHEDULE", "[5, -1]"),
        ("REQUEST_TIMEOUT", "31s"),
        ("ALLOW_NETS", "10.0.0.0/99"),
        ("LOG_FORMAT", "xml"),
        ("HTTPS_ONLY", "perhaps"),
        ("BROKER", "smtp://example.org"),
    ];
    for (name, value) in cases {
        refused(
            &installation.settings().env(name, value),
            &format!("POSTRIDER_{name}"),
        )
        .await;
    }
    refused(
        &installation.settings().env("JWT_SECRET", ""),
        "POSTRIDER_JWT_SECRET",
    )
    .await;
}

async fn a_port_in_use_is_one_clear_line(installation: &Installation) {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["LISTEN", "METRICS_LISTEN"] {
        refused(
            &installation.settings().env(name, address.clone()),
            &address,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_in_use_or_unusable_is_one_clear_line() {
    let data = TempDir::new().unwrap();
    let _server = Server::start(&Settings::new(data.path())).await;
    refused(&Settings::new(data.path()), data.path().to_str().unwrap()).await;

    let file = data.path().join("a file");
    std::fs::write(&file, "not a directory").unwrap();
    refused(&Settings::new(&file), file.to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_data_directory_is_one_clear_line() {
    let data = TempDir::new().unwrap();
    let server = Server::start(&Settings::new(data.path())).await;
    server.terminate().await;
    let database = std::fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let database = database.filter(|path| {
        path.extension()
            .is_some_and(|end| end == "db" || end == "sqlite3")
    });
    let files: Vec<_> = database.collect();
    assert!(!files.is_empty(), "no database file in the data directory");
    for file in files {
        std::fs::write(file, vec![b'x'; 64 * 1024]).unwrap();
    }
    refused(&Settings::new(data.path()), data.path().to_str().unwrap()).await;
}

/// Runs a server whose data directory is a file system of 24 MiB, in a mount namespace of its own.
fn on_a_small_disk(mount_point: &Path) -> Settings {
    let mut settings = Settings::new(&mount_point.join("data"));
    let script = format!(
        "mount -t tmpfs -o size=24m tmpfs '{}' && exec \"$@\"",
        mount_point.to_str().unwrap()
    );
    settings.wrapper = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ]
    .map(str::to_owned)
    .to_vec();
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_events_and_loses_none() {
    let mount_point = TempDir::new().unwrap();
    std::fs::set_permissions(mount_point.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let server = Server::start(&on_a_small_disk(mount_point.path())).await;
    let api = Api::new(&server).await;
    let app = api.application(&receiver.url).await;
    // The server's view of the file system: ours does not have the mount.
    let seen = format!(
        "/proc/{}/root{}",
        server.pid(),
        mount_point.path().to_str().unwrap()
    );
    let ballast = Path::new(&seen).join("ballast");
    let mut accepted = vec![
        api.event(&app.id, "order.paid", json!({"n": 0}))
            .await
            .unwrap(),
    ];
    // Its record is written a moment after it was accepted; this waits for it.
    api.get(&format!("/api/v1/app/{}/msg/{}", app.id, accepted[0]))
        .await;

    fill(&ballast);
    let padding = "x".repeat(20_000);
    let refused = loop {
        match api
            .event(&app.id, "order.paid", json!({"padding": padding}))
            .await
        {
            Ok(message) => accepted.push(message),
            Err(status) => break status,
        }
    };
    assert_eq!(refused, 503);
    let path = format!("/api/v1/app/{}/msg", app.id);
    assert!(
        !api.get(&path).await["data"].as_array().unwrap().is_empty(),
        "reading must go on"
    );

    // A report is passed on for half a second, and the one of the start said that all is well.
    server.wait_for_health(503).await;
    let (_, health) = api.call(Method::GET, "/health", None).await;
    assert_eq!(
        health["dependencies"]["broker"]["status"],
        json!("unavailable"),
        "{health}"
    );

    std::fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while api
        .event(&app.id, "order.paid", json!({"after": true}))
        .await
        .is_err()
    {
        assert!(
            Instant::now() < deadline,
            "nothing is accepted although there is room again"
        );
    }
    // A report is passed on for half a second.
    while api.call(Method::GET, "/health", None).await.0 != 200 {
        assert!(
            Instant::now() < deadline,
            "unhealthy although there is room again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    receiver
        .wait_until("every accepted event", |requests| {
            accepted
                .iter()
                .all(|message| requests.iter().any(|request| &request.id == message))
        })
        .await;
    let (status, _) = server.terminate().await;
    assert_eq!(status.code(), Some(0));
}

fn fill(ballast: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[0; 64 * 1024]).is_ok() {}
}
