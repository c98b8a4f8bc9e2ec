//! Configuration: flags > environment > file > defaults.
//!
//! Each concern is a file: its settings, their meaning, and the typed values that they become. [`GROUPS`] is the one
//! list of them all; flags, the environment, the file, `postrider check` and docs/CONFIGURATION.md follow from it.

mod access;
mod backends;
mod delivery;
mod document;
mod ingest;
mod listeners;
mod logs;
mod parse;
mod process;
mod retention;
mod setting;
mod sources;

pub use access::{Access, read_secret};
pub use backends::{Backends, Choice, Servers};
pub use delivery::Delivery;
pub use document::document;
pub use ingest::Ingest;
pub use listeners::Listeners;
pub use logs::{LogFormat, Logs};
pub use parse::duration;
pub use process::{Process, Roles};
pub use retention::Retention;
pub use setting::{ConfigError, DefaultValue, Entry, Given, Mode, Origin, Setting, Shown};
pub use sources::{DEFAULT_FILE, FILE_VARIABLE, FlagValues, Sources};

/// Settings that belong together.
#[derive(Debug)]
pub struct Group {
    pub title: &'static str,
    pub settings: &'static [&'static Setting],
}

pub static GROUPS: &[Group] = &[
    Group {
        title: "Listeners",
        settings: &[&listeners::LISTEN, &listeners::METRICS_LISTEN],
    },
    Group {
        title: "Access",
        settings: &[&access::JWT_SECRET, &access::JWT_SECRET_FILE],
    },
    Group {
        title: "Backends",
        settings: &[
            &backends::BROKER,
            &backends::STORE,
            &backends::LOG_STORE,
            &backends::LOG_MAX_BYTES,
            &backends::DATA,
        ],
    },
    Group {
        title: "Deliveries",
        settings: &[
            &delivery::RETRY_SCHEDULE,
            &delivery::REQUEST_TIMEOUT,
            &delivery::HTTPS_ONLY,
            &delivery::ALLOW_NETS,
            &delivery::SLOTS,
            &delivery::PREFETCH,
            &delivery::NAMESERVERS,
            &delivery::TLS_SESSIONS,
        ],
    },
    Group {
        title: "API",
        settings: &[
            &ingest::MAX_BODY,
            &ingest::PUBLIC_URL,
            &ingest::AMQP_PUBLISH,
        ],
    },
    Group {
        title: "Retention",
        settings: &[&retention::RETENTION, &retention::DEAD_LETTER_RETENTION],
    },
    Group {
        title: "Process",
        settings: &[&process::ROLES, &process::GRACE],
    },
    Group {
        title: "Logs",
        settings: &[&logs::LOG, &logs::LOG_FORMAT],
    },
];

/// All settings, in the order of the documentation.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS
        .iter()
        .flat_map(|group| group.settings.iter().copied())
}

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listeners: Listeners,
    pub access: Access,
    pub backends: Backends,
    pub delivery: Delivery,
    pub ingest: Ingest,
    pub retention: Retention,
    pub process: Process,
    pub logs: Logs,
    /// What does not hinder a start and should still be known.
    pub warnings: Vec<String>,
}

impl Config {
    /// # Errors
    /// Names the first value that cannot be used.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self {
            listeners: Listeners::read(sources)?,
            access: Access::read(sources)?,
            backends: Backends::read(sources)?,
            delivery: Delivery::read(sources)?,
            ingest: Ingest::read(sources)?,
            retention: Retention::read(sources)?,
            process: Process::read(sources)?,
            logs: Logs::read(sources)?,
            warnings: sources.warnings().to_vec(),
        };
        config.require_amqp()?;
        config.warnings.extend(config.doubtful());
        Ok(config)
    }

    /// Nobody can publish to what is embedded.
    fn require_amqp(&self) -> Result<(), ConfigError> {
        let wanted = &self.ingest.amqp_publish;
        if wanted.value && self.backends.is_embedded() {
            return Err(ConfigError::of(
                &wanted.given,
                "goes together with RabbitMQ as the broker",
                "set POSTRIDER_BROKER and POSTRIDER_STORE to servers, or leave it out",
            ));
        }
        Ok(())
    }

    fn doubtful(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.access.is_weak() {
            doubts.push(
                "POSTRIDER_JWT_SECRET has fewer than 32 bytes and can be guessed from a token"
                    .to_owned(),
            );
        }
        if self.process.grace <= self.delivery.request_timeout {
            doubts.push(
                "POSTRIDER_GRACE is not above POSTRIDER_REQUEST_TIMEOUT: a stop will cut off slow deliveries and repeat them"
                    .to_owned(),
            );
        }
        doubts
    }
}
