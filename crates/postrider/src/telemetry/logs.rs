//! Logs, on standard error, so that standard output stays free for what a command was asked for.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::repeats::Repeats;
use crate::config::{LogFormat, Logs};

/// Libraries that log as errors what is none, or what we say in our own words; a filter that names them is stronger.
const QUIET: &str = "lapin=off,redis=off";

/// Starts logging. To be called once.
///
/// # Errors
/// Where logging has been started before.
pub fn init(logs: &Logs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", logs.filter))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(Repeats::default());
    let started = match logs.format {
        LogFormat::Text => subscriber.with(lines.with_ansi(wants_colours())).try_init(),
        LogFormat::Json => subscriber
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init(),
    };
    started.map_err(|error| anyhow!("logging cannot be started: {error}"))
}

/// <https://no-color.org>: set and not empty means no.
fn wants_colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
