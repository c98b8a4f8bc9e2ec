//! The processes of a bench, which are this program, too.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use postrider_bench::site::{LoadEnd, Part, Ready};
use postrider_bench::subscriber::{self, Manner, Sockets};
use postrider_bench::tls::{self, Identity};
use postrider_bench::{floor, load, rows};
use serde::Serialize;
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;

use super::install_tls;
use crate::failure::{Ending, Failure};
use crate::output;

/// A port of this machine alone.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// This program.
pub(super) fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program does not know where it lies")
}

/// What makes it a part; which one, it reads from its standard input.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("bench-part");
    command
}

pub(in super::super) fn run() -> Result<Ending, Failure> {
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .context("no standard input")?;
    let part =
        serde_json::from_str(&input).context("`postrider bench` starts this, nobody else")?;
    if matches!(part, Part::Serve) {
        return Err(become_serve());
    }
    install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    runtime.block_on(Box::pin(play(part)))?;
    Ok(Ending::Done)
}

/// The same process, so that whoever started it knows its number. Comes back only with an error.
fn become_serve() -> Failure {
    use std::os::unix::process::CommandExt as _;
    match program() {
        Ok(program) => {
            let error = std::process::Command::new(program).arg("serve").exec();
            anyhow::Error::from(error)
                .context("the worker cannot be started")
                .into()
        }
        Err(error) => error.into(),
    }
}

async fn play(part: Part) -> anyhow::Result<()> {
    match part {
        Part::Subscriber {
            listen,
            slow,
            closes,
            tls,
            has_names,
        } => {
            let sockets = sockets(listen, tls, has_names).await?;
            subscriber::run(sockets, Manner { slow, closes }).await
        }
        Part::FloorIngest { broker } => floor::ingest(&broker, listen(ANYWHERE).await?).await,
        Part::FloorWorker {
            broker,
            url,
            secret,
        } => floor::worker(&broker, &url, &secret, || say(&Ready::default())).await,
        // Told apart before there was a runtime.
        Part::Serve => Ok(()),
        Part::Load { plan, rows: file } => {
            say(&Ready::default());
            let outcome = load::run(plan).await?;
            rows::write(&outcome.sent, std::fs::File::create(file)?)?;
            say(&LoadEnd {
                refused: outcome.refused,
                cause: outcome.cause,
            });
            Ok(())
        }
    }
}

/// Connections are taken from now on, and wait until somebody accepts them.
async fn listen(at: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = bind(at).await?;
    say(&Ready {
        address: Some(listener.local_addr()?),
        ..Ready::default()
    });
    Ok(listener)
}

/// The subscriber's: TLS and names have ports of their own beside the one that was asked for.
async fn sockets(
    at: SocketAddr,
    identity: Option<Identity>,
    has_names: bool,
) -> anyhow::Result<Sockets> {
    let plain = bind(at).await?;
    let beside = SocketAddr::new(at.ip(), 0);
    let tls = match identity {
        Some(identity) => Some((bind(beside).await?, tls::acceptor(&identity)?)),
        None => None,
    };
    let dns = match has_names {
        true => Some(UdpSocket::bind(beside).await?),
        false => None,
    };
    say(&Ready {
        address: Some(plain.local_addr()?),
        tls: tls.as_ref().map(|(tls, _)| tls.local_addr()).transpose()?,
        dns: dns.as_ref().map(UdpSocket::local_addr).transpose()?,
    });
    Ok(Sockets { plain, tls, dns })
}

async fn bind(at: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(at).await;
    bound.with_context(|| format!("cannot listen on {at}"))
}

fn say(word: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(word) {
        output::line(text);
    }
}
