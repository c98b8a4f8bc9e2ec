//! What the commands do, one file each.

mod backup;
mod bench;
mod check;
mod completions;
mod dev;
mod health;
mod registry;
mod serve;
mod token;

use std::path::PathBuf;

use crate::cli::{Action, Cli, TokenKind};
use crate::config::{Config, ConfigError, FlagValues, Mode, Sources};
use crate::failure::{Ending, Failure};

/// # Errors
/// Where the command could not do its work.
pub fn run(cli: Cli) -> Result<Ending, Failure> {
    match cli.command {
        Action::Dev(args) => dev::run(args),
        Action::Serve(flags) => serve::run(flags.values),
        Action::Token(TokenKind::Operator(args)) => token::operator(args),
        Action::Token(TokenKind::Consumer(args)) => token::consumer(args),
        Action::Check(flags) => check::run(flags.values),
        Action::Health(args) => health::run(args),
        Action::Backup(args) => backup::run(args),
        Action::Registry(action) => registry::run(action),
        Action::Bench(args) => bench::run(*args),
        Action::BenchPart => bench::run_part(),
        Action::Completions { shell } => Ok(completions::run(shell)),
    }
}

fn sources(mode: Mode, flags: FlagValues) -> Result<Sources, ConfigError> {
    // What is no text can be no value of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Sources::collect(mode, flags, std::env::vars_os().filter_map(text))
}

fn configure(mode: Mode, flags: FlagValues) -> Result<Config, ConfigError> {
    Config::read(&sources(mode, flags)?)
}

fn data_directory(config: &Config) -> Result<PathBuf, ConfigError> {
    let data = config
        .backends
        .data
        .as_ref()
        .map(|entry| entry.value.clone());
    data.ok_or_else(|| ConfigError::new("POSTRIDER_DATA is not set; name a directory"))
}

/// reqwest finds its TLS here; the engine uses the same.
fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
