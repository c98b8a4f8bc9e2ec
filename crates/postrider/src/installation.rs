//! What stands behind the ports of this process: one directory, or servers that many processes share.

use std::path::Path;
use std::sync::Arc;

use postrider_backends::embedded::{Embedded, OpenError, Options as EmbeddedOptions};
use postrider_backends::rabbitmq::{Options as RabbitOptions, RabbitMq};
use postrider_backends::redis::{
    LogOptions, Options as RedisOptions, RedisDeadLetters, RedisDocuments, RedisLimits, RedisLog,
    RedisRegistry, Server,
};
use postrider_core::ports::{Broker as _, Ports};
use postrider_core::secret::SecretText;

use crate::config::{Choice, Config, ConfigError, Entry, Servers};
use crate::telemetry::Metrics;

/// The backends of this process.
#[derive(Debug, Clone)]
pub enum Installation {
    Embedded(Embedded),
    Shared(Shared),
}

/// RabbitMQ and Redis.
#[derive(Debug, Clone)]
pub struct Shared {
    pub broker: Arc<RabbitMq>,
    pub registry: Arc<RedisRegistry>,
    log: Arc<RedisLog>,
    dead_letters: Arc<RedisDeadLetters>,
    limits: Arc<RedisLimits>,
    documents: Arc<RedisDocuments>,
}

impl Installation {
    /// Opens the directory. Servers are only named: they may be away, and are connected to later, again and again.
    ///
    /// # Errors
    /// Where the directory cannot be opened, or a URL is none.
    pub fn open(config: &Config, data: &Path) -> Result<Self, ConfigError> {
        match config.backends.choice()? {
            Choice::Embedded => open_directory(config, data).map(Self::Embedded),
            Choice::Servers(servers) => Shared::name(config, &servers).map(Self::Shared),
        }
    }

    #[must_use]
    pub fn ports(&self) -> Ports {
        match self {
            Self::Embedded(embedded) => embedded.ports(),
            Self::Shared(shared) => shared.ports(),
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Embedded(embedded) => embedded.close().await,
            Self::Shared(shared) => {
                shared.broker.close().await;
                shared.registry.close();
            }
        }
    }
}

impl Shared {
    /// # Errors
    /// Where a URL is none.
    pub fn name(config: &Config, servers: &Servers) -> Result<Self, ConfigError> {
        let options = RabbitOptions {
            name: config.process.roles.names().join("+"),
            takes_in: config.ingest.amqp_publish.value,
            ..RabbitOptions::default()
        };
        let broker = RabbitMq::new(servers.broker.value.expose(), options)
            .map_err(|error| refuse(&servers.broker, &error))?;
        let store = redis(&servers.store)?;
        let log_store = match &servers.log_store {
            Some(entry) => redis(entry)?,
            None => Arc::clone(&store),
        };
        let log = LogOptions {
            max_bytes: Some(config.backends.log_max_bytes),
            retention: config.retention.log(false),
            ..LogOptions::default()
        };
        Ok(Self {
            broker: Arc::new(broker),
            registry: Arc::new(RedisRegistry::new(Arc::clone(&store))),
            log: Arc::new(RedisLog::new(log_store, log)),
            dead_letters: Arc::new(RedisDeadLetters::new(Arc::clone(&store))),
            limits: Arc::new(RedisLimits::new(Arc::clone(&store))),
            documents: Arc::new(RedisDocuments::new(store)),
        })
    }

    /// # Errors
    /// Where metrics of these names are there already.
    pub fn show(&self, metrics: &Metrics) -> Result<(), prometheus::Error> {
        let counts = self.registry.counts();
        let seen = Arc::clone(&counts);
        metrics.counted(
            "registry_rewinds_total",
            "Times at which Redis had gone back to an older state and lost changes of the registry.",
            move || seen.rewinds.get(),
        )?;
        let seen = Arc::clone(&counts);
        metrics.counted(
            "registry_losses_total",
            "Times at which Redis held no registry, or one that cannot be gone on with: it takes an import.",
            move || seen.losses.get(),
        )?;
        let seen = Arc::clone(&counts);
        metrics.counted(
            "registry_changes_healed_total",
            "Changes of the registry that Redis had lost and this process put back.",
            move || seen.healed.get(),
        )?;
        metrics.counted(
            "registry_changes_forgotten_total",
            "Changes of the registry that Redis had lost and nobody remembered.",
            move || counts.forgotten.get(),
        )?;
        let log = self.log.counts();
        metrics.counted(
            "log_rows_shed_total",
            "Rows of the delivery log that gave way because there was too little room.",
            move || log.shed.get(),
        )
    }

    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            broker: Arc::clone(&self.broker) as _,
            registry: Arc::clone(&self.registry) as _,
            log: Arc::clone(&self.log) as _,
            dead_letters: Arc::clone(&self.dead_letters) as _,
            limits: Arc::clone(&self.limits) as _,
            documents: Arc::clone(&self.documents) as _,
        }
    }
}

fn redis(entry: &Entry<SecretText>) -> Result<Arc<Server>, ConfigError> {
    Server::new(entry.value.expose(), RedisOptions::default())
        .map_err(|error| refuse(entry, &error))
}

fn refuse(entry: &Entry<SecretText>, error: &dyn std::error::Error) -> ConfigError {
    let form = entry.given.setting.form;
    ConfigError::of(
        &entry.given,
        format_args!("is no URL that can be used ({error})"),
        format_args!("give {form}"),
    )
}

fn open_directory(config: &Config, data: &Path) -> Result<Embedded, ConfigError> {
    Embedded::open(data, EmbeddedOptions::default()).map_err(|error| {
        let remedy = match error {
            OpenError::Locked { .. } => "stop it, or choose another directory",
            OpenError::Damaged { .. } => "docs/operations/embedded.md says how",
            OpenError::TooNew { .. } => "run that release, or choose another directory",
            _ => "correct that, or choose another directory",
        };
        match &config.backends.data {
            Some(entry) => ConfigError::of(
                &entry.given,
                format_args!("cannot be opened: {error}"),
                remedy,
            ),
            None => ConfigError::new(error),
        }
    })
}
