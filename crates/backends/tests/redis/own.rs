//! Redis servers of a test's own, for what would disturb others: memory that is measured, memory that is used up.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use postrider_backends::redis::{Options, Server};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct OwnServer {
    process: Child,
    port: u16,
    url: String,
    _dir: TempDir,
}

impl OwnServer {
    /// A server without a limit to its memory, that keeps nothing on disk.
    pub(crate) async fn start() -> Self {
        Self::start_with(free_port(), &[]).await
    }

    async fn start_with(port: u16, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(dir.path())
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--maxmemory-policy",
                "noeviction",
            ])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self {
            process,
            port,
            url: format!("redis://127.0.0.1:{port}"),
            _dir: dir,
        };
        let answers = async {
            while server.try_connect().await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("the server starts");
        server
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str())?;
        client.get_multiplexed_async_connection().await
    }

    /// What a process connects with.
    pub(crate) fn server(&self) -> Arc<Server> {
        Server::new(&self.url, patient()).unwrap()
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.unwrap()
    }

    async fn tell(&self, command: &redis::Cmd) {
        command.exec_async(&mut self.connect().await).await.unwrap();
    }

    pub(crate) async fn limit_memory(&self, bytes: u64) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(bytes);
        self.tell(&command).await;
    }

    /// Bytes that it uses, once nothing is being freed any more.
    pub(crate) async fn memory(&self) -> u64 {
        let mut connection = self.connect().await;
        loop {
            let info: String = redis::cmd("INFO")
                .arg("memory")
                .query_async(&mut connection)
                .await
                .unwrap();
            if number(&info, "lazyfree_pending_objects:") == 0 {
                return number(&info, "used_memory:");
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn keys(&self) -> u64 {
        let mut connection = self.connect().await;
        redis::cmd("DBSIZE")
            .query_async(&mut connection)
            .await
            .unwrap()
    }
}

/// Machines that test are busy.
fn patient() -> Options {
    Options {
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        ..Options::default()
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A Cluster of two, each with half of the slots.
pub(crate) struct OwnCluster {
    pub(crate) nodes: [OwnServer; 2],
}

impl OwnCluster {
    pub(crate) async fn start() -> Self {
        let (first, _) = Self::node(0, 8_191).await;
        let (second, bus) = Self::node(8_192, 16_383).await;
        let mut command = redis::cmd("CLUSTER");
        command
            .arg("MEET")
            .arg("127.0.0.1")
            .arg(second.port)
            .arg(bus);
        first.tell(&command).await;
        let cluster = Self {
            nodes: [first, second],
        };
        timeout(PATIENCE, cluster.wait())
            .await
            .expect("the nodes find each other");
        cluster
    }

    async fn node(first: u16, last: u16) -> (OwnServer, u16) {
        let bus = free_port();
        let text = bus.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &text];
        let node = OwnServer::start_with(free_port(), &options).await;
        let mut command = redis::cmd("CLUSTER");
        command.arg("ADDSLOTSRANGE").arg(first).arg(last);
        node.tell(&command).await;
        (node, bus)
    }

    async fn wait(&self) {
        for node in &self.nodes {
            let mut command = redis::cmd("CLUSTER");
            command.arg("INFO");
            let mut connection = node.connect().await;
            loop {
                let info: String = command.query_async(&mut connection).await.unwrap();
                if info.contains("cluster_state:ok") && info.contains("cluster_size:2") {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub(crate) fn server(&self) -> Arc<Server> {
        let urls = self.nodes.each_ref().map(|node| node.url.as_str());
        Server::new(&urls.join(","), patient()).unwrap()
    }
}

fn number(info: &str, name: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.process.kill().expect("it runs until here");
        self.process.wait().expect("it has ended");
    }
}
