//! How deliveries are made, and to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use postrider_core::schedule::RetrySchedule;
use postrider_core::target::TargetPolicy;

use super::parse;
use super::setting::{ConfigError, DefaultValue, Mode, Setting, Shown};
use super::sources::Sources;

pub(super) static RETRY_SCHEDULE: Setting = Setting {
    key: "retry_schedule",
    placeholder: "JSON",
    form: "a JSON list of seconds like [5,300,1800], at most 64, each at most 604800 (7 days)",
    default: DefaultValue::PerMode {
        serve: "[5,300,1800,7200,18000,36000,36000]",
        dev: "[1,2,5,15,60,300,1800,7200]",
    },
    shown: Shown::Whole,
    help: "Delays after failed attempts; n of them make n + 1 attempts. A delay d becomes one between d and 1.42 d.",
};

pub(super) static REQUEST_TIMEOUT: Setting = Setting {
    key: "request_timeout",
    placeholder: "TIME",
    form: "1s to 30s (a number without a unit is seconds)",
    default: DefaultValue::Text("15s"),
    shown: Shown::Whole,
    help: "How long an attempt may take, from looking up the name to the last byte of the answer.",
};

pub(super) static HTTPS_ONLY: Setting = Setting {
    key: "https_only",
    placeholder: "true|false",
    form: "true or false",
    default: DefaultValue::PerMode {
        serve: "true",
        dev: "false",
    },
    shown: Shown::Whole,
    help: "Refuse endpoints without TLS.",
};

pub(super) static ALLOW_NETS: Setting = Setting {
    key: "allow_nets",
    placeholder: "CIDR,…",
    form: "networks like 10.20.0.0/16, separated by commas",
    default: DefaultValue::PerMode {
        serve: "",
        dev: "127.0.0.0/8,::1/128",
    },
    shown: Shown::Whole,
    help: "Private networks that endpoints may lie in all the same. `dev` always adds its own machine. Every other address that is not public is refused.",
};

pub(super) static SLOTS: Setting = Setting {
    key: "slots",
    placeholder: "NUMBER",
    form: "1 to 100000",
    default: DefaultValue::Text("4096"),
    shown: Shown::Whole,
    help: "Requests to endpoints under way at once. Each needs an open file.",
};

pub(super) static PREFETCH: Setting = Setting {
    key: "prefetch",
    placeholder: "NUMBER",
    form: "1 to 100000",
    default: DefaultValue::Text("4096"),
    shown: Shown::Whole,
    help: "Packs of work (1 to 64 events each) held at once.",
};

pub(super) static NAMESERVERS: Setting = Setting {
    key: "nameservers",
    placeholder: "ADDRESS,…",
    form: "addresses like 10.0.0.2 or 10.0.0.2:5353, separated by commas",
    default: DefaultValue::Absent("the system's (`/etc/resolv.conf`)"),
    shown: Shown::Whole,
    help: "Name servers that are asked about endpoints, instead of the system's; port 53 where none is given. Answers are kept as long as they allow, at most 5 minutes.",
};

pub(super) static TLS_SESSIONS: Setting = Setting {
    key: "tls_sessions",
    placeholder: "NUMBER",
    form: "0 to 1000000",
    default: DefaultValue::Text("32768"),
    shown: Shown::Whole,
    help: "Of how many servers of endpoints TLS sessions are kept, so that connecting again costs less; 0 turns this off. A server takes 2 KiB of memory and twice its certificates, mostly 5 to 10 KiB in all.",
};

#[derive(Debug, Clone)]
pub struct Delivery {
    pub schedule: RetrySchedule,
    pub request_timeout: Duration,
    pub policy: TargetPolicy,
    pub slots: usize,
    pub prefetch: usize,
    pub nameservers: Vec<SocketAddr>,
    pub tls_sessions: usize,
}

impl Delivery {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let seconds = |number| Duration::from_secs(number);
        let mut allow = sources.read(&ALLOW_NETS, networks)?.value;
        if sources.mode() == Mode::Dev {
            allow.extend(own_machine());
        }
        Ok(Self {
            schedule: sources.read(&RETRY_SCHEDULE, schedule)?.value,
            request_timeout: sources
                .read(&REQUEST_TIMEOUT, |text| {
                    parse::duration_within(text, seconds(1), seconds(30))
                })?
                .value,
            policy: TargetPolicy {
                https_only: sources.read(&HTTPS_ONLY, parse::boolean)?.value,
                allow,
            },
            slots: sources
                .read(&SLOTS, |text| parse::number_within(text, 1, 100_000))?
                .value,
            prefetch: sources
                .read(&PREFETCH, |text| parse::number_within(text, 1, 100_000))?
                .value,
            nameservers: sources
                .read_optional(&NAMESERVERS, nameservers)?
                .map_or_else(Vec::new, |entry| entry.value),
            tls_sessions: sources
                .read(&TLS_SESSIONS, |text| {
                    parse::number_within(text, 0, 1_000_000)
                })?
                .value,
        })
    }
}

/// The tour's receiver lives there.
fn own_machine() -> [IpNet; 2] {
    [
        IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8).trunc(),
        IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

fn schedule(text: &str) -> Result<RetrySchedule, String> {
    let seconds: Vec<f64> =
        serde_json::from_str(text).map_err(|_| "is not a JSON list of numbers".to_owned())?;
    RetrySchedule::try_from(seconds).map_err(|error| format!("cannot be used: {error}"))
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |part: &str| {
        let address = || part.parse::<IpAddr>().ok().map(IpNet::from);
        part.parse()
            .ok()
            .or_else(address)
            .ok_or_else(|| format!("holds {part:?}, which is no network"))
    };
    parse::list(text).map(network).collect()
}

fn nameservers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let server = |part: &str| {
        let address = || part.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53));
        part.parse()
            .ok()
            .or_else(address)
            .ok_or_else(|| format!("holds {part:?}, which is no address"))
    };
    parse::list(text).map(server).collect()
}
