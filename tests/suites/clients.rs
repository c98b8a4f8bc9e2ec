//! Svix's client libraries as they are, against Postrider as it is: the programs in `tests/clients` walk the life of an
//! application with each of them, and receive and verify what they send.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postrider_tests::{Api, Installation, Server, on_each_installation};
use tokio::process::Command;
use tokio::time::timeout;

/// A step of a program that waits in vain gives up by itself, before this.
const WALK: Duration = Duration::from_secs(240);

/// One retry, so that a message is given up soon.
const SCHEDULE: &str = "[0.2]";

on_each_installation!(
    python_version_2,
    python_version_1,
    javascript_version_2,
    javascript_version_1,
    go,
    rust,
    java
);

async fn python_version_2(installation: &Installation) {
    walk(installation, python("POSTRIDER_TEST_SVIX_PYTHON_2")).await;
}

async fn python_version_1(installation: &Installation) {
    walk(installation, python("POSTRIDER_TEST_SVIX_PYTHON_1")).await;
}

async fn javascript_version_2(installation: &Installation) {
    let node = required("POSTRIDER_TEST_SVIX_NODE_2");
    let packages = required("POSTRIDER_TEST_SVIX_NODE_PATH_2");
    walk(installation, javascript(&node, &packages)).await;
}

async fn javascript_version_1(installation: &Installation) {
    let node = required("POSTRIDER_TEST_NODE");
    let packages = required("POSTRIDER_TEST_SVIX_NODE_PATH_1");
    walk(installation, javascript(&node, &packages)).await;
}

async fn go(installation: &Installation) {
    walk(installation, compiled("POSTRIDER_TEST_SVIX_GO")).await;
}

async fn rust(installation: &Installation) {
    walk(installation, compiled("POSTRIDER_TEST_SVIX_RUST")).await;
}

async fn java(installation: &Installation) {
    let mut command = Command::new("java");
    // It is a short program: the compiler's second stage would take longer than it saves.
    command.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]);
    command.args([&required("POSTRIDER_TEST_SVIX_JAVA"), "Walk"]);
    walk(installation, command).await;
}

fn python(interpreter: &str) -> Command {
    let mut command = Command::new(required(interpreter));
    command
        .args(["-B", "walk.py"])
        .current_dir(programs("python"));
    command
}

fn javascript(node: &str, packages: &str) -> Command {
    let mut command = Command::new(node);
    command
        .arg("walk.js")
        .current_dir(programs("javascript"))
        .env("NODE_PATH", packages);
    command
}

fn compiled(program: &str) -> Command {
    Command::new(required(program))
}

fn programs(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(language)
}

fn required(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run the tests by ./scripts/test"))
}

/// Runs a program against a server of its own; what it says is the report where it fails.
async fn walk(installation: &Installation, mut program: Command) {
    let settings = installation.settings().env("RETRY_SCHEDULE", SCHEDULE);
    let server = Server::start(&settings).await;
    let api = Api::new(&server).await;
    program
        .env("POSTRIDER_URL", api.base())
        .env("POSTRIDER_TOKEN", api.token())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(WALK, program.output()).await;
    let output = output.expect("the program ends").unwrap();
    assert!(
        output.status.success(),
        "the client ended with {}; it said:\n{}{}\nthe server said:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        last_lines(&server.log()),
    );
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
