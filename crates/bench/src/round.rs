//! One load on one pipeline, from the first event to the last delivery.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::backlog::Backlog;
use crate::clock;
use crate::figures::Figures;
use crate::load::Plan;
use crate::rows::{self, Received, Sent};
use crate::site::{LoadEnd, Part, Process, Site};
use crate::subscriber::Counters;

const LOOK: Duration = Duration::from_millis(20);
pub(crate) const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
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
    /// Told for how long events have been accepted that nobody delivers yet.
    pub accepting: &'a (dyn Fn(Duration) + Sync),
}

/// A load that has been started.
struct UnderWay {
    subscriber: SocketAddr,
    /// Deliveries.
    wanted: u64,
    patience: Duration,
    file: PathBuf,
    /// What the subscriber had counted before.
    counted: Counters,
    /// CPU time of each process before.
    before: Vec<f64>,
    load: Process,
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
        let mut under_way = self.begin(site, plan, subscriber).await?;
        let memory = self.watch(site, &under_way).await?;
        let end = under_way.load.load_end().await?;
        self.conclude(site, under_way, memory, end).await
    }

    /// Measures how workers work off what was accepted before they ran. `release` lets them go.
    ///
    /// # Errors
    /// Where a process fails.
    pub async fn drain(
        &self,
        site: &Site,
        plan: Plan,
        subscriber: &Process,
        release: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Backlog> {
        let mut under_way = self.begin(site, plan, subscriber).await?;
        let end = self.accepted(&mut under_way.load).await?;
        under_way.before = site.cpu();
        let released = clock::now();
        release().await?;
        let memory = self.watch(site, &under_way).await?;
        let round = self.conclude(site, under_way, memory, end).await?;
        Ok(Backlog::of(round, released))
    }

    async fn begin(
        &self,
        site: &Site,
        plan: Plan,
        subscriber: &Process,
    ) -> anyhow::Result<UnderWay> {
        let subscriber = subscriber.address.context("the subscriber listens")?;
        let numbers = plan.first..plan.first + plan.events;
        let wanted = numbers.map(|number| u64::from(site.fan_out(number))).sum();
        self.ask(subscriber, "reset").await?;
        let counted = self.counters(subscriber).await?;
        let (file, patience) = (self.dir.join("sent"), plan.patience);
        let before = site.cpu();
        let part = Part::Load {
            plan,
            rows: file.clone(),
        };
        Ok(UnderWay {
            subscriber,
            wanted,
            patience,
            file,
            counted,
            before,
            load: Process::start("load", (self.command)(), &part).await?,
        })
    }

    /// Until everything is accepted, or the load has given up.
    async fn accepted(&self, load: &mut Process) -> anyhow::Result<LoadEnd> {
        let begun = Instant::now();
        let end = load.load_end();
        tokio::pin!(end);
        loop {
            tokio::select! {
                end = &mut end => return end,
                () = sleep(LOOK_AT_MEMORY) => (self.accepting)(begun.elapsed()),
            }
        }
    }

    async fn conclude(
        &self,
        site: &Site,
        under_way: UnderWay,
        memory: Vec<u64>,
        end: LoadEnd,
    ) -> anyhow::Result<Round> {
        let address = under_way.subscriber;
        let sent: Vec<Sent> = rows::read(&std::fs::read(&under_way.file)?)?;
        sleep(DUPLICATES).await;
        let received: Vec<Received> = rows::read(&self.ask(address, "rows").await?)?;
        let after = site.cpu();
        let counters = self.counters(address).await?.since(under_way.counted);
        let figures = Figures::of(&sent, &received, &site.endpoints, |number| {
            site.fan_out(number)
        });
        let deliveries = figures.delivered.max(1) as f64;
        let used = site.pids.iter().zip(under_way.before.iter().zip(&after));
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
    async fn watch(&self, site: &Site, under_way: &UnderWay) -> anyhow::Result<Vec<u64>> {
        let UnderWay {
            subscriber,
            wanted,
            patience,
            ..
        } = *under_way;
        let mut most = vec![0; site.pids.len()];
        let begun = Instant::now();
        let mut looked: Option<Instant> = None;
        loop {
            let count = self.count(subscriber, "count").await?;
            let is_over = count >= wanted || begun.elapsed() > patience;
            if is_over || looked.is_none_or(|last| last.elapsed() > LOOK_AT_MEMORY) {
                looked = Some(Instant::now());
                site.look_at_memory(&mut most);
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
