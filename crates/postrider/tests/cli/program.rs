//! Starts the binary with nothing of this machine's settings.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines,
};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

pub(crate) const SECRET: &str = "a secret for these tests, of more than 32 bytes";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that is about to run.
pub(crate) fn postrider(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
        .env("POSTRIDER_LISTEN", "127.0.0.1:0")
        .env("POSTRIDER_METRICS_LISTEN", "127.0.0.1:0");
    command
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) async fn run(mut command: Command) -> Ended {
    let output = timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Ends with 2 and one line that contains all of `words`.
pub(crate) async fn refused(command: Command, words: &[&str]) {
    let ended = run(command).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    for word in words {
        assert!(
            ended.err.contains(word),
            "{word:?} is missing in: {}",
            ended.err
        );
    }
}

/// A command that runs, with its standard output and error to be read line by line.
pub(crate) struct Running {
    child: Child,
    pub(crate) out: Lines<BufReader<ChildStdout>>,
    pub(crate) err: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, err }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) async fn ended(mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
            .code()
    }

    pub(crate) async fn stop(self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.ended().await
    }
}

/// The first line that has `word` in it.
pub(crate) async fn line_with<R: AsyncRead + Unpin>(
    lines: &mut Lines<BufReader<R>>,
    word: &str,
) -> String {
    let mut seen = Vec::new();
    let search = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(word) {
                return Some(line);
            }
            seen.push(line);
        }
        None
    };
    let found = timeout(PATIENCE, search).await.ok().flatten();
    found.unwrap_or_else(|| panic!("no line with {word:?} in:\n{}", seen.join("\n")))
}

/// A server of its own data directory.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) api: String,
    pub(crate) metrics: String,
}

pub(crate) fn serve(data: &Path) -> Command {
    let mut command = postrider(&["serve"]);
    command
        .env("POSTRIDER_DATA", data)
        .env("POSTRIDER_JWT_SECRET", SECRET)
        .env("POSTRIDER_LOG_FORMAT", "json")
        .env("POSTRIDER_ALLOW_NETS", "127.0.0.0/8")
        .env("POSTRIDER_HTTPS_ONLY", "false");
    command
}

impl Server {
    pub(crate) async fn start(command: Command) -> Self {
        let mut running = Running::start(command);
        let ready: Value =
            serde_json::from_str(&line_with(&mut running.err, "\"ready\"").await).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            api: address("listen"),
            metrics: address("metrics_listen"),
            running,
        }
    }
}

/// One request, by hand: status and body.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"),
    )
    .await
}

pub(crate) async fn get_as(address: &str, path: &str, token: &str) -> (u16, Value) {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let (status, answer) = request(address, &head).await;
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

pub(crate) async fn post(address: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, answer) = request(address, &head).await;
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

async fn request(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

/// An operator's token for [`SECRET`], made by the binary.
pub(crate) async fn token() -> String {
    let mut command = postrider(&["token", "operator"]);
    command.env("POSTRIDER_JWT_SECRET", SECRET);
    run(command).await.out.trim().to_owned()
}
