//! A Redis of a test's own: suites kill, stop, flush and fill it.

use std::path::PathBuf;
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
    /// What it is told beyond what all are.
    more: Vec<String>,
    data: TempDir,
    /// `None` while it is down.
    child: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let mut server = Self::prepare(free_port().await, Vec::new());
            server.launch();
            if server.comes_up().await {
                return server;
            }
        }
        panic!("no Redis came up; redis-server must be in the PATH");
    }

    /// One of several that know each other.
    pub(super) async fn start_in_cluster(node_timeout: Duration) -> Option<Self> {
        let bus = free_port().await.to_string();
        let timeout = node_timeout.as_millis().to_string();
        let more = [
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus],
            ["--cluster-node-timeout", &timeout],
        ];
        let more = more.as_flattened().iter();
        let more = more.map(|&argument| argument.to_owned()).collect();
        let mut server = Self::prepare(free_port().await, more);
        server.launch();
        server.comes_up().await.then_some(server)
    }

    fn prepare(port: u16, more: Vec<String>) -> Self {
        Self {
            port,
            more,
            data: TempDir::new().unwrap(),
            child: None,
        }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("it is up");
        i32::try_from(child.id().expect("it runs")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("Redis runs");
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let mut child = self.child.take().expect("it is up");
        child.wait().await.unwrap();
    }

    /// Up again with what it had on disk.
    pub async fn start_again(&mut self) {
        self.launch();
        assert!(self.comes_up().await, "Redis did not come up again");
    }

    /// `kill -9`, and up again.
    pub async fn crash(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// What is on disk of what it was told: a place to go back to.
    #[must_use]
    pub fn written(&self) -> u64 {
        std::fs::metadata(self.last_file()).unwrap().len()
    }

    /// Forgets, while it is down, what it was told since: its machine died, and the disk did not have it yet.
    pub fn forget_since(&self, written: u64) {
        let file = std::fs::File::options().write(true).open(self.last_file());
        file.unwrap().set_len(written).unwrap();
    }

    fn last_file(&self) -> PathBuf {
        self.data
            .path()
            .join("appendonlydir/appendonly.aof.1.incr.aof")
    }

    /// Loses everything.
    pub async fn flush(&self) {
        self.obey("FLUSHALL").await;
    }

    /// Reads go on, every write is refused: it follows a server that is not there.
    pub async fn refuse_writes(&self) {
        self.obey("REPLICAOF 127.0.0.1 1").await;
    }

    pub async fn take_writes(&self) {
        self.obey("REPLICAOF NO ONE").await;
    }

    /// `maxmemory`; 0: none.
    pub async fn limit_memory(&self, bytes: u64) {
        self.obey(&format!("CONFIG SET maxmemory {bytes}")).await;
    }

    /// Something of somebody else that takes this much memory.
    pub async fn fill(&self, bytes: u64) {
        let answer = self.command(&format!("SETRANGE foreign {bytes} x")).await;
        assert_eq!(answer, (bytes + 1).to_string());
    }

    pub async fn clear(&self) {
        self.command("DEL foreign").await;
    }

    /// A command without arguments that hold spaces, and its answer: the text of it, errors included.
    pub async fn command(&self, command: &str) -> String {
        self.ask(command).await.expect("Redis answers")
    }

    /// Bytes of data.
    pub async fn used_memory(&self) -> u64 {
        self.info("memory", "used_memory")
            .await
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A field of `INFO`; `None` where it does not answer.
    pub(super) async fn info(&self, section: &str, field: &str) -> Option<String> {
        let info = self.ask(&format!("INFO {section}")).await?;
        value(&info, field)
    }

    /// The same of `CLUSTER INFO`.
    pub(super) async fn cluster_info(&self, field: &str) -> Option<String> {
        let info = self.ask("CLUSTER INFO").await?;
        value(&info, field)
    }

    async fn obey(&self, command: &str) {
        assert_eq!(self.command(command).await, "OK", "{command}");
    }

    /// `false` where it ends instead. Asked for its pid, because a stranger may listen at that port.
    async fn comes_up(&mut self) -> bool {
        let itself = self.pid().to_string();
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() && Instant::now() < deadline {
            if self.info("server", "process_id").await.as_ref() == Some(&itself)
                && self.info("persistence", "loading").await.as_deref() == Some("0")
            {
                return true;
            }
            sleep(LOOK_AGAIN).await;
        }
        false
    }

    fn is_running(&mut self) -> bool {
        let child = self.child.as_mut().map(Child::try_wait);
        matches!(child, Some(Ok(None)))
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

    /// With the durability that the documentation asks for.
    fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        let directory = self.data.path().to_str().expect("a path that is text");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", directory]);
        command.args(["--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "everysec"]);
        command.args(["--maxmemory-policy", "noeviction"]);
        command.args(&self.more);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.kill_on_drop(true).spawn();
        self.child = Some(child.expect("redis-server can be started"));
    }
}

fn value(info: &str, field: &str) -> Option<String> {
    let line = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
    info.lines().find_map(line)
}
