//! Which endpoints there are, and how each behaves.

use std::net::SocketAddr;

use anyhow::Context as _;
use postrider_bench::dns::ZONE;
use postrider_bench::site::Ready;

use crate::cli::BenchArgs;

/// Applications, each with the same number of endpoints; those beyond the fan-out want another event type.
pub(super) struct Layout {
    pub(super) applications: u32,
    endpoints: u32,
    fan_out: u32,
    /// Of 100: slow, failing, hanging.
    shares: [u32; 3],
    subscriber: SocketAddr,
    scheme: &'static str,
    hosts: Option<u32>,
}

/// How many an application has.
pub(super) fn endpoints(args: &BenchArgs) -> u32 {
    args.endpoints.unwrap_or(args.fan_out).max(args.fan_out)
}

pub(super) struct Endpoint {
    pub(super) url: String,
    /// Whether events are for it.
    pub(super) is_chosen: bool,
}

impl Layout {
    pub(super) fn of(args: &BenchArgs, subscriber: &Ready) -> anyhow::Result<Self> {
        let (scheme, address) = match subscriber.tls {
            Some(address) => ("https", Some(address)),
            None => ("http", subscriber.address),
        };
        Ok(Self {
            applications: args.applications,
            endpoints: endpoints(args),
            fan_out: args.fan_out,
            shares: [args.slow, args.failing, args.hanging],
            subscriber: address.context("the subscriber listens")?,
            scheme,
            hosts: args.hosts,
        })
    }

    pub(super) fn endpoints_of(&self, application: u32) -> impl Iterator<Item = Endpoint> {
        (0..self.endpoints).map(move |index| {
            let number = self.number(application, index);
            let manner = self.manner(application, index);
            Endpoint {
                url: format!("{}://{}/{manner}/{number}", self.scheme, self.host(number)),
                is_chosen: index < self.fan_out,
            }
        })
    }

    /// Names go by the endpoint's number, so that neighbours have different ones.
    fn host(&self, number: u32) -> String {
        match self.hosts {
            Some(hosts) => format!("h{}.{ZONE}:{}", number % hosts, self.subscriber.port()),
            None => self.subscriber.to_string(),
        }
    }

    /// Those that events are for and that answer with success, ascending.
    pub(super) fn healthy(&self) -> Vec<u32> {
        let all = (0..self.applications)
            .flat_map(|application| (0..self.fan_out).map(move |index| (application, index)));
        all.filter(|(application, index)| self.is_healthy(*application, *index))
            .map(|(application, index)| self.number(application, index))
            .collect()
    }

    /// How many of those an application has.
    pub(super) fn healthy_of(&self, application: u32) -> u32 {
        let healthy = (0..self.fan_out).filter(|index| self.is_healthy(application, *index));
        u32::try_from(healthy.count()).unwrap_or(u32::MAX)
    }

    fn is_healthy(&self, application: u32, index: u32) -> bool {
        matches!(self.manner(application, index), "ok" | "slow")
    }

    const fn number(&self, application: u32, index: u32) -> u32 {
        application * self.endpoints + index
    }

    /// Spread evenly over those that events are for.
    fn manner(&self, application: u32, index: u32) -> &'static str {
        // 61 has no divisor in common with 100, so that a hundred in a row take a hundred different places.
        let place = (application * self.fan_out + index) % 100 * 61 % 100;
        let mut below = 0;
        for (share, manner) in self.shares.into_iter().zip(["slow", "fail", "hang"]) {
            below += share;
            if place < below {
                return manner;
            }
        }
        "ok"
    }
}
