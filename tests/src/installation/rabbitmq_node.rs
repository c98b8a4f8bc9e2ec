//! A RabbitMQ of a test's own: suites kill, stop and starve it.
//!
//! Configured as the shared one is, with the file that we ship. It registers with the port mapper (epmd) of the test
//! run, so its name is unlike any other, and has the run's cookie, so that nodes can form a cluster.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::rabbitmq_config::{FILES, Ports, USER, configuration, shipped};
use super::{Management, free_port, prepared};
use crate::PATIENCE;

/// A port may be taken between finding it free and using it.
const TRIES: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Erlang's distribution listens on every address unless told.
const ON_LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Killed when dropped, its data with it.
#[derive(Debug)]
pub struct RabbitNode {
    name: String,
    /// Where RabbitMQ's programs are.
    programs: PathBuf,
    ports: Ports,
    home: TempDir,
    /// `None` while it is down.
    child: Option<Child>,
}

impl RabbitNode {
    pub async fn start() -> Self {
        Self::start_from("POSTRIDER_TEST_RABBITMQ_SBIN").await
    }

    /// The programs are in the directory that this variable names.
    pub(super) async fn start_from(programs: &str) -> Self {
        for _ in 0..TRIES {
            let mut node = Self::prepare(PathBuf::from(prepared(programs))).await;
            node.launch();
            if node.comes_up().await {
                return node;
            }
        }
        panic!("no RabbitMQ came up");
    }

    /// Its files and ports, and nothing that runs.
    pub(super) async fn prepare(programs: PathBuf) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let ports = Ports {
            amqp: free_port().await,
            management: free_port().await,
            distribution: free_port().await,
        };
        let node = Self {
            name: format!("e2e-{}-{number}@localhost", std::process::id()),
            programs,
            ports,
            home: TempDir::new().unwrap(),
            child: None,
        };
        for directory in ["conf.d", "data", "log"] {
            std::fs::create_dir(node.path(directory)).unwrap();
        }
        node.write("env.conf", "");
        node.write("advanced.config", "[].\n");
        node.write("enabled_plugins", "[rabbitmq_management].\n");
        node.write("conf.d/instance.conf", &configuration(ports));
        node
    }

    /// Forms a cluster with the nodes of these names at its first start.
    pub(super) fn join(&self, names: &[String]) {
        let mut text = std::fs::read_to_string(shipped("cluster.conf")).unwrap();
        for (number, name) in names.iter().enumerate() {
            // Stronger than the example's, since it comes later.
            let number = number + 1;
            text += &format!("\ncluster_formation.classic_config.nodes.{number} = {name}\n");
        }
        self.write("conf.d/cluster.conf", &text);
    }

    /// Of the Erlang node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.amqp)
    }

    /// The URL for Postrider, where it is reached at `address`.
    #[must_use]
    pub fn url_at(&self, address: &str) -> String {
        format!("amqp://{USER}:{USER}@{address}/%2f")
    }

    /// The base of its management API, with credentials.
    #[must_use]
    pub fn management(&self) -> String {
        format!("http://{USER}:{USER}@127.0.0.1:{}", self.ports.management)
    }

    pub(super) fn managed(&self) -> Management {
        Management {
            api: self.management(),
            vhost: "/".to_owned(),
        }
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("it is up");
        i32::try_from(child.id().expect("it runs")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("RabbitMQ runs");
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let mut child = self.child.take().expect("it is up");
        child.wait().await.unwrap();
    }

    /// `SIGTERM`: it stops in order.
    pub async fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().expect("it is up");
        let ended = timeout(PATIENCE, child.wait()).await;
        ended.expect("RabbitMQ stops").unwrap();
    }

    /// Up again with what it had on disk; returns once it accepts AMQP.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it is up");
        self.launch();
        assert!(
            self.comes_up().await,
            "RabbitMQ did not come up again:\n{}",
            self.said()
        );
    }

    /// `rabbitmqctl` with these arguments; what it printed.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let (good, said) = self.run("rabbitmqctl", arguments).await;
        assert!(good, "rabbitmqctl {arguments:?}: {said}");
        said
    }

    /// Any of its programs; whether it ended well, and what it printed.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = self.command(program).args(arguments).output();
        let Output {
            status,
            stdout,
            stderr,
        } = output.await.unwrap();
        let mut said = String::from_utf8_lossy(&stdout).into_owned();
        if !status.success() {
            said += &String::from_utf8_lossy(&stderr);
        }
        (status.success(), said)
    }

    pub(super) fn launch(&mut self) {
        let mut command = self.command("rabbitmq-server");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log/output"));
        let log = log.unwrap();
        command
            // As under systemd, the script becomes the Erlang machine, and the child is the server itself.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ON_LOOPBACK)
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().expect("rabbitmq-server can be started"));
    }

    /// A program of RabbitMQ's, set up for this node and away from everything that the system's own uses.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            // Who cleans up after the test run finds its processes by this.
            .env(
                "POSTRIDER_SERVICES_INSTANCE",
                prepared("POSTRIDER_TEST_INSTANCE"),
            )
            // Where the cookie is.
            .env(
                "HOME",
                Path::new(&prepared("POSTRIDER_TEST_INSTANCE")).join("home"),
            )
            .env("ERL_EPMD_PORT", prepared("POSTRIDER_TEST_EPMD_PORT"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_CRASH_DUMP", self.path("log/erl_crash.dump"))
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_CONFIG_FILE", shipped("rabbitmq.conf"))
            .env("RABBITMQ_CTL_ERL_ARGS", ON_LOOPBACK);
        for (variable, file) in FILES {
            command.env(variable, self.path(file));
        }
        command
    }

    /// `false` where it ends instead.
    pub(super) async fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + 2 * PATIENCE;
        while Instant::now() < deadline {
            let child = self.child.as_mut().expect("it was launched");
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            if self.answers().await {
                return true;
            }
            sleep(LOOK_AGAIN).await;
        }
        false
    }

    /// Whether it begins a conversation: to the protocol header a server answers with a method frame, whose first byte
    /// is 1 (AMQP 0-9-1, section 2.3.5).
    pub async fn answers(&self) -> bool {
        let asking = async {
            let mut stream = TcpStream::connect(self.address()).await.ok()?;
            stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
            stream.read_u8().await.ok()
        };
        timeout(ANSWERS_WITHIN, asking).await == Ok(Some(1))
    }

    pub(super) fn said(&self) -> String {
        let files = ["log/output", "log/rabbitmq.log"].map(|file| self.path(file));
        let texts = files.map(|file| std::fs::read_to_string(file).unwrap_or_default());
        texts.join("\n")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.home.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }
}
