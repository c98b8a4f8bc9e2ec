//! A running `postrider serve`.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{JWT_SECRET, PATIENCE, Scrape, eventually};

/// The binary under test: `POSTRIDER_BIN`, which the test script sets.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("POSTRIDER_BIN").map(PathBuf::from);
    path.expect(
        "POSTRIDER_BIN must name the binary under test; ./scripts/test builds it and sets it",
    )
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Both,
    Ingest,
    Worker,
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Environment variables, without the prefix `POSTRIDER_`; of two with one name the later one counts.
    pub env: Vec<(&'static str, String)>,
    /// A program with its arguments that runs the server: `strace …`.
    pub wrapper: Vec<String>,
    /// Another binary than [`binary`].
    pub program: Option<PathBuf>,
}

impl Settings {
    /// On the embedded backends in this directory.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self::default().env("DATA", data.to_str().expect("a path that is text"))
    }

    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn role(self, role: Role) -> Self {
        match role {
            Role::Both => self,
            Role::Ingest => self.env("ROLES", "ingest"),
            Role::Worker => self.env("ROLES", "worker"),
        }
    }

    fn command(&self) -> Command {
        self.command_of(&["serve"])
    }

    fn command_of(&self, arguments: &[&str]) -> Command {
        let program = self.program.clone().unwrap_or_else(binary);
        let mut parts = self.wrapper.iter().map(PathBuf::from).chain([program]);
        let mut command = Command::new(parts.next().expect("at least the binary"));
        command.args(parts).args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("POSTRIDER_JWT_SECRET", JWT_SECRET);
        command
            .env("POSTRIDER_LISTEN", "127.0.0.1:0")
            .env("POSTRIDER_METRICS_LISTEN", "127.0.0.1:0");
        command
            .env("POSTRIDER_HTTPS_ONLY", "false")
            .env("POSTRIDER_ALLOW_NETS", "127.0.0.0/8")
            .env("POSTRIDER_LOG_FORMAT", "json");
        for (name, value) in &self.env {
            command.env(format!("POSTRIDER_{name}"), value);
        }
        command
    }
}

/// A server process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: Pid,
    /// The base of the API's URLs; `None` for a process that is a worker only.
    pub api: Option<String>,
    pub metrics: String,
    client: reqwest::Client,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server and waits until it listens and has everything that it depends on.
    pub async fn start(settings: &Settings) -> Self {
        let server = Self::launch(settings).await;
        server.wait_for_health(200).await;
        server
    }

    /// Starts a server and waits until it listens.
    pub async fn launch(settings: &Settings) -> Self {
        let launched = Self::try_launch(settings).await;
        launched.unwrap_or_else(|said| panic!("the server did not come up; it said:\n{said}"))
    }

    /// The same for one that may end before it listens: the error is what it said.
    pub async fn try_launch(settings: &Settings) -> Result<Self, String> {
        let mut command = settings.command();
        command
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server can be started");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (told, mut listening) = watch::channel(None);
        let stderr = child.stderr.take().expect("piped");
        tokio::spawn(follow(stderr, Arc::clone(&log), told));
        let ready = timeout(PATIENCE, listening.wait_for(Option::is_some)).await;
        let addresses = ready.ok().and_then(Result::ok);
        let Some(Listening { pid, api, metrics }) =
            addresses.and_then(|addresses| addresses.clone())
        else {
            return Err(log.lock().join("\n"));
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            child,
            pid,
            api,
            metrics,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            log,
        })
    }

    /// Whether it has ended, by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs another command of the binary to its end, with the same settings: whether it succeeded, and what it said.
    pub async fn run(settings: &Settings, arguments: &[&str]) -> (bool, String) {
        let mut command = settings.command_of(arguments);
        command.kill_on_drop(true).stdin(Stdio::null());
        let output = timeout(PATIENCE, command.output())
            .await
            .expect("it ends")
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    /// Runs to the end, for starts that are meant to fail: the exit code and what was said.
    pub async fn fail(settings: &Settings) -> (Option<i32>, String) {
        let mut command = settings.command();
        command.kill_on_drop(true).stdin(Stdio::null());
        let output = timeout(PATIENCE, command.output())
            .await
            .expect("it ends")
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// The base of the API's URLs, of a process that has one.
    #[must_use]
    pub fn api(&self) -> &str {
        self.api.as_deref().expect("this process is no ingest")
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
    }

    /// `SIGTERM`; waits for the end and returns how long that took.
    pub async fn terminate(mut self) -> (ExitStatus, Duration) {
        let begun = tokio::time::Instant::now();
        self.signal(Signal::SIGTERM);
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap();
        (status, begun.elapsed())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the server runs");
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The log as it grows, also beyond the server's end.
    #[must_use]
    pub fn log_lines(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.log)
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().join("\n")
    }

    /// The status and the report of `/health`, as probes see it; `None` where there is no answer.
    pub async fn health(&self) -> Option<(u16, Value)> {
        let response = self.client.get(format!("{}/health", self.metrics));
        let response = response.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    /// Waits until `/health` answers with this status.
    pub async fn wait_for_health(&self, status: u16) {
        let what = format!("{} to be {status}", self.metrics);
        eventually(&what, || async {
            self.health().await.filter(|(got, _)| *got == status)
        })
        .await;
    }

    pub async fn scrape(&self) -> Scrape {
        Scrape::of(&self.client, &self.metrics).await
    }
}

/// What the line that says "ready" tells.
#[derive(Debug, Clone)]
struct Listening {
    pid: Pid,
    api: Option<String>,
    metrics: String,
}

/// Collects the log; the line that says where the server listens makes it known.
async fn follow(
    stderr: tokio::process::ChildStderr,
    log: Arc<Mutex<Vec<String>>>,
    told: watch::Sender<Option<Listening>>,
) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(found) = listening(&line) {
            let _ = told.send(Some(found));
        }
        log.lock().push(line);
    }
}

fn listening(line: &str) -> Option<Listening> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let pid = i32::try_from(fields.get("pid")?.as_i64()?).ok()?;
    let api = text("listen")?;
    Some(Listening {
        pid: Pid::from_raw(pid),
        api: (api != "none").then(|| format!("http://{api}")),
        metrics: format!("http://{}", text("metrics_listen")?),
    })
}
