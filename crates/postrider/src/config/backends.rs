//! What holds the work and the records.
//!
//! This release brings one implementation, the embedded one. The URLs of the others are understood, so that
//! asking for one is answered with a clear line and not with "unknown value".

use std::convert::Infallible;
use std::path::PathBuf;

use super::setting::{ConfigError, DefaultValue, Entry, Setting, Shown};
use super::sources::Sources;

pub(super) static BROKER: Setting = Setting {
    key: "broker",
    placeholder: "embedded|URL",
    form: "`embedded`, or the URL of a RabbitMQ server (amqp:// or amqps://)",
    default: DefaultValue::Text("embedded"),
    shown: Shown::WithoutPassword,
    help: "Where accepted events wait until they are delivered. RabbitMQ is not in this release yet.",
};

pub(super) static STORE: Setting = Setting {
    key: "store",
    placeholder: "embedded|URL",
    form: "`embedded`, or the URL of a Redis server (redis:// or rediss://)",
    default: DefaultValue::Text("embedded"),
    shown: Shown::WithoutPassword,
    help: "Where endpoints, limits and dead letters are kept. Redis is not in this release yet.",
};

pub(super) static LOG_STORE: Setting = Setting {
    key: "log_store",
    placeholder: "embedded|URL",
    form: "`embedded`, or the URL of a Redis server (redis:// or rediss://)",
    default: DefaultValue::Absent("the store"),
    shown: Shown::WithoutPassword,
    help: "Where the log of messages and attempts is kept, if not in the store. Redis is not in this release yet.",
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
    help: "Directory of the embedded backends, made where it is missing. One process at a time can use it.",
};

#[derive(Debug, Clone)]
pub struct Backends {
    pub broker: Entry<Backend>,
    pub store: Entry<Backend>,
    pub log_store: Option<Entry<Backend>>,
    /// `None`: a temporary directory.
    pub data: Option<Entry<PathBuf>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    /// A server, by the name of the software.
    Server(&'static str),
}

impl Backends {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let broker = |text: &str| backend(text, "RabbitMQ", ["amqp://", "amqps://"]);
        let store = |text: &str| backend(text, "Redis", ["redis://", "rediss://"]);
        Ok(Self {
            broker: sources.read(&BROKER, broker)?,
            store: sources.read(&STORE, store)?,
            log_store: sources.read_optional(&LOG_STORE, store)?,
            data: sources.read_optional(&DATA, |text| Ok::<_, Infallible>(PathBuf::from(text)))?,
        })
    }

    /// Every choice that was made, in the order of the settings.
    pub fn chosen(&self) -> impl Iterator<Item = &Entry<Backend>> {
        [&self.broker, &self.store]
            .into_iter()
            .chain(&self.log_store)
    }

    /// # Errors
    /// Where a server was chosen that this release cannot speak to.
    pub fn require_embedded(&self) -> Result<(), ConfigError> {
        self.chosen().try_for_each(require_embedded)
    }
}

/// # Errors
/// Where a server was chosen.
pub fn require_embedded(entry: &Entry<Backend>) -> Result<(), ConfigError> {
    match entry.value {
        Backend::Embedded => Ok(()),
        Backend::Server(name) => Err(ConfigError::of(
            &entry.given,
            format_args!("names {name}, which is not in this release"),
            "use `embedded`",
        )),
    }
}

fn backend(text: &str, name: &'static str, schemes: [&str; 2]) -> Result<Backend, &'static str> {
    match text {
        "embedded" => Ok(Backend::Embedded),
        _ if schemes.iter().any(|scheme| text.starts_with(scheme)) => Ok(Backend::Server(name)),
        _ => Err("is no backend for this"),
    }
}
