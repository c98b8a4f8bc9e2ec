//! The command line. Flags for settings are made from the settings' definitions, see [`Flags`].

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};
use postrider_core::id::{AppId, OrgId};

use crate::config::{FlagValues, Setting, settings};

#[derive(Debug, Parser)]
#[command(
    name = "postrider",
    version,
    about = "Delivers webhooks: signed, retried, isolated, observable"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Try it: everything in one process, with a tour that delivers some events
    Dev(DevArgs),
    /// Run the service
    Serve(Flags<All>),
    /// Make a token for the API and print it
    #[command(subcommand)]
    Token(TokenKind),
    /// Print the settings in force and try every connection
    Check(Flags<All>),
    /// Ask the server that runs with these settings whether it is ready, for supervisors and containers
    Health(HealthArgs),
    /// Copy out, put back, or found the registry: applications, endpoints, event types
    #[command(subcommand)]
    Registry(RegistryAction),
    /// Copy the data of the embedded backends, while they are in use or not
    Backup(BackupArgs),
    /// Measure what this machine carries, beside the least possible pipeline over the same RabbitMQ
    Bench(Box<BenchArgs>),
    /// A process of `bench`
    #[command(hide = true)]
    BenchPart,
    /// Print a script that completes commands in a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// End after the tour: exit code 0 if everything arrived, 1 if not
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub flags: Flags<ForDev>,
}

#[derive(Debug, Subcommand)]
pub enum TokenKind {
    /// For the operator's backend: everything within an organisation
    Operator(OperatorArgs),
    /// For a consumer: one application
    Consumer(ConsumerArgs),
}

#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// The organisation; it comes into being with its first use
    #[arg(long, default_value_t = crate::DEFAULT_ORG)]
    pub org: OrgId,
    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime)]
    pub ttl: std::time::Duration,
    #[command(flatten)]
    pub flags: Flags<ForToken>,
}

#[derive(Debug, Args)]
pub struct ConsumerArgs {
    /// The application, by its identifier (app_…)
    #[arg(long)]
    pub app: AppId,
    /// The organisation that the application belongs to
    #[arg(long, default_value_t = crate::DEFAULT_ORG)]
    pub org: OrgId,
    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub ttl: std::time::Duration,
    #[command(flatten)]
    pub flags: Flags<ForToken>,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where the copy goes; it must not exist yet
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    #[command(flatten)]
    pub flags: Flags<ForBackup>,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Events of a round
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub events: u32,
    /// Connections that send events, each one after the other
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Events a second, sent at their times whatever has become of earlier ones; without, as fast as they are accepted
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Bytes of a payload
    #[arg(long, default_value_t = 512, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(32..=1_000_000))]
    pub payload: usize,
    /// Endpoints that every event is for
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub fan_out: u32,
    /// Applications, which events are for in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub applications: u32,
    /// Endpoints of an application; those beyond the fan-out want other events
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub endpoints: Option<u32>,
    /// Of 100 endpoints, how many answer late
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub slow: u32,
    /// How late
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = crate::config::duration)]
    pub slow_time: std::time::Duration,
    /// Of 100 endpoints, how many answer 500
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub failing: u32,
    /// Of 100 endpoints, how many never answer
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub hanging: u32,
    /// The subscriber speaks TLS, with a certificate of an authority that only the processes of the run trust
    #[arg(long)]
    pub tls: bool,
    /// Endpoints have this many host names instead of the subscriber's address; a name server of the run knows them
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub hosts: Option<u32>,
    /// The subscriber closes each connection after its answer
    #[arg(long)]
    pub close: bool,
    /// Rounds that are measured, after one that is not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Ingests that run already, as `http://host:port`, instead of processes of its own; several with commas. Their workers
    /// have to be allowed to reach the subscriber (POSTRIDER_ALLOW_NETS, POSTRIDER_HTTPS_ONLY)
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "token")]
    pub at: Vec<url::Url>,
    /// An operator's token for them (`postrider token operator`)
    #[arg(
        long,
        value_name = "TOKEN",
        env = "POSTRIDER_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Where the subscriber listens: another address than this machine's own, where workers are elsewhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub subscriber: std::net::SocketAddr,
    /// Worker processes, where the backends are servers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Leave out the least possible pipeline, which otherwise takes turns with Postrider
    #[arg(long)]
    pub no_floor: bool,
    /// Accept all events before a worker runs, and measure how these work them off; then one steady round to compare with
    #[arg(long)]
    pub backlog: bool,
    /// After the rounds, ask so many times for the first page of each kind of list, with everything still in the log
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pages: Option<u32>,
    /// Before the rounds, look for so long at what the processes use up while nothing is sent
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration)]
    pub idle: Option<std::time::Duration>,
    /// How long a round may take; what has not arrived by then is lost. Without, 120s and 1s for each 1,000 deliveries
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration)]
    pub patience: Option<std::time::Duration>,
    /// Write everything measured to a file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw throughput and latency of the last round over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub flags: Flags<ForBench>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number")?;
    if rate.is_finite() && rate > 0.0 {
        Ok(rate)
    } else {
        Err("must be more than 0".to_owned())
    }
}

#[derive(Debug, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    pub flags: Flags<ForHealth>,
}

#[derive(Debug, Subcommand)]
pub enum RegistryAction {
    /// Write every record to a file, secrets included
    Export(ExportArgs),
    /// Put records from a file back, also after Redis has lost its own
    Import(ImportArgs),
    /// Found an empty registry where Redis has lost the old one for good: every event that waits for an endpoint of
    /// the old one is then without a subscriber
    Init(InitArgs),
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where it goes; it must not exist yet
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    #[command(flatten)]
    pub flags: Flags<ForRegistry>,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A file that `registry export` has written
    #[arg(value_name = "FILE")]
    pub from: PathBuf,
    #[command(flatten)]
    pub flags: Flags<ForRegistry>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub flags: Flags<ForRegistry>,
}

fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    let found = crate::config::duration(text)?;
    let second = std::time::Duration::from_secs(1);
    if found < second {
        Err("must be at least 1s".to_owned())
    } else {
        Ok(found)
    }
}

const HEADING: &str =
    "Settings (docs/CONFIGURATION.md; in the environment, --max-body is POSTRIDER_MAX_BODY)";

/// Flags for the settings that `S` selects, and `--config`. What they hold is not looked at here: a bad value is
/// reported like one from the environment or the file.
#[derive(Debug, Clone)]
pub struct Flags<S> {
    pub values: FlagValues,
    selection: PhantomData<S>,
}

/// Which settings a command has flags for.
pub trait Selection {
    fn has(setting: &Setting) -> bool;
}

macro_rules! selection {
    ($(#[$doc:meta])* $name:ident, $setting:ident => $has:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl Selection for $name {
            fn has($setting: &Setting) -> bool {
                $has
            }
        }
    };
}

selection!(All, _setting => true);
selection!(
    /// `dev` is embedded and has all roles.
    ForDev, setting => !matches!(setting.key, "broker" | "store" | "log_store" | "log_max_bytes" | "roles")
);
selection!(ForToken, setting => setting.key == "jwt_secret_file");
selection!(ForHealth, setting => setting.key == "metrics_listen");
selection!(ForRegistry, setting => matches!(setting.key, "broker" | "store" | "data"));
selection!(ForBench, setting => matches!(setting.key, "broker" | "store" | "log_store"));
selection!(ForBackup, setting => setting.key == "data");

impl<S: Selection> Args for Flags<S> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A file of settings")
            .help_heading(HEADING);
        let flags = settings()
            .filter(|setting| S::has(setting))
            .filter_map(flag);
        command.arg(config).args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Option<Arg> {
    let sentence = setting
        .help
        .split_inclusive(". ")
        .next()
        .unwrap_or(setting.help);
    let help = sentence.trim_end().trim_end_matches('.');
    let arg = Arg::new(setting.key)
        .long(setting.flag()?)
        .value_name(setting.placeholder)
        .allow_hyphen_values(true)
        .help(help)
        .help_heading(HEADING);
    Some(arg)
}

impl<S> FromArgMatches for Flags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // A command does not have every flag; asking for one that it lacks is an error to the parser, not to us.
        let value = |setting: &'static Setting| {
            let text = matches.try_get_one::<String>(setting.key).ok().flatten()?;
            Some((setting.key, text.clone()))
        };
        let values: BTreeMap<_, _> = settings().filter_map(value).collect();
        let file = matches.get_one::<PathBuf>("config").cloned();
        Ok(Self {
            values: FlagValues { file, values },
            selection: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_named_after_settings() {
        let cli = Cli::parse_from([
            "postrider",
            "serve",
            "--request-timeout",
            "20s",
            "--allow-nets",
            "",
        ]);
        let Action::Serve(flags) = cli.command else {
            panic!("not serve")
        };
        assert_eq!(flags.values.values["request_timeout"], "20s");
        assert_eq!(flags.values.values["allow_nets"], "");
        assert!(!flags.values.values.contains_key("listen"));
    }
}
