//! Installations of their own on the servers that all cases share.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_backends::redis::{Options, Server};
use postrider_core::time::Timestamp;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::{Cmd, RedisResult, Value};
use tempfile::TempDir;

/// Which server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Single,
    Cluster,
}

impl Kind {
    pub(crate) fn url(self) -> String {
        let name = match self {
            Self::Single => "POSTRIDER_TEST_REDIS",
            Self::Cluster => "POSTRIDER_TEST_REDIS_CLUSTER",
        };
        let missing = || panic!("{name} must name a server for tests; ./scripts/test starts one");
        std::env::var(name).unwrap_or_else(|_| missing())
    }
}

/// Names an installation that no other case uses.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) space: String,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let space = format!("t{:016x}", rand::random::<u64>());
        Self { kind, space }
    }

    /// What a process that opens it connects with.
    pub(crate) fn server(&self) -> Arc<Server> {
        let options = Options {
            space: self.space.clone(),
            // Machines that test are busy.
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
        };
        Server::new(&self.kind.url(), options).unwrap()
    }

    /// A connection of a test's own, to see what is stored.
    pub(crate) async fn link(&self) -> Box<dyn ConnectionLike + Send> {
        let urls = self.kind.url();
        match self.kind {
            Kind::Single => {
                let client = redis::Client::open(urls).unwrap();
                Box::new(client.get_multiplexed_async_connection().await.unwrap())
            }
            Kind::Cluster => {
                let client = ClusterClient::new(urls.split(',')).unwrap();
                Box::new(client.get_async_connection().await.unwrap())
            }
        }
    }

    /// Asks the server something.
    pub(crate) async fn ask(&self, command: Cmd) -> Value {
        self.try_ask(&command).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, command: &Cmd) -> RedisResult<Value> {
        let mut link = self.link().await;
        let answer = link.req_packed_command(command).await?;
        answer.extract_error()
    }
}

/// What the clock of this machine, which is the servers', shows.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of these tests that reads it"
)]
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// A server of a test's own, for what others must not see: it is ended with the test.
#[derive(Debug)]
pub(crate) struct OwnServer {
    process: Child,
    port: u16,
    password: Option<String>,
    dir: TempDir,
}

impl OwnServer {
    /// `options` are those of `redis-server`.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_at(port, options).await
    }

    pub(crate) async fn start_at(port: u16, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(dir.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let password = options
            .iter()
            .skip_while(|option| **option != "--requirepass")
            .nth(1);
        let own = Self {
            process,
            port,
            password: password.map(|text| (*text).to_owned()),
            dir,
        };
        own.wait().await;
        own
    }

    async fn wait(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let answers = async {
            while client.get_multiplexed_async_connection().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let started = tokio::time::timeout(Duration::from_secs(30), answers).await;
        assert!(
            started.is_ok(),
            "the server in {:?} did not start",
            self.dir.path()
        );
    }

    fn url(&self) -> String {
        let password = self.password.as_ref();
        let user = password.map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    pub(crate) fn server(&self) -> Arc<Server> {
        self.server_with(Options::default())
    }

    pub(crate) fn server_with(&self, options: Options) -> Arc<Server> {
        Server::new(&self.url(), options).unwrap()
    }

    /// A connection of a test's own.
    pub(crate) async fn link(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) async fn ask(&self, command: &Cmd) {
        command.exec_async(&mut self.link().await).await.unwrap();
    }

    /// Waits until the answer to a command says `what`.
    pub(crate) async fn until(&self, verb: &str, of: &str, what: &str) {
        let mut link = self.link().await;
        let told = async {
            loop {
                let mut command = redis::cmd(verb);
                let text: String = command.arg(of).query_async(&mut link).await.unwrap();
                if text.contains(what) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told).await;
        assert!(told.is_ok(), "{verb} {of} never said {what}");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its name within a Cluster.
    pub(crate) async fn id(&self) -> String {
        let mut command = redis::cmd("CLUSTER");
        let asked = command.arg("MYID");
        asked.query_async(&mut self.link().await).await.unwrap()
    }

    /// The slots that something lies in.
    pub(crate) async fn filled_slots(&self) -> Vec<u16> {
        let mut link = self.link().await;
        let all = redis::cmd("KEYS").arg("*").clone();
        let names: Vec<Vec<u8>> = all.query_async(&mut link).await.unwrap();
        let mut slots = Vec::new();
        for name in names {
            let mut slot_of = redis::cmd("CLUSTER");
            let asked = slot_of.arg("KEYSLOT").arg(name);
            slots.push(asked.query_async(&mut link).await.unwrap());
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// `CLUSTER SETSLOT`.
    pub(crate) async fn slot(&self, slot: u16, state: &[&str]) {
        let mut command = redis::cmd("CLUSTER");
        self.ask(command.arg("SETSLOT").arg(slot).arg(state)).await;
    }

    pub(crate) async fn set(&self, setting: &str, value: &str) {
        let mut set = redis::cmd("CONFIG");
        self.ask(set.arg("SET").arg(setting).arg(value)).await;
    }

    /// Kills it, and returns the port, which is free then.
    pub(crate) fn stop(mut self) -> u16 {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.port
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
