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
    url: String,
    _dir: TempDir,
}

impl OwnServer {
    /// A server without a limit to its memory, that keeps nothing on disk.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port().to_string()
        };
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--dir"])
            .arg(dir.path())
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--maxmemory-policy",
                "noeviction",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self {
            process,
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
        let options = Options {
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
            ..Options::default()
        };
        Server::new(&self.url, options).unwrap()
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.unwrap()
    }

    pub(crate) async fn limit_memory(&self, bytes: u64) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(bytes);
        command.exec_async(&mut self.connect().await).await.unwrap();
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
