//! The first command of the README.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postrider_tests::{PATIENCE, binary};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

async fn tour(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args([
            "dev",
            "--once",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ])
        .args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(PATIENCE, command.output())
        .await
        .expect("the tour ends")
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_delivers_everything_one_event_by_its_second_retry() {
    let output = tour(&[]).await;
    let said = text(&output);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for event in ["order.paid", "build.failed", "user.created"] {
        assert!(said.contains(event), "{event} is not shown:\n{said}");
    }
    assert!(said.contains("503") && said.contains("verified"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_once_it_prints_how_to_go_on_and_stays_until_ctrl_c() {
    let mut command = Command::new(binary());
    command.args([
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let curl = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("curl") {
                return;
            }
        }
        panic!("no curl line was printed");
    };
    timeout(PATIENCE, curl)
        .await
        .expect("the tour comes to its end");
    assert!(child.try_wait().unwrap().is_none(), "it did not stay up");
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    // Somebody has to read on, or the process waits for its output to be taken.
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let status = timeout(PATIENCE, child.wait())
        .await
        .expect("it ends")
        .unwrap();
    rest.await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_works_twice_in_one_data_directory() {
    let data = TempDir::new().unwrap();
    let directory = data.path().to_str().unwrap();
    for run in ["first", "second"] {
        let output = tour(&["--data", directory]).await;
        let said = text(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{run} run: {said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
