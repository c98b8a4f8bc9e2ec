//! Logs, on standard error, so that standard output stays free for what a command was asked for.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use super::sparing::Sparing;
use crate::config::{LogFormat, Logs};

/// Libraries that log as errors what is none, or what we say in our own words; a filter that names them is stronger.
const QUIET: &str = "lapin=off";

/// Starts logging. To be called once.
///
/// # Errors
/// Where logging has been started before.
pub fn init(logs: &Logs) -> anyhow::Result<()> {
    let wanted = EnvFilter::try_new(format!("{QUIET},{}", logs.filter))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match logs.format {
        LogFormat::Text => lines.with_ansi(wants_colours()).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(Sparing)
        .with(wanted)
        .try_init();
    started.map_err(|error| anyhow!("logging cannot be started: {error}"))
}

/// <https://no-color.org>: set and not empty means no.
fn wants_colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
