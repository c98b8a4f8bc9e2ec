//! `registry` and `health`: a registry as a file, and a server that is asked how it is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::program::{Server, get, post, postrider, refused, run, serve, token};

fn export(data: &Path, to: &Path) -> Command {
    let mut command = postrider(&["registry", "export", "--to", to.to_str().unwrap()]);
    command.env("POSTRIDER_DATA", data);
    command
}

fn import(data: &Path, from: &Path) -> Command {
    let mut command = postrider(&["registry", "import", from.to_str().unwrap()]);
    command.env("POSTRIDER_DATA", data);
    command
}

/// A directory with an application and its endpoint.
async fn filled() -> TempDir {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    let token = token().await;
    for (path, body) in [
        ("/api/v1/app", json!({"name": "Acme", "uid": "acme"})),
        (
            "/api/v1/app/acme/endpoint",
            json!({"url": "http://127.0.0.1:9/", "uid": "main"}),
        ),
    ] {
        let (status, answer) = post(&server.api, path, &token, &body).await;
        assert_eq!(status, 201, "{answer}");
    }
    server.running.stop(Signal::SIGTERM).await;
    data
}

#[tokio::test]
async fn an_exported_registry_can_be_imported_elsewhere() {
    let (from, to) = (filled().await, TempDir::new().unwrap());
    let file = from.path().join("registry.jsonl");
    let said = run(export(from.path(), &file)).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("2 records"), "{}", said.out);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    refused(export(from.path(), &file), &["exists already"]).await;

    let said = run(import(to.path(), &file)).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let server = Server::start(serve(to.path())).await;
    let token = token().await;
    let event = json!({"eventType": "order.paid", "payload": {}});
    let (status, _) = post(&server.api, "/api/v1/app/acme/msg", &token, &event).await;
    assert_eq!(status, 202);
    let taken = json!({"url": "http://127.0.0.1:9/", "uid": "main"});
    let (status, _) = post(&server.api, "/api/v1/app/acme/endpoint", &token, &taken).await;
    assert_eq!(status, 409, "the endpoint is there with its uid");
    server.running.stop(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let (from, to) = (filled().await, TempDir::new().unwrap());
    let file = from.path().join("registry.jsonl");
    run(export(from.path(), &file)).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let whole: Vec<&str> = text.lines().collect();
    let cut = from.path().join("cut.jsonl");
    std::fs::write(&cut, whole[..whole.len() - 1].join("\n")).unwrap();
    refused(import(to.path(), &cut), &["cut off", "nothing was changed"]).await;
    refused(
        import(to.path(), &from.path().join("none")),
        &["no such file", "nothing was changed"],
    )
    .await;

    let empty = from.path().join("empty.jsonl");
    let data = TempDir::new().unwrap();
    Server::start(serve(data.path()))
        .await
        .running
        .stop(Signal::SIGTERM)
        .await;
    let said = run(export(data.path(), &empty)).await;
    assert!(said.out.contains("0 records"), "{} {}", said.out, said.err);
}

#[tokio::test]
async fn what_the_registry_commands_need_is_said() {
    let data = filled().await;
    let server = Server::start(serve(data.path())).await;
    let file = data.path().join("registry.jsonl");
    refused(export(data.path(), &file), &["in use"]).await;
    server.running.stop(Signal::SIGTERM).await;
    refused(
        export(Path::new("/nowhere"), &file),
        &["/nowhere", "--data"],
    )
    .await;
    let mut init = postrider(&["registry", "init"]);
    init.env("POSTRIDER_DATA", data.path());
    refused(init, &["needs no founding", "--store"]).await;
}

#[tokio::test]
async fn health_is_an_exit_code() {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    let ask = |address: &str| postrider(&["health", "--metrics-listen", address]);
    let well = run(ask(&server.metrics)).await;
    assert_eq!(well.code, Some(0), "{}", well.err);
    let (_, report) = get(&server.metrics, "/health").await;
    assert!(well.out.contains(&report), "{}", well.out);
    let address = server.metrics.clone();
    server.running.stop(Signal::SIGTERM).await;
    let away = run(ask(&address)).await;
    assert_eq!(away.code, Some(1));
    assert!(away.err.contains("does not answer"), "{}", away.err);
}
