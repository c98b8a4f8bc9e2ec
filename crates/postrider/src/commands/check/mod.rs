//! `postrider check`: what is in force, and whether it would work.
//!
//! Changes nothing: a directory that does not exist yet is not made, because whoever checks is often another user
//! than the one who will run the service.

mod embedded;
mod servers;

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use futures_util::future::join_all;
use postrider_core::ports::{Ports, Probe};

use super::{install_tls, sources};
use crate::config::{Choice, Config, FlagValues, Mode, Sources, settings};
use crate::failure::{Ending, Failure};
use crate::{output, wiring};

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(flags: FlagValues) -> Result<Ending, Failure> {
    let sources = sources(Mode::Serve, flags)?;
    print_settings(&sources);
    let config = Config::read(&sources)?;
    install_tls();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    let all_well = runtime.block_on(try_everything(&config));
    Ok(if all_well {
        Ending::Done
    } else {
        Ending::Wrong
    })
}

fn print_settings(sources: &Sources) {
    let rows: Vec<_> = settings()
        .map(|setting| {
            let given = sources.given(setting);
            let value = given
                .shown
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "-".to_owned());
            (setting.env(), value, given.origin.to_string())
        })
        .collect();
    let name_width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let value_width = rows
        .iter()
        .map(|row| row.1.chars().count())
        .max()
        .unwrap_or(0)
        .min(48);
    let dim = Style::new().dimmed();
    for (name, value, origin) in rows {
        output::line(format_args!(
            "{name:name_width$}  {value:value_width$}  {dim}{origin}{dim:#}"
        ));
    }
    output::line("");
}

/// Prints one line for each thing that was tried.
#[derive(Debug, Default)]
struct Findings {
    failures: usize,
}

impl Findings {
    fn good(&self, what: &str, detail: impl Display) {
        let style = AnsiColor::Green.on_default();
        output::line(format_args!("{style}ok{style:#}    {what}: {detail}"));
    }

    fn bad(&mut self, what: &str, detail: impl Display) {
        self.failures += 1;
        let style = AnsiColor::Red.on_default().bold();
        output::line(format_args!("{style}FAIL{style:#}  {what}: {detail}"));
    }

    fn note(&self, detail: impl Display) {
        let style = AnsiColor::Yellow.on_default();
        output::line(format_args!("{style}note{style:#}  {detail}"));
    }

    fn of(&mut self, what: &str, result: Result<impl Display, impl Display>) {
        match result {
            Ok(detail) => self.good(what, detail),
            Err(detail) => self.bad(what, detail),
        }
    }
}

async fn try_everything(config: &Config) -> bool {
    let mut findings = Findings::default();
    for warning in &config.warnings {
        findings.note(warning);
    }
    if config.process.roles.ingest {
        findings.of("token secret", config.access.require().map(|_| "set"));
    }
    let in_use = match config.backends.choice() {
        Ok(Choice::Embedded) => match &config.backends.data {
            Some(data) => embedded::try_data(&mut findings, &data.value).await,
            None => false,
        },
        Ok(Choice::Servers(named)) => {
            servers::try_all(&mut findings, config, &named).await;
            false
        }
        Err(error) => {
            findings.bad("backends", error);
            false
        }
    };
    if in_use {
        findings.of(
            "the running server",
            ask_server(config.listeners.metrics.value).await,
        );
    } else {
        try_listeners(&mut findings, config).await;
    }
    findings.failures == 0
}

async fn probe_all(ports: &Ports) -> Result<(), String> {
    let probes: [&dyn Probe; 5] = [
        &*ports.broker,
        &*ports.registry,
        &*ports.log,
        &*ports.dead_letters,
        &*ports.limits,
    ];
    join_all(probes.map(probe)).await.into_iter().collect()
}

async fn probe(port: &dyn Probe) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, port.probe()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn try_listeners(findings: &mut Findings, config: &Config) {
    let listeners = &config.listeners;
    for (wanted, entry) in [
        (config.process.roles.ingest, &listeners.api),
        (true, &listeners.metrics),
    ] {
        if wanted {
            let free = wiring::listen(entry).await.map(|_| "can be listened on");
            findings.of(&entry.value.to_string(), free);
        }
    }
}

pub(super) async fn ask_server(address: SocketAddr) -> Result<String, String> {
    let url = format!("http://{}/health", reachable(address));
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client
        .get(&url)
        .send()
        .await
        .map_err(|error| format!("{url} does not answer ({})", error.without_url()))?;
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    if status.is_success() {
        Ok(format!("{url} says {body}"))
    } else {
        Err(format!("{url} answers {status}: {body}"))
    }
}

/// A listener on every address is reached by the loopback one.
#[must_use]
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
