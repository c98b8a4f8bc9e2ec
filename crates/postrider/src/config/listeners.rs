//! Where to listen.

use std::net::SocketAddr;

use super::setting::{ConfigError, DefaultValue, Entry, Setting, Shown};
use super::sources::Sources;

pub(super) static LISTEN: Setting = Setting {
    key: "listen",
    placeholder: "ADDRESS:PORT",
    form: "an address and a port like 127.0.0.1:8071 (port 0 takes a free one)",
    default: DefaultValue::Text("127.0.0.1:8071"),
    shown: Shown::Whole,
    help: "The API and `/health`. Plain HTTP: before opening it to others, put a proxy in front that ends TLS.",
};

pub(super) static METRICS_LISTEN: Setting = Setting {
    key: "metrics_listen",
    placeholder: "ADDRESS:PORT",
    form: "an address and a port like 127.0.0.1:9464 (port 0 takes a free one)",
    default: DefaultValue::Text("127.0.0.1:9464"),
    shown: Shown::Whole,
    help: "`/metrics` for Prometheus and `/health` for probes, in every role. Not meant for the public.",
};

#[derive(Debug, Clone)]
pub struct Listeners {
    pub api: Entry<SocketAddr>,
    pub metrics: Entry<SocketAddr>,
}

impl Listeners {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            api: sources.read(&LISTEN, address)?,
            metrics: sources.read(&METRICS_LISTEN, address)?,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| "is not an address with a port")
}
