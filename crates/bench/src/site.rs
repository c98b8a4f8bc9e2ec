//! The processes of a run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::usage;

const START: Duration = Duration::from_secs(20);

/// What a process of the bench is started as; it is told by its standard input, in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// See [`crate::subscriber`].
    Subscriber {
        /// Where it listens.
        listen: SocketAddr,
        /// How long a slow endpoint takes.
        slow: Duration,
        /// Whether each connection is closed after its answer.
        closes: bool,
        /// Makes it speak TLS as well.
        tls: Option<crate::tls::Identity>,
        /// Whether it has a name server.
        has_names: bool,
    },
    /// See [`crate::load`].
    Load {
        /// What to send.
        plan: crate::load::Plan,
        /// The file for its rows.
        rows: PathBuf,
    },
    /// See [`crate::floor`].
    FloorIngest {
        /// The address of RabbitMQ.
        broker: String,
    },
    /// See [`crate::floor`].
    FloorWorker {
        /// The address of RabbitMQ.
        broker: String,
        /// The subscriber's.
        url: String,
        /// To sign with.
        secret: String,
    },
    /// `postrider serve`, by the settings in its environment: started early, and held back until it is told this.
    Serve,
}

/// What a part says in its first line, in JSON.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    /// Where it listens for TLS, if it does.
    pub tls: Option<SocketAddr>,
    /// Where its name server is, if it has one.
    pub dns: Option<SocketAddr>,
}

/// What a load says in its last line, in JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LoadEnd {
    /// Answers other than 202, and requests without one.
    pub refused: u32,
    /// The first of those.
    pub cause: Option<String>,
}

/// A process that was started for the run. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// What it is called in the report.
    pub name: String,
    child: Child,
    output: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    /// Everything that it said when it was ready.
    pub ready: Ready,
}

impl Process {
    /// Starts a part, by the command that runs parts, and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start(name: &str, mut command: Command, part: &Part) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let mut input = child.stdin.take().context("no standard input")?;
        input.write_all(&serde_json::to_vec(part)?).await?;
        drop(input);
        let output = child.stdout.take().context("no standard output")?;
        let mut process = Self {
            name: name.to_owned(),
            child,
            output: BufReader::new(output).lines(),
            address: None,
            ready: Ready::default(),
        };
        process.ready = timeout(START, process.said())
            .await
            .with_context(|| format!("{name} was not ready within {START:?}"))??;
        process.address = process.ready.address;
        Ok(process)
    }

    async fn said<T: for<'de> Deserialize<'de>>(&mut self) -> anyhow::Result<T> {
        let line = self.output.next_line().await?;
        let line = line.with_context(|| format!("{} has ended", self.name))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Of a load: waits until it is done.
    ///
    /// # Errors
    /// Where it failed.
    pub async fn load_end(&mut self) -> anyhow::Result<LoadEnd> {
        self.said().await
    }

    /// Its number; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub async fn end(mut self) {
        let _ = self.child.kill().await;
    }
}

/// A pipeline that is up.
#[derive(Debug, Clone)]
pub struct Site {
    /// "postrider" or "floor".
    pub name: String,
    /// Where events are posted.
    pub addresses: Vec<SocketAddr>,
    /// Paths of applications' messages.
    pub paths: Vec<String>,
    /// For the header `authorization`.
    pub token: String,
    /// The processes that its CPU time is the sum of, by name.
    pub pids: Vec<(String, u32)>,
    /// Those of the subscriber's endpoints that answer with success, ascending.
    pub endpoints: Vec<u32>,
    /// How many of them an event has to reach, for each of the paths.
    pub fan_outs: Vec<u32>,
}

impl Site {
    /// How many endpoints an event has to reach; paths are taken in turns.
    #[must_use]
    pub fn fan_out(&self, number: u32) -> u32 {
        self.fan_outs[number as usize % self.fan_outs.len()]
    }

    /// CPU time that each of its processes has used so far, in seconds.
    pub(crate) fn cpu(&self) -> Vec<f64> {
        let pids = self.pids.iter();
        pids.map(|(_, pid)| usage::cpu_seconds(*pid)).collect()
    }

    /// Raises `most` to what each of its processes takes now, in KiB.
    pub(crate) fn look_at_memory(&self, most: &mut [u64]) {
        for (most, (_, pid)) in most.iter_mut().zip(&self.pids) {
            *most = usage::memory_kib(*pid).max(*most);
        }
    }
}
