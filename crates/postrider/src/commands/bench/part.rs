//! The processes of a bench, which are this program, too.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use postrider_bench::site::{LoadEnd, Part, Ready};
use postrider_bench::subscriber::{self, Manner};
use postrider_bench::{floor, load, rows};
use serde::Serialize;
use tokio::net::TcpListener;
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
    install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    runtime.block_on(Box::pin(play(part)))?;
    Ok(Ending::Done)
}

async fn play(part: Part) -> anyhow::Result<()> {
    match part {
        Part::Subscriber { slow, listen: at } => {
            subscriber::run(listen(at).await?, Manner { slow }).await
        }
        Part::FloorIngest { broker } => floor::ingest(&broker, listen(ANYWHERE).await?).await,
        Part::FloorWorker {
            broker,
            url,
            secret,
        } => floor::worker(&broker, &url, &secret, || say(&Ready { address: None })).await,
        Part::Load { plan, rows: file } => {
            say(&Ready { address: None });
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
    let listener = TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at}"))?;
    let address = Some(listener.local_addr()?);
    say(&Ready { address });
    Ok(listener)
}

fn say(word: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(word) {
        output::line(text);
    }
}
