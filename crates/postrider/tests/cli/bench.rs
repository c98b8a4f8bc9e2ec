//! The benchmark as a user starts it; what it measures is nobody's promise.

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Server, get_as, postrider, refused, run, serve, token};

#[tokio::test]
async fn a_bench_on_the_embedded_backends_reports_what_became_of_everything() {
    let dir = TempDir::new().unwrap();
    let (json, svg) = (dir.path().join("run.json"), dir.path().join("run.svg"));
    let mut command = postrider(&["bench", "--events", "40", "--rounds", "2"]);
    command
        .args(["--clients", "4", "--applications", "3", "--fan-out", "2"])
        .args(["--endpoints", "3", "--failing", "20"])
        .args(["--pages", "2", "--idle", "100ms"])
        .arg("--json")
        .arg(&json)
        .arg("--svg")
        .arg(&svg);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("CPU per delivery"), "{}", ended.out);
    assert!(
        !ended.out.contains("floor"),
        "there is none without RabbitMQ"
    );

    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!(round["accepted"], 40);
        assert_eq!(
            (&round["lost"], &round["duplicated"]),
            (&0.into(), &0.into())
        );
        // Two of the six endpoints that events are for fail, one of the first application and one of the last: 40 events
        // reach 80 endpoints, less those of these two.
        let delivered = round["delivered"].as_u64().unwrap();
        assert!((53..=54).contains(&delivered), "{delivered}");
        let times = [&round["accept"], &round["receive"]];
        for times in times {
            let of = |name: &str| times[name].as_f64().unwrap();
            assert!(0.0 < of("p50") && of("p50") <= of("p99") && of("p99") <= of("max"));
        }
        assert_eq!(round["processes"][0]["name"], "postrider");
        assert!(round["processes"][0]["memory_mib"].as_f64().unwrap() > 1.0);
    }
    assert!(
        report["medians"]["delivered_per_second"]["postrider"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert_eq!(report["idle"][0]["name"], "postrider");
    assert!(report["idle"][0]["memory_mib"].as_f64().unwrap() > 1.0);
    assert_eq!(report["backlog"], Value::Null);
    let pages = report["pages"].as_array().unwrap();
    let of = |kind: &str| pages.iter().find(|page| page["kind"] == kind).unwrap();
    // All rounds together, one of them not counted, over three applications.
    assert_eq!(
        (&of("messages")["rows"], &of("messages")["done"]),
        (&40.into(), &true.into())
    );
    assert_eq!(of("messages, tag of few")["rows"], 1);
    assert_eq!(of("messages, tag of none")["rows"], 0);
    assert!(of("messages")["p99"].as_f64().unwrap() > 0.0);
    assert!(ended.out.contains("first pages") && ended.out.contains("idle"));
    let plot = std::fs::read_to_string(svg).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("<polyline"));
}

#[tokio::test]
async fn a_bench_over_tls_counts_handshakes_and_questions_about_names() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("run.json");
    let mut command = postrider(&["bench", "--events", "40", "--rounds", "1", "--clients", "1"]);
    command
        .args(["--applications", "4", "--hosts", "4", "--tls", "--close"])
        .arg("--json")
        .arg(&json);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("of them resumed"), "{}", ended.out);
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let round = &report["rounds"][0];
    assert_eq!(
        (&round["delivered"], &round["lost"]),
        (&40.into(), &0.into())
    );
    // Every host was connected to in the round before.
    assert_eq!(round["handshakes"], 40);
    assert!(round["resumed"].as_u64().unwrap() > 30, "{round}");
    assert_eq!(round["queries"], 0);
}

#[tokio::test]
async fn a_bench_of_what_runs_already_leaves_it_as_it_was() {
    let data = TempDir::new().unwrap();
    let server = Server::start(serve(data.path())).await;
    let json = data.path().join("run.json");
    let token = token().await;
    let at = format!("http://{}", server.api);
    let mut command = postrider(&["bench", "--events", "20", "--rounds", "1", "--at", &at]);
    command.args(["--clients", "2", "--token", &token, "--json"]);
    command.arg(&json);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let round = &report["rounds"][0];
    assert_eq!(
        (&round["accepted"], &round["delivered"]),
        (&20.into(), &20.into())
    );
    // Those of the round that was not counted are kept alive.
    assert!(round["connections"].as_u64().unwrap() < 20);
    assert_eq!(round["processes"][0]["name"], "ingest");
    let (_, left) = get_as(&server.api, "/api/v1/app", &token).await;
    assert_eq!(
        left["data"],
        serde_json::json!([]),
        "its applications are deleted"
    );
    server.running.stop(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_bench_says_what_is_wrong_with_its_arguments() {
    let mut command = postrider(&["bench"]);
    command.env("POSTRIDER_BROKER", "amqp://127.0.0.1");
    refused(command, &["POSTRIDER_BROKER", "POSTRIDER_STORE"]).await;
    let shares = postrider(&["bench", "--slow", "60", "--hanging", "41"]);
    refused(shares, &["--slow", "more than 100"]).await;
    let at = ["bench", "--at", "http://127.0.0.1:1", "--token", "t"];
    let tls = postrider(&[&at[..], &["--tls"]].concat());
    refused(tls, &["--tls", "--at", "do not trust"]).await;
    let hosts = postrider(&[&at[..], &["--hosts", "1"]].concat());
    refused(hosts, &["--hosts", "--at", "name server"]).await;
    let names = postrider(&["bench", "--hosts", "7", "--applications", "2"]);
    refused(names, &["--hosts", "endpoints (2)"]).await;
    let many = postrider(&["bench", "--events", "10000000", "--fan-out", "100"]);
    refused(many, &["--events", "--fan-out", "ask for less"]).await;
    let ended = run(postrider(&["bench", "--at", "http://127.0.0.1:1"])).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--token"), "{}", ended.err);
    let alone = postrider(&["bench", "--backlog"]);
    refused(alone, &["--backlog", "POSTRIDER_BROKER", "one process"]).await;
    let at = ["--at", "http://127.0.0.1:1", "--token", "t"];
    let mut running = postrider(&["bench", "--backlog"]);
    running.args(at);
    refused(running, &["--backlog", "--at", "leave out"]).await;
    let idle = postrider(&["bench", "--backlog", "--idle", "1s"]);
    refused(idle, &["--idle", "a run of its own"]).await;
    let ended = run(postrider(&["bench", "--rate", "0"])).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("more than 0"), "{}", ended.err);
}
