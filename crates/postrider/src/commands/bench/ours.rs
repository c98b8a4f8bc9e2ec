//! Postrider, as its users run it: processes of this program, and applications made through its API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use postrider_api::JwtSecret;
use postrider_api::tokens::mint_operator;
use postrider_bench::pages::{Desk, Paged};
use postrider_bench::report::POSTRIDER;
use postrider_bench::site::{Part, Site};
use postrider_bench::usage;
use postrider_core::id::OrgId;
use postrider_core::time::{Clock as _, SystemClock};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep};
use url::Url;

use super::layout::Layout;
use super::part;
use crate::cli::BenchArgs;
use crate::config::Servers;
use crate::output;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);
const TOKEN: Duration = Duration::from_secs(24 * 60 * 60);
/// Requests at a time that make applications and endpoints.
const HANDS: usize = 16;
const EVENT_TYPE: &str = "bench.event";
const OTHER_TYPE: &str = "bench.other";

/// What the processes of a run are told beside what each run tells them.
pub(super) type Surroundings = [(&'static str, String)];

pub(super) struct Ours {
    /// Those that were started for the run.
    nodes: Vec<Node>,
    /// Where events are posted.
    ingests: Vec<SocketAddr>,
    /// What was there before: servers, and ingests that run already.
    others: Vec<(String, u32)>,
    client: reqwest::Client,
    token: String,
    /// Made for the run, so that nothing else is touched.
    applications: parking_lot::Mutex<Vec<String>>,
}

struct Node {
    name: String,
    child: Child,
    listen: Option<SocketAddr>,
    metrics: SocketAddr,
    /// Where a process that is held back waits for its word.
    held: Option<ChildStdin>,
}

impl Ours {
    pub(super) async fn start(
        args: &BenchArgs,
        servers: Option<&Servers>,
        dir: &Path,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let secret = format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let now = SystemClock.now() - Duration::from_secs(1);
        // An organisation of its own: what it lists and deletes is the run's alone.
        let org = OrgId::from_bytes(rand::random());
        let token = mint_operator(&JwtSecret::new(secret.as_str()), org, now, TOKEN);
        let node = |name: String, roles: &'static str, is_held: bool| {
            let secret = secret.clone();
            async move { Node::start(&name, roles, &secret, dir, servers, surroundings, is_held).await }
        };
        let mut nodes = Vec::new();
        match servers {
            None => nodes.push(node("postrider".to_owned(), "ingest,worker", false).await?),
            Some(_) => {
                nodes.push(node("ingest".to_owned(), "ingest", false).await?);
                for number in 1..=args.workers {
                    nodes.push(node(format!("worker {number}"), "worker", args.backlog).await?);
                }
            }
        }
        let others = servers.map(all_servers).unwrap_or_default();
        Self::new(nodes, others, token)
    }

    fn new(nodes: Vec<Node>, others: Vec<(String, u32)>, token: String) -> anyhow::Result<Self> {
        Ok(Self {
            ingests: nodes.iter().filter_map(|node| node.listen).collect(),
            nodes,
            others,
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(START)
                .build()?,
            token,
            applications: parking_lot::Mutex::default(),
        })
    }

    /// What runs already.
    pub(super) async fn at(
        urls: &[Url],
        token: &str,
        servers: Option<&Servers>,
    ) -> anyhow::Result<Self> {
        let mut ours = Self::new(Vec::new(), Vec::new(), token.to_owned())?;
        for url in urls {
            if url.scheme() != "http" {
                bail!("--at {url}: must be http://host:port");
            }
            let host = url
                .host_str()
                .with_context(|| format!("--at {url}: names no host"))?;
            let port = url.port_or_known_default().unwrap_or(80);
            let mut found = tokio::net::lookup_host((host, port))
                .await
                .with_context(|| format!("--at {url}"))?;
            let found = found
                .next()
                .with_context(|| format!("--at {url}: no address"))?;
            ours.ingests.push(found);
            ours.others.extend(server("ingest", url.as_str(), port));
        }
        ours.others
            .extend(servers.map(all_servers).unwrap_or_default());
        Ok(ours)
    }

    /// Makes applications and endpoints.
    pub(super) async fn site(&self, layout: &Layout, args: &BenchArgs) -> anyhow::Result<Site> {
        for name in [EVENT_TYPE, OTHER_TYPE] {
            let body = json!({"description": "Of a benchmark."});
            self.put(&format!("/event-type/{name}"), &body).await?;
        }
        let made = stream::iter(0..layout.applications)
            .map(|number| self.application(layout, number))
            .buffered(HANDS)
            .enumerate()
            .inspect(|(number, _)| {
                if number % 100 == 99 {
                    output::progress(format!(
                        "{} of {} applications made",
                        number + 1,
                        args.applications
                    ));
                }
            })
            .map(|(_, made)| made);
        let applications: Vec<String> = made.try_collect().await?;
        // In the order of their numbers: several were made at a time.
        self.applications.lock().clone_from(&applications);
        let mut pids = Vec::new();
        for node in &self.nodes {
            let pid = node.child.id();
            pids.push((
                node.name.clone(),
                pid.with_context(|| format!("{} has ended", node.name))?,
            ));
        }
        pids.extend(self.others.clone());
        Ok(Site {
            name: POSTRIDER.to_owned(),
            addresses: self.ingests.clone(),
            paths: applications
                .iter()
                // As newer client libraries ask: they know what they have sent.
                .map(|app| format!("/api/v1/app/{app}/msg?with_content=false"))
                .collect(),
            token: self.token.clone(),
            pids,
            endpoints: layout.healthy(),
            fan_outs: (0..layout.applications)
                .map(|number| layout.healthy_of(number))
                .collect(),
        })
    }

    async fn application(&self, layout: &Layout, number: u32) -> anyhow::Result<String> {
        let name = format!("Benchmark {number}");
        let made = self.post("/app", &json!({"name": name})).await?;
        let app = made["id"]
            .as_str()
            .context("an application has an id")?
            .to_owned();
        self.applications.lock().push(app.clone());
        for endpoint in layout.endpoints_of(number) {
            let wanted = if endpoint.is_chosen {
                EVENT_TYPE
            } else {
                OTHER_TYPE
            };
            let body = json!({"url": endpoint.url, "filterTypes": [wanted]});
            self.post(&format!("/app/{app}/endpoint"), &body).await?;
        }
        Ok(app)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::PUT, path, body).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let address = self.ingests.first().context("an ingest listens")?;
        let url = format!("http://{address}/api/v1{path}");
        let request = self.client.request(method.clone(), url);
        let answer = request.bearer_auth(&self.token).json(body).send().await?;
        let status = answer.status();
        let said = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {path} was answered {status}: {said}");
        }
        Ok(serde_json::from_str(&said)?)
    }

    /// Lets workers go that were held back.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.release().await?;
        }
        for node in &mut self.nodes {
            node.wait_until_ready().await?;
        }
        Ok(())
    }

    /// First pages of lists of one of its applications.
    pub(super) async fn pages(&self, since: u64, times: u32) -> anyhow::Result<Vec<Paged>> {
        let desk = Desk {
            client: &self.client,
            address: *self.ingests.first().context("an ingest listens")?,
            token: &self.token,
        };
        let app = self.applications.lock().first().cloned();
        let app = app.context("an application was made")?;
        let progress = |kind: &str| output::progress(format!("first page: {kind}"));
        desk.ask(&app, since, times, &progress).await
    }

    /// Deletes what it made, and ends.
    pub(super) async fn stop(self) {
        let address = self.ingests.first();
        let applications = std::mem::take(&mut *self.applications.lock());
        if let Some(address) = address {
            let deleted = stream::iter(applications).for_each_concurrent(HANDS, |app| {
                let url = format!("http://{address}/api/v1/app/{app}");
                let request = self.client.delete(url).bearer_auth(&self.token);
                async move {
                    let _ = request.send().await;
                }
            });
            deleted.await;
        }
        for node in self.nodes {
            node.stop().await;
        }
    }
}

impl Node {
    async fn start(
        name: &str,
        roles: &str,
        secret: &str,
        dir: &Path,
        servers: Option<&Servers>,
        surroundings: &Surroundings,
        is_held: bool,
    ) -> anyhow::Result<Self> {
        let (listen, metrics) = (free_address().await?, free_address().await?);
        let program = part::program()?;
        let mut command = if is_held {
            part::command(&program)
        } else {
            Command::new(&program)
        };
        command
            .args((!is_held).then_some("serve"))
            .stdin(if is_held {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .env("POSTRIDER_ROLES", roles)
            .env("POSTRIDER_LISTEN", listen.to_string())
            .env("POSTRIDER_METRICS_LISTEN", metrics.to_string())
            .env("POSTRIDER_JWT_SECRET", secret)
            .env("POSTRIDER_HTTPS_ONLY", "false")
            .env("POSTRIDER_ALLOW_NETS", "127.0.0.0/8")
            .env("POSTRIDER_LOG", "warn")
            .env("POSTRIDER_DATA", dir.join("data"))
            .env_remove("POSTRIDER_JWT_SECRET_FILE")
            .envs(surroundings.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        match servers {
            None => {
                command
                    .env("POSTRIDER_BROKER", "embedded")
                    .env("POSTRIDER_STORE", "embedded");
                command.env_remove("POSTRIDER_LOG_STORE");
            }
            Some(servers) => {
                command.env("POSTRIDER_BROKER", servers.broker.value.expose());
                command.env("POSTRIDER_STORE", servers.store.value.expose());
                if let Some(log_store) = &servers.log_store {
                    command.env("POSTRIDER_LOG_STORE", log_store.value.expose());
                }
            }
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let mut node = Self {
            name: name.to_owned(),
            held: child.stdin.take(),
            child,
            listen: roles.contains("ingest").then_some(listen),
            metrics,
        };
        if node.held.is_none() {
            node.wait_until_ready().await?;
        }
        Ok(node)
    }

    /// Lets it go where it is held back.
    async fn release(&mut self) -> anyhow::Result<()> {
        if let Some(mut held) = self.held.take() {
            held.write_all(&serde_json::to_vec(&Part::Serve)?).await?;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/health", self.metrics);
        let begun = Instant::now();
        let mut said = "it does not answer".to_owned();
        while begun.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status}); its log says why", self.name);
            }
            if let Ok(answer) = client.get(&url).send().await {
                if answer.status() == StatusCode::OK {
                    return Ok(());
                }
                said = answer.text().await?;
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("{} was not ready within {START:?}: {said}", self.name)
    }

    async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = tokio::time::timeout(STOP, self.child.wait()).await;
        }
    }
}

/// Free a moment ago; nobody else takes a port that was just given out.
async fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

fn all_servers(servers: &Servers) -> Vec<(String, u32)> {
    let mut all: Vec<(String, u32)> = server("RabbitMQ", servers.broker.value.expose(), 5672);
    all.extend(server("Redis", servers.store.value.expose(), 6379));
    if let Some(log_store) = &servers.log_store {
        all.extend(server("Redis (log)", log_store.value.expose(), 6379));
    }
    all
}

/// The processes behind addresses on this machine; none where they are elsewhere, or another user's.
pub(super) fn server(name: &str, urls: &str, default_port: u16) -> Vec<(String, u32)> {
    let urls = urls
        .split(',')
        .filter_map(|url| Url::parse(url.trim()).ok());
    let local =
        urls.filter(|url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")));
    let ports = local.map(|url| url.port().unwrap_or(default_port));
    ports
        .filter_map(usage::listener)
        .map(|pid| (name.to_owned(), pid))
        .collect()
}
