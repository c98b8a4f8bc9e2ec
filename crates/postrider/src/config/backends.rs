//! What holds the work and the records.
//!
//! Either everything is embedded, in one process with one directory, or work is in RabbitMQ and records are in Redis,
//! for any number of processes. A mixture would have processes share one half and not the other.

use std::convert::Infallible;
use std::path::PathBuf;

use postrider_core::secret::SecretText;

use super::parse;
use super::setting::{ConfigError, DefaultValue, Entry, Setting, Shown};
use super::sources::Sources;

pub(super) static BROKER: Setting = Setting {
    key: "broker",
    placeholder: "embedded|URL",
    form: "`embedded`, or the URL of a RabbitMQ server (amqp:// or amqps://), or several of a cluster's nodes, separated by commas",
    default: DefaultValue::Text("embedded"),
    shown: Shown::WithoutPassword,
    help: "Where accepted events wait until they are delivered. RabbitMQ (3.10 or newer) goes together with Redis. Of several nodes any is connected to, and another one when it fails; all are named with the same virtual host.",
};

pub(super) static STORE: Setting = Setting {
    key: "store",
    placeholder: "embedded|URL",
    form: "`embedded`, or the URL of a Redis server (redis:// or rediss://), or several of a Cluster's nodes, separated by commas",
    default: DefaultValue::Text("embedded"),
    shown: Shown::WithoutPassword,
    help: "Where endpoints, limits and dead letters are kept. Redis (7.0 or newer) goes together with RabbitMQ.",
};

pub(super) static LOG_STORE: Setting = Setting {
    key: "log_store",
    placeholder: "URL",
    form: "the URL of a Redis server as for the store",
    default: DefaultValue::Absent("the store"),
    shown: Shown::WithoutPassword,
    help: "Where the log of messages and attempts is kept, if not in the store. It is the largest part, and the one that can be lost without losing a delivery.",
};

pub(super) static LOG_MAX_BYTES: Setting = Setting {
    key: "log_max_bytes",
    placeholder: "BYTES",
    form: "a number of bytes, or of KiB, MiB or GiB, from 16MiB",
    default: DefaultValue::Text("4GiB"),
    shown: Shown::Whole,
    help: "How much memory the log may take in Redis. Its oldest hours are dropped beyond that, and when Redis is filled to 80 % of its `maxmemory`. Without effect on the embedded backends.",
};

pub(super) static DATA: Setting = Setting {
    key: "data",
    placeholder: "DIR",
    form: "a directory on a local disk",
    default: DefaultValue::AbsentInDev {
        serve: "/var/lib/postrider",
        dev: "a temporary directory, removed when `dev` ends",
    },
    shown: Shown::Whole,
    help: "Directory of the embedded backends, made where it is missing. One process at a time can use it. Without effect on RabbitMQ and Redis.",
};

#[derive(Debug, Clone)]
pub struct Backends {
    broker: Entry<Backend>,
    store: Entry<Backend>,
    log_store: Option<Entry<Backend>>,
    pub log_max_bytes: u64,
    /// `None`: a temporary directory.
    pub data: Option<Entry<PathBuf>>,
}

/// One of the places, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Backend {
    Embedded,
    /// A server's URL, which may hold a password.
    Server(SecretText),
}

/// What the places are together.
#[derive(Debug, Clone)]
pub enum Choice {
    Embedded,
    Servers(Box<Servers>),
}

/// URLs, with where they came from.
#[derive(Debug, Clone)]
pub struct Servers {
    pub broker: Entry<SecretText>,
    pub store: Entry<SecretText>,
    pub log_store: Option<Entry<SecretText>>,
}

impl Backends {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let broker = |text: &str| backend(text, ["amqp://", "amqps://"]);
        let store = |text: &str| backend(text, ["redis://", "rediss://"]);
        let bytes = |text: &str| parse::bytes_within(text, 16 << 20, usize::MAX);
        Ok(Self {
            broker: sources.read(&BROKER, broker)?,
            store: sources.read(&STORE, store)?,
            log_store: sources.read_optional(&LOG_STORE, store)?,
            log_max_bytes: sources.read(&LOG_MAX_BYTES, bytes)?.value as u64,
            data: sources.read_optional(&DATA, |text| Ok::<_, Infallible>(PathBuf::from(text)))?,
        })
    }

    /// # Errors
    /// Where one place is embedded and another is a server.
    pub fn choice(&self) -> Result<Choice, ConfigError> {
        match (&self.broker.value, &self.store.value) {
            (Backend::Embedded, Backend::Embedded) => match &self.log_store {
                Some(entry) if entry.value != Backend::Embedded => Err(ConfigError::of(
                    &entry.given,
                    "goes together with Redis as the store",
                    "set POSTRIDER_STORE to a Redis server, too, or leave it out",
                )),
                _ => Ok(Choice::Embedded),
            },
            (Backend::Server(broker), Backend::Server(store)) => {
                let log_store = match &self.log_store {
                    None => None,
                    Some(entry) => match &entry.value {
                        Backend::Server(url) => Some(entry.with(url.clone())),
                        Backend::Embedded => {
                            return Err(ConfigError::of(
                                &entry.given,
                                "does not go together with Redis as the store",
                                "name a Redis server, or leave it out",
                            ));
                        }
                    },
                };
                Ok(Choice::Servers(Box::new(Servers {
                    broker: self.broker.with(broker.clone()),
                    store: self.store.with(store.clone()),
                    log_store,
                })))
            }
            (Backend::Server(_), Backend::Embedded) => Err(ConfigError::of(
                &self.broker.given,
                "goes together with Redis as the store",
                "set POSTRIDER_STORE to a Redis server, or the broker to `embedded`",
            )),
            (Backend::Embedded, Backend::Server(_)) => Err(ConfigError::of(
                &self.store.given,
                "goes together with RabbitMQ as the broker",
                "set POSTRIDER_BROKER to a RabbitMQ server, or the store to `embedded`",
            )),
        }
    }

    /// # Errors
    /// Where a server was chosen; `why` ends the sentence that says so.
    pub fn require_embedded(&self, why: &str) -> Result<(), ConfigError> {
        let chosen = [&self.broker, &self.store]
            .into_iter()
            .chain(&self.log_store);
        for entry in chosen {
            if entry.value != Backend::Embedded {
                return Err(ConfigError::of(&entry.given, "names a server", why));
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.store.value == Backend::Embedded
    }
}

fn backend(text: &str, schemes: [&str; 2]) -> Result<Backend, &'static str> {
    let of_scheme = |url: &str| schemes.iter().any(|scheme| url.trim().starts_with(scheme));
    match text {
        "embedded" => Ok(Backend::Embedded),
        _ if text.split(',').all(of_scheme) => {
            Ok(Backend::Server(SecretText::new(text.to_owned())))
        }
        _ => Err("is no backend for this"),
    }
}
