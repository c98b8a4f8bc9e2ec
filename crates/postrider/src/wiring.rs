//! Which part is handed which other part: the one place that knows all of them.
//!
//! A [`Node`] comes up in two steps, so that somebody (the tour) can set things right over the API before the first
//! delivery is made:
//!
//! ```text
//!  sockets ─▶ backends ─▶ chores, /metrics, API      start()
//!                             └─▶ engine              start_delivering()
//!                                   ⋮
//!  API and engine finish what is under way, within the grace period, together    stop()
//!     └─▶ API's batches ─▶ chores ─▶ /metrics ─▶ backends
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use postrider_api::{Api, ApiConfig, ApiParts, JwtSecret};
use postrider_backends::rabbitmq::Intaking;
use postrider_core::ports::Ports;
use postrider_core::registry_cache::RegistryCache;
use postrider_core::secret::SecretText;
use postrider_core::time::{Clock, SystemClock};
use postrider_engine::http::{HttpConfig, HttpSender};
use postrider_engine::{Engine, EngineConfig, EngineParts, Observer, Sender};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::chores::{
    Chores, DeadLetterRetention, Joining, LimitRetention, LogRetention, QueueDepth,
    RegistryChanges, Retain,
};
use crate::config::{Config, ConfigError, Entry, Listeners, Roles};
use crate::failure::{Failure, plain};
use crate::installation::Installation;
use crate::server::Server;
use crate::systemd::Watchdog;
use crate::telemetry::{BrokerLosses, Health, Metrics};

/// What is left of the grace period for the steps after the drain.
const FOR_CLOSING: Duration = Duration::from_secs(5);
/// How long the last scrape may take.
const FOR_METRICS: Duration = Duration::from_secs(1);

/// What a node is made of that its settings do not say.
#[derive(Debug)]
pub struct NodeParts {
    pub config: Config,
    /// The directory of the embedded backends.
    pub data: PathBuf,
    /// Signs the API's tokens: needed for the role of ingest.
    pub jwt_secret: Option<SecretText>,
    /// Is told of every attempt.
    pub observer: Arc<dyn Observer>,
}

/// A running process: every part, and what they share.
#[derive(Debug)]
pub struct Node {
    config: Config,
    installation: Installation,
    ports: Ports,
    cache: Arc<RegistryCache>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    metrics: Metrics,
    chores: Chores,
    /// Where this process has the role of ingest.
    ingest: Option<Ingest>,
    metrics_server: Server,
    engine: Option<Engine>,
    /// Cancelled when the stop begins.
    draining: CancellationToken,
}

#[derive(Debug)]
struct Ingest {
    api: Api,
    server: Server,
    /// Where messages come over AMQP, too.
    intaking: Option<Intaking>,
}

impl Node {
    /// Brings up everything but delivery.
    ///
    /// # Errors
    /// Where a port is in use, or the data directory cannot be opened.
    pub async fn start(parts: NodeParts) -> Result<Self, Failure> {
        let NodeParts {
            config,
            data,
            jwt_secret,
            observer,
        } = parts;
        let sockets = Sockets::open(&config.listeners, config.process.roles).await?;
        let installation = Installation::open(&config, &data)?;
        let ports = installation.ports();
        let cache = Arc::new(RegistryCache::new(Arc::clone(&ports.registry)));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::new().context("metrics cannot be set up")?;
        if let Installation::Shared(shared) = &installation {
            shared.show(&metrics).context("metrics cannot be set up")?;
        }
        let draining = CancellationToken::new();
        let health = Health::new(ports.clone(), config.process.roles, draining.clone());
        let chores = Chores::default();
        if let Installation::Shared(shared) = &installation {
            let losses = BrokerLosses::new(Arc::clone(&shared.broker));
            let registered = losses.and_then(|losses| metrics.registry.register(Box::new(losses)));
            registered.context("metrics cannot be set up")?;
        }
        if let Installation::Shared(shared) = &installation
            && let Some(joining) = Joining::begin(shared.clone()).await
        {
            chores.start(joining);
        }
        chores.start(RegistryChanges::before_first_use(ports.clone(), Arc::clone(&cache)).await);

        let metrics_server = Server::start(
            sockets.metrics,
            metrics.routes(&health).merge(health.routes()),
        )
        .context("the metrics listener cannot be used")?;
        let ingest = match sockets.api {
            None => None,
            Some(listener) => {
                let jwt_secret = jwt_secret.context("the API needs a secret for its tokens")?;
                let api = Api::new(ApiParts {
                    ports: ports.clone(),
                    cache: Arc::clone(&cache),
                    clock: Arc::clone(&clock),
                    config: api_config(&config, &jwt_secret),
                    metrics: &metrics.registry,
                });
                let front = api.front(health.routes());
                let server =
                    Server::start(listener, front).context("the API listener cannot be used")?;
                let intaking = take_in(&config, &installation, &api);
                Some(Ingest {
                    api,
                    server,
                    intaking,
                })
            }
        };
        let node = Self {
            config,
            installation,
            ports,
            cache,
            clock,
            observer,
            metrics,
            chores,
            ingest,
            metrics_server,
            engine: None,
            draining,
        };
        node.start_chores();
        Ok(node)
    }

    fn start_chores(&self) {
        let Self {
            chores,
            ports,
            clock,
            config,
            metrics,
            ..
        } = self;
        let (ports, clock) = (|| ports.clone(), || Arc::clone(clock));
        chores.start(Watchdog);
        chores.start(QueueDepth {
            ports: ports(),
            clock: clock(),
            gauges: metrics.queue.clone(),
        });
        let log = LogRetention {
            ports: ports(),
            keep: config.retention.log(config.backends.is_embedded()),
        };
        chores.start(Retain {
            what: log,
            clock: clock(),
        });
        let dead_letters = DeadLetterRetention {
            ports: ports(),
            keep: config.retention.dead_letters,
        };
        chores.start(Retain {
            what: dead_letters,
            clock: clock(),
        });
        chores.start(Retain {
            what: LimitRetention { ports: ports() },
            clock: clock(),
        });
    }

    /// Starts to deliver, where this process has the role of a worker.
    ///
    /// # Errors
    /// Where the system's resolver or certificates cannot be read.
    pub fn start_delivering(&mut self) -> Result<(), Failure> {
        if !self.config.process.roles.worker {
            return Ok(());
        }
        let http = http_config(&self.config);
        let sender: Arc<dyn Sender> =
            Arc::new(HttpSender::new(http).context("requests cannot be made")?);
        let engine = Engine::start(EngineParts {
            ports: self.ports.clone(),
            cache: Arc::clone(&self.cache),
            clock: Arc::clone(&self.clock),
            sender,
            observer: Arc::clone(&self.observer),
            config: engine_config(&self.config),
            metrics: self.metrics.registry.clone(),
        })
        .context("delivery cannot be started")?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Says where it listens; scripts and tests read this line of the log.
    pub fn announce(&self) {
        for warning in &self.config.warnings {
            warn!("{warning}");
        }
        info!(
            pid = std::process::id(),
            version = env!("CARGO_PKG_VERSION"),
            roles = self.config.process.roles.names().join(","),
            listen = self.api_address().map_or_else(|| "none".to_owned(), |address| address.to_string()),
            metrics_listen = %self.metrics_address(),
            "ready"
        );
    }

    /// `None` without the role of ingest.
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.ingest.as_ref().map(|ingest| ingest.server.address())
    }

    #[must_use]
    pub const fn metrics_address(&self) -> SocketAddr {
        self.metrics_server.address()
    }

    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Takes nothing new, finishes what is under way or hands it off, and lets go of everything.
    pub async fn stop(self) {
        self.draining.cancel();
        let grace = self.config.process.grace;
        let patience = grace.saturating_sub(FOR_CLOSING).max(grace / 2);
        tokio::join!(self.finish_requests(patience), self.drain(patience));
        if let Some(ingest) = &self.ingest {
            ingest.api.close().await;
        }
        self.chores.stop().await;
        self.metrics_server.stop(FOR_METRICS).await;
        self.installation.close().await;
        info!("stopped");
    }

    async fn finish_requests(&self, patience: Duration) {
        let Some(ingest) = &self.ingest else { return };
        let intaking = async {
            if let Some(intaking) = &ingest.intaking {
                intaking.stop(patience).await;
            }
        };
        tokio::join!(ingest.server.stop(patience), intaking);
    }

    async fn drain(&self, patience: Duration) {
        let Some(engine) = &self.engine else { return };
        if !engine.drain(patience).await.clean {
            warn!(
                "not everything that was under way could be settled in time; some of it may be delivered twice"
            );
        }
    }
}

/// Nothing is taken before the broker is there.
fn take_in(config: &Config, installation: &Installation, api: &Api) -> Option<Intaking> {
    match installation {
        Installation::Shared(shared) if config.ingest.amqp_publish.value => {
            Some(shared.broker.take_in(api.intake()))
        }
        _ => None,
    }
}

fn api_config(config: &Config, secret: &SecretText) -> ApiConfig {
    let listens_at = || format!("http://{}", config.listeners.api.value);
    ApiConfig {
        max_body_bytes: config.ingest.max_body,
        public_url: config.ingest.public_url.clone().unwrap_or_else(listens_at),
        target_policy: config.delivery.policy.clone(),
        retry_schedule: config.delivery.schedule.clone(),
        close_grace: FOR_CLOSING / 2,
        abort_on: abort_on().map(Into::into),
        ..ApiConfig::new(JwtSecret::new(secret.expose()))
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        slots: config.delivery.slots,
        prefetch: config.delivery.prefetch,
        request_timeout: config.delivery.request_timeout,
        schedule: config.delivery.schedule.clone(),
        abort_on: abort_on().map(Into::into),
        ..EngineConfig::default()
    }
}

fn http_config(config: &Config) -> HttpConfig {
    HttpConfig {
        nameservers: config.delivery.nameservers.clone(),
        tls_sessions: config.delivery.tls_sessions,
        ..HttpConfig::new(config.delivery.policy.clone())
    }
}

/// Lets a test kill a process by a payload. No setting: a release does not look at it.
fn abort_on() -> Option<String> {
    if !cfg!(debug_assertions) {
        return None;
    }
    std::env::var("POSTRIDER_TEST_ABORT_ON").ok()
}

/// The listening sockets, open before anything else is begun.
struct Sockets {
    api: Option<TcpListener>,
    metrics: TcpListener,
}

impl Sockets {
    async fn open(listeners: &Listeners, roles: Roles) -> Result<Self, ConfigError> {
        let api = if roles.ingest {
            Some(listen(&listeners.api).await?)
        } else {
            None
        };
        Ok(Self {
            api,
            metrics: listen(&listeners.metrics).await?,
        })
    }
}

/// # Errors
/// Where the address cannot be listened on.
pub async fn listen(entry: &Entry<SocketAddr>) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(entry.value).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "stop what listens there, or choose another port (0 takes a free one)"
            }
            std::io::ErrorKind::PermissionDenied => {
                "choose a port above 1023, or give the process the right to lower ones"
            }
            _ => "choose an address of this machine",
        };
        ConfigError::of(
            &entry.given,
            format_args!("cannot be listened on ({})", plain(&error)),
            remedy,
        )
    })
}

/// Raises the limit of open files as far as it goes, since every request under way needs one.
pub fn raise_file_limit(slots: usize) {
    // More than anybody needs; the system's own hard limit is what counts.
    const WANTED: u64 = 1 << 20;
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) if usize::try_from(limit).unwrap_or(usize::MAX) < slots + 1024 => {
            warn!(
                limit,
                slots,
                "the limit of open files is low for this many slots (ulimit -Hn, LimitNOFILE=)"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}
