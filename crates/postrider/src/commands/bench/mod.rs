//! `postrider bench`: what this machine carries.

mod layout;
mod ours;
mod part;
mod versions;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use postrider_bench::backlog::Backlog;
use postrider_bench::load::Plan;
use postrider_bench::report::{self, FLOOR, Run};
use postrider_bench::round::{Ground, Round};
use postrider_bench::site::{Part, Process, Site};
use postrider_bench::tls::Identity;
use postrider_bench::{clock, idle};

use self::layout::Layout;
use self::ours::Ours;
pub(super) use self::part::run as run_part;
use super::{configure, install_tls};
use crate::cli::BenchArgs;
use crate::config::{Choice, Config, ConfigError, Mode, Servers};
use crate::failure::{Ending, Failure};
use crate::{output, shutdown, telemetry};

/// Of the floor's one endpoint; it keeps nobody out.
const FLOOR_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Before a first round is measured: connections are made, caches filled.
const WARM_UP: u32 = 2_000;
/// Of the steady round beside a backlog: a rate is known by then.
const STEADY: u32 = 200_000;

pub(super) fn run(mut args: BenchArgs) -> Result<Ending, Failure> {
    check(&args)?;
    let config = configure(Mode::Serve, std::mem::take(&mut args.flags.values))?;
    telemetry::init_logs(&config.logs)?;
    install_tls();
    shutdown::run(|stop| async move {
        tokio::select! {
            ended = Box::pin(bench(args, config)) => ended,
            // What was started is killed with the handles on it.
            () = stop.cancelled() => Ok(Ending::Interrupted),
        }
    })
}

/// What no argument says alone.
fn check(args: &BenchArgs) -> Result<(), ConfigError> {
    if args.backlog && !args.at.is_empty() {
        return Err(ConfigError::new(
            "--backlog holds workers back until all events are accepted, and those of --at run already; leave out one of the two",
        ));
    }
    if args.backlog && args.idle.is_some() {
        return Err(ConfigError::new(
            "--idle looks at workers that run, and --backlog holds them back; ask for each in a run of its own",
        ));
    }
    if args.slow + args.failing + args.hanging > 100 {
        return Err(ConfigError::new(
            "--slow, --failing and --hanging are shares of 100 endpoints and make more than 100 together; ask for less of one",
        ));
    }
    check_subscriber(args)?;
    // Those of Postrider and those of the floor, whose numbers go on from round to round.
    let events = u64::from(args.events) * u64::from(1 + args.fan_out) * u64::from(1 + args.rounds);
    if events > u32::MAX.into() {
        return Err(ConfigError::new(
            "--events, --fan-out and --rounds make more than 4,294,967,295 events together; ask for less of one",
        ));
    }
    Ok(())
}

/// What workers have to be told about the subscriber can be told to those of the run alone.
fn check_subscriber(args: &BenchArgs) -> Result<(), ConfigError> {
    if !args.at.is_empty() && args.tls {
        return Err(ConfigError::new(
            "--tls is of no use with --at: the workers there do not trust the subscriber's certificate, whose authority is made for the run; leave one of them out",
        ));
    }
    if !args.at.is_empty() && args.hosts.is_some() {
        return Err(ConfigError::new(
            "--hosts is of no use with --at: the workers there do not ask the run's name server; leave one of them out",
        ));
    }
    let endpoints = args.applications.saturating_mul(layout::endpoints(args));
    if args.hosts.is_some_and(|hosts| hosts > endpoints) {
        return Err(ConfigError::new(format_args!(
            "--hosts asks for more names than there are endpoints ({endpoints}); ask for fewer, or for more --applications",
        )));
    }
    Ok(())
}

async fn bench(args: BenchArgs, config: Config) -> Result<Ending, Failure> {
    let servers = match config.backends.choice()? {
        Choice::Embedded if args.backlog => {
            return Err(ConfigError::new(
                "--backlog needs workers that are processes of their own, and on the embedded backends there is one process; \
                 set POSTRIDER_BROKER and POSTRIDER_STORE to a RabbitMQ and a Redis",
            )
            .into());
        }
        Choice::Embedded => None,
        Choice::Servers(servers) => Some(servers),
    };
    let dir = tempfile::tempdir().context("no temporary directory")?;
    let mut stage = Stage::build(&args, servers.as_deref(), dir.path()).await?;
    let run = stage.run(&args, dir.path()).await?;
    output::line(report::table(&run));
    if let Some(file) = &args.json {
        write(file, &format!("{:#}\n", report::json(&run)))?;
    }
    if let Some(file) = &args.svg {
        write(file, &report::svg(&run))?;
    }
    stage.ours.stop().await;
    Ok(if run.is_whole() {
        Ending::Done
    } else {
        output::error("deliveries were lost; see the row `lost`");
        Ending::Wrong
    })
}

fn write(file: &PathBuf, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// Everything that runs.
struct Stage {
    subscriber: Process,
    /// Ended with it.
    _floor: Vec<Process>,
    ours: Ours,
    sites: Vec<Site>,
}

impl Stage {
    async fn build(
        args: &BenchArgs,
        servers: Option<&Servers>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let program = part::program()?;
        let (identity, root) = identity(args, dir)?.unzip();
        let mut surroundings = Vec::new();
        surroundings.extend(root.map(|file| ("SSL_CERT_FILE", file)));
        let subscriber = Part::Subscriber {
            listen: args.subscriber,
            slow: args.slow_time,
            closes: args.close,
            tls: identity,
            has_names: args.hosts.is_some(),
        };
        let subscriber = Process::start("subscriber", part::command(&program), &subscriber).await?;
        let address = subscriber.address.context("the subscriber listens")?;
        let dns = subscriber.ready.dns;
        surroundings.extend(dns.map(|dns| ("POSTRIDER_NAMESERVERS", dns.to_string())));
        let layout = Layout::of(args, &subscriber.ready)?;
        let (mut floor, mut sites) = (Vec::new(), Vec::new());
        let ours = match &args.token {
            Some(token) if !args.at.is_empty() => Ours::at(&args.at, token, servers).await?,
            _ => Ours::start(args, servers, dir, &surroundings).await?,
        };
        sites.push(ours.site(&layout, args).await?);
        if let (Some(servers), false) = (servers, args.no_floor || args.backlog) {
            floor = start_floor(&program, servers, address).await?;
            sites.push(floor_site(&floor, servers)?);
        }
        Ok(Self {
            subscriber,
            _floor: floor,
            ours,
            sites,
        })
    }

    async fn run(&mut self, args: &BenchArgs, dir: &Path) -> anyhow::Result<Run> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let program = part::program()?;
        let command = || part::command(&program);
        let progress =
            |done: u64, wanted: u64| output::progress(format!("{done} of {wanted} deliveries"));
        let accepting =
            |time: Duration| output::progress(format!("accepting for {} s", time.as_secs()));
        let ground = Ground {
            command: &command,
            dir,
            client: &client,
            progress: &progress,
            accepting: &accepting,
        };
        let idle = match args.idle {
            Some(time) => idle::look_on(&self.sites[0], time).await,
            None => Vec::new(),
        };
        let (since, mut first) = (clock::now(), 0);
        let backlog = match args.backlog {
            true => Some(self.drain(&ground, args, &mut first).await?),
            false => None,
        };
        let rounds = self.rounds(&ground, args, &mut first).await?;
        let pages = match args.pages {
            Some(times) => self.ours.pages(since, times).await?,
            None => Vec::new(),
        };
        Ok(Run {
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            versions: versions::all(&self.sites),
            rounds,
            idle,
            backlog,
            pages,
        })
    }

    async fn drain(
        &mut self,
        ground: &Ground<'_>,
        args: &BenchArgs,
        first: &mut u32,
    ) -> anyhow::Result<Backlog> {
        let site = &self.sites[0];
        let plan = plan(args, site, args.events, first);
        let ours = &mut self.ours;
        let release = async || ours.release().await;
        let drained = ground.drain(site, plan, &self.subscriber, release).await?;
        output::line(format_args!(
            "backlog of {}: {:.0} deliveries/s, {:.4} ms CPU each, in {:.1} s",
            drained.round.figures.accepted,
            drained.drained_per_second,
            drained.round.cpu_ms_per_delivery,
            drained.drain_seconds,
        ));
        Ok(drained)
    }

    async fn rounds(
        &self,
        ground: &Ground<'_>,
        args: &BenchArgs,
        first: &mut u32,
    ) -> anyhow::Result<Vec<Round>> {
        let mut rounds: Vec<Round> = Vec::new();
        // What worked off a backlog is warm.
        let (numbers, last) = match args.backlog {
            true => (1..=1, 1),
            false => (0..=args.rounds, args.rounds),
        };
        for number in numbers {
            for site in &self.sites {
                let plan = plan(args, site, events(args, number), first);
                let round = ground.measure(site, plan, &self.subscriber).await?;
                if number == 0 {
                    continue;
                }
                output::line(format_args!(
                    "round {number} of {last}, {:<9}: {:>7.0} deliveries/s, {:.4} ms CPU each, p50 {:.2} ms, p99 {:.2} ms",
                    site.name,
                    round.figures.delivered_per_second,
                    round.cpu_ms_per_delivery,
                    round.figures.receive.p50,
                    round.figures.receive.p99,
                ));
                rounds.push(round);
            }
        }
        Ok(rounds)
    }
}

/// For `--tls`: what the subscriber shows, and the file of the root that workers have to trust.
fn identity(args: &BenchArgs, dir: &Path) -> anyhow::Result<Option<(Identity, String)>> {
    if !args.tls {
        return Ok(None);
    }
    let names = vec![
        format!("*.{}", postrider_bench::dns::ZONE),
        args.subscriber.ip().to_string(),
    ];
    let (identity, root) = postrider_bench::tls::make(names)?;
    let file = dir.join("root.pem");
    write(&file, &root)?;
    Ok(Some((identity, file.display().to_string())))
}

/// Of a round, by its number; the one that is not measured is 0.
fn events(args: &BenchArgs, round: u32) -> u32 {
    match round {
        0 => WARM_UP.max(args.hosts.unwrap_or(0)).min(args.events),
        _ if args.backlog => STEADY.min(args.events),
        _ => args.events,
    }
}

/// How long a round may take: with room for a machine that makes a thousand deliveries a second.
fn patience(args: &BenchArgs) -> Duration {
    args.patience.unwrap_or_else(|| {
        let deliveries = u64::from(args.events) * u64::from(args.fan_out);
        Duration::from_secs(120 + deliveries / 1_000)
    })
}

/// The floor makes one delivery of an event; it gets as many events as Postrider makes deliveries.
fn plan(args: &BenchArgs, site: &Site, mut events: u32, first: &mut u32) -> Plan {
    let mut rate = args.rate;
    if site.name == FLOOR {
        events *= args.fan_out;
        rate = rate.map(|rate| rate * f64::from(args.fan_out));
    }
    let plan = Plan {
        addresses: site.addresses.clone(),
        paths: site.paths.clone(),
        token: site.token.clone(),
        first: *first,
        events,
        clients: args.clients,
        rate,
        payload: args.payload,
        patience: patience(args),
    };
    *first += events;
    plan
}

async fn start_floor(
    program: &Path,
    servers: &Servers,
    subscriber: std::net::SocketAddr,
) -> anyhow::Result<Vec<Process>> {
    let broker = servers.broker.value.expose().to_owned();
    let broker = broker.split(',').next().unwrap_or_default().to_owned();
    let ingest = Part::FloorIngest {
        broker: broker.clone(),
    };
    let worker = Part::FloorWorker {
        broker,
        url: format!("http://{subscriber}/ok/0"),
        secret: FLOOR_SECRET.to_owned(),
    };
    Ok(vec![
        Process::start("ingest", part::command(program), &ingest).await?,
        Process::start("worker", part::command(program), &worker).await?,
    ])
}

fn floor_site(floor: &[Process], servers: &Servers) -> anyhow::Result<Site> {
    let address = floor.first().and_then(|ingest| ingest.address);
    let mut pids = Vec::new();
    for process in floor {
        pids.push((process.name.clone(), process.pid().context("it has ended")?));
    }
    pids.extend(ours::server(
        "RabbitMQ",
        servers.broker.value.expose(),
        5672,
    ));
    Ok(Site {
        name: FLOOR.to_owned(),
        addresses: vec![address.context("the floor's ingest listens")?],
        paths: vec!["/api/v1/app/floor/msg".to_owned()],
        token: String::new(),
        pids,
        endpoints: vec![0],
        fan_outs: vec![1],
    })
}
