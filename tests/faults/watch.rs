//! What is seen from outside while something is broken: rates, CPU time, log lines.

use std::collections::HashMap;
use std::time::Duration;

use postrider_tests::{Ledger, Receiver, Server, cpu_seconds_of_tree};
use serde_json::Value;
use tokio::time::Instant;

/// Over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(100);

/// When things happened.
pub(crate) struct Times(Vec<Instant>);

impl Times {
    /// Of everything that arrived.
    pub(crate) fn of_arrivals(receiver: &Receiver) -> Self {
        Self::sorted(receiver.look(|requests| requests.iter().map(|request| request.at).collect()))
    }

    /// Of every 202.
    pub(crate) fn of_acceptance(ledger: &Ledger) -> Self {
        let accepted = ledger.accepted();
        Self::sorted(accepted.iter().map(|event| event.at).collect())
    }

    fn sorted(mut times: Vec<Instant>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Per second.
    pub(crate) fn rate(&self, from: Instant, to: Instant) -> f64 {
        self.count(from, to) as f64 / to.duration_since(from).as_secs_f64()
    }

    pub(crate) fn count(&self, from: Instant, to: Instant) -> usize {
        let before = |end: Instant| self.0.partition_point(|at| *at < end);
        before(to).saturating_sub(before(from))
    }

    /// How long after `from` the rate was `share` of `normal` again; `None` where it never was.
    pub(crate) fn back_after(&self, from: Instant, normal: f64, share: f64) -> Option<Duration> {
        let last = *self.0.last()?;
        let mut at = from;
        while at + WINDOW <= last {
            if self.rate(at, at + WINDOW) >= share * normal {
                return Some(at - from);
            }
            at += STEP;
        }
        None
    }

    /// The longest time between two of them.
    pub(crate) fn longest_gap(&self) -> Duration {
        let gaps = self.0.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

/// For how long after `begun` one of the ingests accepted nothing of one of the applications, at most. Others may have
/// gone on meanwhile.
pub(crate) fn longest_silence(ledger: &Ledger, begun: Instant) -> Duration {
    let mut last: HashMap<(String, String), Instant> = HashMap::new();
    let mut longest = Duration::ZERO;
    let mut accepted = ledger.accepted();
    accepted.sort_by_key(|event| event.at);
    for event in accepted {
        let before = last.insert((event.by, event.app), event.at);
        if event.at >= begun {
            longest = longest.max(event.at - before.unwrap_or(begun).max(begun));
        }
    }
    let since = last.values().map(|at| (*at).max(begun).elapsed());
    longest.max(since.max().unwrap_or_default())
}

/// The longest time from a 202 to the first request of that event: when it was accepted, and how long.
pub(crate) fn slowest(ledger: &Ledger, receiver: &Receiver) -> (Instant, Duration) {
    let first: HashMap<String, Instant> = receiver.look(|requests| {
        let backwards = requests.iter().rev();
        backwards
            .map(|request| (request.id.clone(), request.at))
            .collect()
    });
    let accepted = ledger.accepted().into_iter();
    let took = accepted.filter_map(|event| {
        let arrived = first.get(&event.message)?;
        Some((event.at, arrived.saturating_duration_since(event.at)))
    });
    took.max_by_key(|(_, took)| *took).unwrap()
}

/// CPU time that a process uses, from now on.
pub(crate) struct Cpu {
    pid: i32,
    begun: Instant,
    before: f64,
}

impl Cpu {
    pub(crate) fn of(server: &Server) -> Self {
        let pid = server.pid();
        Self {
            pid,
            begun: Instant::now(),
            before: cpu_seconds_of_tree(pid),
        }
    }

    /// The share of a core since then.
    pub(crate) fn share(&self) -> f64 {
        let used = cpu_seconds_of_tree(self.pid) - self.before;
        used / self.begun.elapsed().as_secs_f64()
    }
}

/// How often a process said the same within one second, at most, and what.
pub(crate) fn most_repeated(server: &Server) -> (usize, String) {
    let log = server.log_lines();
    let lines = log.lock();
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    for line in lines.iter() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        // It says how often another cause was not said, at most once beside a line of that.
        if text("target") == "postrider::repeats" {
            continue;
        }
        let second = text("timestamp").chars().take(19).collect();
        *counts.entry((second, text("message"))).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|((_, message), count)| (count, message))
        .unwrap_or_default()
}
