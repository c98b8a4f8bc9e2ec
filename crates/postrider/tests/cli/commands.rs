//! Commands that end by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{SECRET, Server, get, post, postrider, refused, run, serve, token};

#[tokio::test]
async fn help_and_version() {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["dev", "--help"],
        &["token", "consumer", "--help"],
    ] {
        let ended = run(postrider(args)).await;
        assert_eq!(ended.code, Some(0));
        insta::assert_snapshot!(args.join("_").replace('-', ""), ended.out);
    }
    let version = run(postrider(&["--version"])).await.out;
    assert_eq!(
        version.trim(),
        format!("postrider {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn completions_are_a_script() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(postrider(&["completions", shell])).await;
        assert_eq!(script.code, Some(0));
        assert!(
            script.out.contains("postrider") && script.out.contains("backup"),
            "{shell}"
        );
    }
}

fn claims(token: &str) -> Value {
    let part = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn tokens_say_whom_they_speak_for_and_until_when() {
    let mut command = postrider(&["token", "operator", "--ttl", "2h"]);
    command.env("POSTRIDER_JWT_SECRET", SECRET);
    let operator = claims(&run(command).await.out);
    assert_eq!(operator["sub"], "org_000000000000000000000000001");
    assert_eq!(
        operator["exp"].as_i64().unwrap() - operator["iat"].as_i64().unwrap(),
        7_200
    );

    let app = "app_3MOsKlvmlQdjvvp0G0fiu4C9f9C";
    let org = "org_3MOsKlvmlQdjvvp0G0fiu4C9f9D";
    let mut command = postrider(&["token", "consumer", "--app", app, "--org", org]);
    command.env("POSTRIDER_JWT_SECRET", SECRET);
    let consumer = claims(&run(command).await.out);
    assert_eq!(
        (&consumer["sub"], &consumer["org"]),
        (&app.into(), &org.into())
    );
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    refused(
        postrider(&["token", "operator"]),
        &["POSTRIDER_JWT_SECRET", "openssl"],
    )
    .await;
    let data = TempDir::new().unwrap();
    let mut command = postrider(&["serve", "--data", data.path().to_str().unwrap()]);
    command.env("POSTRIDER_JWT_SECRET", "");
    refused(command, &["POSTRIDER_JWT_SECRET", "openssl"]).await;
    assert_eq!(
        std::fs::read_dir(data.path()).unwrap().count(),
        0,
        "nothing was begun"
    );
}

#[tokio::test]
async fn what_has_to_be_corrected_is_one_line() {
    let data = TempDir::new().unwrap();
    let with = |name: &str, value: &str| {
        let mut command = serve(data.path());
        command.env(name, value);
        command
    };
    refused(
        with("POSTRIDER_LISTEN", "here"),
        &["POSTRIDER_LISTEN", "\"here\"", "environment"],
    )
    .await;
    refused(
        with("POSTRIDER_BROKER", "amqp://a:hush@localhost"),
        &["POSTRIDER_BROKER", "Redis", "POSTRIDER_STORE"],
    )
    .await;
    refused(
        with("POSTRIDER_STORE", "redis://localhost"),
        &["POSTRIDER_STORE", "RabbitMQ", "POSTRIDER_BROKER"],
    )
    .await;
    refused(
        with("POSTRIDER_CONFIG", "/nowhere.toml"),
        &["/nowhere.toml"],
    )
    .await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    refused(
        with("POSTRIDER_LISTEN", &taken),
        &["POSTRIDER_LISTEN", &taken, "in use"],
    )
    .await;
    refused(
        with("POSTRIDER_METRICS_LISTEN", &taken),
        &["POSTRIDER_METRICS_LISTEN", &taken, "in use"],
    )
    .await;
    refused(
        postrider(&["dev", "--once", "--listen", &taken]),
        &["--listen", &taken, "in use"],
    )
    .await;

    let file = data.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    refused(serve(&file), &["POSTRIDER_DATA", file.to_str().unwrap()]).await;
    let backup = ["backup", "--data", "/nowhere", "--to", "/tmp/none"];
    refused(
        postrider(&backup),
        &["POSTRIDER_DATA", "/nowhere", "does not exist"],
    )
    .await;
}

#[tokio::test]
async fn check_shows_what_is_in_force_and_tries_it() {
    let data = TempDir::new().unwrap();
    let dir = data.path().to_str().unwrap();
    let check = |args: &[&str]| {
        let mut command = postrider(&[&["check", "--data", dir], args].concat());
        command.env("POSTRIDER_JWT_SECRET", SECRET);
        command
    };

    let fresh = run(check(&[])).await;
    assert_eq!(fresh.code, Some(0), "{fresh:?}");
    assert!(!fresh.out.contains(SECRET));
    assert_eq!(
        std::fs::read_dir(dir).unwrap().count(),
        0,
        "a check makes nothing"
    );
    let shown = fresh.out.replace(dir, "DIR");
    let shown: Vec<_> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));

    let away = run(check(&[
        "--broker",
        "amqp://me:hush@127.0.0.1:1",
        "--store",
        "redis://127.0.0.1:1",
    ]))
    .await;
    assert_eq!(away.code, Some(1));
    assert!(
        away.out.contains("FAIL  broker")
            && away.out.contains("FAIL  registry")
            && away.out.contains("FAIL  log")
            && !away.out.contains("hush"),
        "{}",
        away.out
    );

    let server = Server::start(serve(data.path())).await;
    let busy = run(check(&["--metrics-listen", &server.metrics])).await;
    assert_eq!(busy.code, Some(0), "{busy:?}");
    assert!(
        busy.out.contains("in use by a running server") && busy.out.contains("\"broker\""),
        "{}",
        busy.out
    );
    assert_eq!(server.running.stop(Signal::SIGTERM).await, Some(0));

    let stopped = run(check(&[])).await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(
        stopped.out.contains("opened, and can be written to"),
        "{}",
        stopped.out
    );

    std::fs::write(
        data.path().join("postrider.db"),
        "no database, but long enough to be looked at",
    )
    .unwrap();
    let damaged = run(check(&[])).await;
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.out.contains("FAIL"), "{}", damaged.out);
}

#[tokio::test]
async fn a_backup_of_a_running_server_can_be_restored() {
    let (data, restored) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let token = token().await;
    let server = Server::start(serve(data.path())).await;
    let new = json!({ "name": "Shop", "uid": "shop" });
    let (status, _) = post(&server.api, "/api/v1/app", &token, &new).await;
    assert_eq!(status, 201);

    let to = restored.path().join("postrider.db");
    let backup = || {
        postrider(&[
            "backup",
            "--data",
            data.path().to_str().unwrap(),
            "--to",
            to.to_str().unwrap(),
        ])
    };
    let made = run(backup()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    refused(backup(), &["exists already"]).await;
    server.running.stop(Signal::SIGTERM).await;

    let server = Server::start(serve(restored.path())).await;
    let (status, _) = post(&server.api, "/api/v1/app", &token, &new).await;
    assert_eq!(status, 409, "it is there already");
    assert_eq!(get(&server.api, "/health").await.0, 200);
    server.running.stop(Signal::SIGTERM).await;
}
