//! `dev`: the tour, as the first thing that anybody sees.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::program::{Ended, Running, line_with, postrider, run};

const EVENTS: [&str; 5] = [
    "order.paid",
    "user.created",
    "build.failed",
    "invoice.overdue",
    "shipment.delivered",
];

fn dev(args: &[&str]) -> Command {
    postrider(&[&["dev"], args].concat())
}

/// The columns of the lines about `event`: time, event, endpoint, attempt, status, milliseconds, outcome…
fn lines<'a>(tour: &'a Ended, event: &str) -> Vec<Vec<&'a str>> {
    let columns = tour
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter(|columns| columns.get(1) == Some(&event))
        .collect()
}

/// The last line about each event says that it arrived, and one was tried three times.
fn assert_all_arrived(tour: &Ended) {
    assert_eq!(tour.code, Some(0), "{tour:?}");
    for event in EVENTS {
        let last = lines(tour, event).pop().unwrap();
        assert_eq!(last[4], "204", "{event}: {}", tour.out);
        assert_eq!(last[6..].join(" "), "delivered, signature verified");
    }
    assert!(tour.out.contains("All 5 events arrived"), "{}", tour.out);
    assert!(
        !tour.out.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
    assert_eq!(tour.err, "");
}

#[tokio::test]
async fn the_tour_delivers_everything_and_one_event_by_its_second_retry() {
    let tour = run(dev(&["--once"])).await;
    assert_all_arrived(&tour);
    let refused: Vec<_> = lines(&tour, "invoice.overdue")
        .iter()
        .map(|columns| columns[3..5].join(" "))
        .collect();
    assert_eq!(refused, ["1 503", "2 500", "3 204"]);
    let data = tour
        .out
        .lines()
        .find(|line| line.contains("temporary"))
        .expect("it says where the data is");
    let path = PathBuf::from(data.split_whitespace().nth(1).unwrap());
    assert!(
        path.is_absolute() && !path.exists(),
        "{} should be gone",
        path.display()
    );
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let data = TempDir::new().unwrap();
    let dir = data.path().to_str().unwrap();
    let mut first = Running::start(dev(&["--data", dir]));
    let attempt = line_with(&mut first.out, "invoice.overdue     tour").await;
    assert!(attempt.contains("503"), "{attempt}");
    first.stop(Signal::SIGKILL).await;
    let secret = data.path().join("dev-jwt-secret");
    assert_eq!(
        std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let second = run(dev(&["--once", "--data", dir])).await;
    assert_all_arrived(&second);
    assert!(
        second.out.contains("found, from an earlier run"),
        "{}",
        second.out
    );
    let left_over = lines(&second, "invoice.overdue")
        .iter()
        .filter(|columns| columns[3..5] == ["2", "204"])
        .count();
    assert_eq!(
        left_over, 1,
        "what the first run left undelivered arrives: {}",
        second.out
    );

    let third = run(dev(&["--once", "--data", dir])).await;
    assert_all_arrived(&third);
    assert_eq!(
        lines(&third, "order.paid").len(),
        1,
        "nothing of an earlier run is repeated: {}",
        third.out
    );
}

#[tokio::test]
async fn it_stays_and_shows_what_the_user_sends_until_ctrl_c() {
    let mut dev = Running::start(dev(&[]));
    let token = line_with(&mut dev.out, "export TOKEN=").await;
    let token = token.split('=').nth(1).unwrap().to_owned();
    let send = line_with(&mut dev.out, "/msg ").await;
    let url = send
        .split_whitespace()
        .nth(2)
        .unwrap()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let (address, path) = url.split_once('/').unwrap();
    line_with(&mut dev.out, "TIME").await;
    let event = serde_json::json!({ "eventType": "order.paid", "payload": { "order": 1042 } });
    let (status, _) = crate::program::post(address, &format!("/{path}"), &token, &event).await;
    assert_eq!(status, 202);
    let shown = line_with(&mut dev.out, "order.paid").await;
    assert!(shown.contains("delivered, signature verified"), "{shown}");
    assert_eq!(dev.stop(Signal::SIGINT).await, Some(0));
}

#[tokio::test]
async fn what_cannot_arrive_is_named() {
    let mut command = dev(&["--once", "--retry-schedule", "[]"]);
    command.env("NO_COLOR", "1");
    let tour = run(command).await;
    assert_eq!(tour.code, Some(1), "{tour:?}");
    assert!(
        tour.err.contains("invoice.overdue") && tour.err.contains("exhausted"),
        "{}",
        tour.err
    );
    assert_eq!(tour.err.lines().count(), 1, "{}", tour.err);
}
