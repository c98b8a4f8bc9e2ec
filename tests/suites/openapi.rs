//! The document that the server hands out, taken at its word: a tool that knows nothing else of Postrider makes requests of
//! it, good ones and bad ones, and holds the answers against it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::Stdio;
use std::time::Duration;

use postrider_tests::{Api, Installation, Role, Server, on_each_installation};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

/// What must hold for every answer. That good requests are taken is not among it: whether an event type exists, say, no
/// schema tells.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

// One at a time: Python 3.11 mixes up threads that parse at once.
/// It takes two or three minutes, and both kinds of installation go side by side. More than half of it are waits for
/// messages that do not exist and, by their event ids, may be on their way.
const PATIENCE: Duration = Duration::from_secs(900);

/// Another one finds other things, at the price that failures come and go.
const SEED: &str = "20261122";

fn required(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run the tests by ./scripts/test"))
}

on_each_installation!(whatever_is_asked_the_answer_is_as_the_document_says);

/// How many requests are made up for each operation, beside the few thousand that follow from the document.
fn examples(installation: &Installation) -> &'static str {
    let at_length = std::env::var_os("POSTRIDER_TEST_ALL").is_some();
    match installation {
        // How a request is read, and mostly how it is answered, is the same code as on the embedded backends.
        Installation::Shared(_) if !at_length => "2",
        _ => "8",
    }
}

async fn whatever_is_asked_the_answer_is_as_the_document_says(installation: &Installation) {
    // Nothing is delivered: the endpoints that are made up here may be somebody's.
    let settings = installation.settings().role(Role::Ingest);
    let server = Server::start(&settings).await;
    let api = Api::new(&server).await;
    api.post("/api/v1/app", json!({"name": "Shop", "uid": "shop"}))
        .await;
    let origin = server.api();
    // It leaves files behind.
    let scratch = tempfile::TempDir::new().unwrap();
    let output = Command::new(required("POSTRIDER_TEST_SCHEMATHESIS"))
        .args(["run", &format!("{origin}/api/v1/openapi.json")])
        .args(["--url", origin, "--header"])
        .arg(format!("Authorization: Bearer {}", api.token()))
        // It would end the token that all of this is done with.
        .args(["--exclude-path", "/api/v1/auth/logout"])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing"])
        .args(["--max-examples", examples(installation)])
        .args(["--seed", SEED, "--workers", "1"])
        .args(["--request-timeout", "20", "--suppress-health-check", "all"])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output)
        .await
        .expect("an end in time")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    // It fails neither where it finds nothing to ask.
    assert!(said.contains("passed"), "{said}");
}
