//! A Redis of a test's own: suites kill, flush and fill it.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::free_port;
use crate::PATIENCE;

/// A port may be taken between finding it free and using it.
const TRIES: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Killed when dropped, its data with it.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    data: TempDir,
    child: Child,
}

impl RedisServer {
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let data = TempDir::new().unwrap();
            let port = free_port().await;
            let child = launch(port, &data);
            let mut server = Self { port, data, child };
            if server.comes_up().await {
                return server;
            }
        }
        panic!("no Redis came up; redis-server must be in the PATH");
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("it runs")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("Redis runs");
    }

    /// `kill -9`, and up again with what it had on disk.
    pub async fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
        self.child = launch(self.port, &self.data);
        assert!(self.comes_up().await, "Redis did not come up again");
    }

    /// A command without arguments that hold spaces, and its answer: the text of it, errors included.
    pub async fn command(&self, command: &str) -> String {
        self.ask(command).await.expect("Redis answers")
    }

    /// Bytes of data.
    pub async fn used_memory(&self) -> u64 {
        let info = self.command("INFO memory").await;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// `false` where it ends instead. Asked for its pid, because a stranger may listen at that port.
    async fn comes_up(&mut self) -> bool {
        let itself = format!("process_id:{}", self.pid());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            let info = self.ask("INFO server").await.unwrap_or_default();
            if info.lines().any(|line| line == itself) {
                return true;
            }
            sleep(LOOK_AGAIN).await;
        }
        false
    }

    async fn ask(&self, command: &str) -> Option<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await.ok()?);
        let line = format!("{command}\r\n");
        stream.write_all(line.as_bytes()).await.ok()?;
        let mut head = String::new();
        stream.read_line(&mut head).await.ok()?;
        let head = head.trim_end();
        let Some(length) = head.strip_prefix('$') else {
            return Some(head.get(1..)?.to_owned());
        };
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
        String::from_utf8(body).ok()
    }
}

/// With the durability that the documentation asks for.
fn launch(port: u16, data: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    let port = port.to_string();
    let directory = data.path().to_str().expect("a path that is text");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", directory]);
    command.args([
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
    ]);
    command.args(["--maxmemory-policy", "noeviction"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server can be started")
}
