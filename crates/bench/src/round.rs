//! One load on one pipeline, from the first event to the last delivery.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::figures::Figures;
use crate::load::Plan;
use crate::rows::{self, Received, Sent};
use crate::site::{Part, Process, Site};
use crate::subscriber::Counters;
use crate::usage;

const LOOK: Duration = Duration::from_millis(20);
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// What comes again comes soon.
const DUPLICATES: Duration = Duration::from_millis(200);

/// What a process used up in a round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    /// Which process.
    pub name: String,
    /// Of CPU time, user and system, for each delivery.
    pub cpu_ms_per_delivery: f64,
    /// The most memory at any look, once a second: proportional share, in MiB.
    pub memory_mib: f64,
}

/// A round, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// Which pipeline.
    pub name: String,
    /// What became of the events.
    #[serde(flatten)]
    pub figures: Figures,
    /// CPU of all its processes, brokers and databases included, for each delivery.
    pub cpu_ms_per_delivery: f64,
    /// What the subscriber counted in the round.
    #[serde(flatten)]
    pub counters: Counters,
    /// By process.
    pub processes: Vec<Used>,
    /// Answers other than 202, and requests without one.
    pub refused: u32,
    /// The first of those.
    pub cause: Option<String>,
}

/// What a round needs besides the pipeline.
#[expect(
    missing_debug_implementations,
    reason = "functions have nothing to show"
)]
pub struct Ground<'a> {
    /// Makes the command that runs parts.
    pub command: &'a (dyn Fn() -> Command + Sync),
    /// For rows.
    pub dir: &'a std::path::Path,
    /// The client for the subscriber's reports.
    pub client: &'a reqwest::Client,
    /// Told how many of how many deliveries are there.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Ground<'_> {
    /// Measures one round.
    ///
    /// # Errors
    /// Where a process fails.
    pub async fn measure(
        &self,
        site: &Site,
        plan: Plan,
        subscriber: &Process,
    ) -> anyhow::Result<Round> {
        let address = subscriber.address.context("the subscriber listens")?;
        let file = self.dir.join("sent");
        let patience = plan.patience;
        let numbers = plan.first..plan.first + plan.events;
        let wanted: u64 = numbers.map(|number| u64::from(site.fan_out(number))).sum();
        self.ask(address, "reset").await?;
        let counted = self.counters(address).await?;
        let before = cpu(site);
        let part = Part::Load {
            plan,
            rows: file.clone(),
        };
        let mut load = Process::start("load", (self.command)(), &part).await?;
        let memory = self.watch(site, address, wanted, patience).await?;
        let end = load.load_end().await?;
        let sent: Vec<Sent> = rows::read(&std::fs::read(&file)?)?;
        sleep(DUPLICATES).await;
        let received: Vec<Received> = rows::read(&self.ask(address, "rows").await?)?;
        let after = cpu(site);
        let counters = self.counters(address).await?.since(counted);
        let figures = Figures::of(&sent, &received, &site.endpoints, |number| {
            site.fan_out(number)
        });
        let deliveries = figures.delivered.max(1) as f64;
        let used = site.pids.iter().zip(before.iter().zip(&after));
        let processes: Vec<Used> = used
            .zip(memory)
            .map(|(((name, _), (before, after)), kib)| Used {
                name: name.clone(),
                cpu_ms_per_delivery: (after - before) * 1e3 / deliveries,
                memory_mib: kib as f64 / 1024.0,
            })
            .collect();
        Ok(Round {
            name: site.name.clone(),
            cpu_ms_per_delivery: processes.iter().map(|used| used.cpu_ms_per_delivery).sum(),
            figures,
            counters,
            processes,
            refused: end.refused,
            cause: end.cause,
        })
    }

    /// Until everything wanted has come, or nothing more comes. Returns the most memory of each process.
    async fn watch(
        &self,
        site: &Site,
        subscriber: SocketAddr,
        wanted: u64,
        patience: Duration,
    ) -> anyhow::Result<Vec<u64>> {
        let mut most = vec![0; site.pids.len()];
        let begun = Instant::now();
        let mut looked: Option<Instant> = None;
        loop {
            let count = self.count(subscriber, "count").await?;
            let is_over = count >= wanted || begun.elapsed() > patience;
            if is_over || looked.is_none_or(|last| last.elapsed() > LOOK_AT_MEMORY) {
                looked = Some(Instant::now());
                for (most, (_, pid)) in most.iter_mut().zip(&site.pids) {
                    *most = usage::memory_kib(*pid).max(*most);
                }
                (self.progress)(count, wanted);
            }
            if is_over {
                return Ok(most);
            }
            sleep(LOOK).await;
        }
    }

    async fn count(&self, subscriber: SocketAddr, what: &str) -> anyhow::Result<u64> {
        let count = self.ask(subscriber, what).await?;
        Ok(std::str::from_utf8(&count)?.parse()?)
    }

    async fn counters(&self, subscriber: SocketAddr) -> anyhow::Result<Counters> {
        Ok(serde_json::from_slice(
            &self.ask(subscriber, "counters").await?,
        )?)
    }

    async fn ask(&self, subscriber: SocketAddr, what: &str) -> anyhow::Result<Vec<u8>> {
        let url = format!("http://{subscriber}/{what}");
        let answer = self.client.get(url).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.into())
    }
}

fn cpu(site: &Site) -> Vec<f64> {
    let pids = site.pids.iter();
    pids.map(|(_, pid)| usage::cpu_seconds(*pid)).collect()
}
