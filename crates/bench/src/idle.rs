//! What processes use up while nothing is to be done.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::round::LOOK_AT_MEMORY;
use crate::site::Site;

/// A process that had nothing to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Idle {
    /// Which process.
    pub name: String,
    /// Of one core, user and system, in percent.
    pub cpu_percent: f64,
    /// The most memory at any look, once a second: proportional share, in MiB.
    pub memory_mib: f64,
}

/// Looks on for `time`.
pub async fn look_on(site: &Site, time: Duration) -> Vec<Idle> {
    let (begun, before) = (Instant::now(), site.cpu());
    let mut most = vec![0; site.pids.len()];
    while begun.elapsed() < time {
        site.look_at_memory(&mut most);
        sleep(LOOK_AT_MEMORY.min(time.saturating_sub(begun.elapsed()))).await;
    }
    let (took, after) = (begun.elapsed(), site.cpu());
    let cpu = before.into_iter().zip(after);
    let of_each = site.pids.iter().zip(cpu.zip(most));
    of_each
        .map(|((name, _), ((before, after), kib))| Idle {
            name: name.clone(),
            cpu_percent: percent(after - before, took),
            memory_mib: kib as f64 / 1024.0,
        })
        .collect()
}

fn percent(seconds: f64, of: Duration) -> f64 {
    100.0 * seconds / of.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_one_core() {
        assert_eq!(percent(0.3, Duration::from_secs(30)), 1.0);
        assert_eq!(percent(60.0, Duration::from_secs(30)), 200.0);
        assert_eq!(percent(0.0, Duration::ZERO), 0.0);
    }

    #[tokio::test]
    async fn every_process_is_told_by_its_name() {
        let site = Site {
            name: "postrider".to_owned(),
            addresses: Vec::new(),
            paths: Vec::new(),
            token: String::new(),
            pids: vec![("this".to_owned(), std::process::id())],
            endpoints: Vec::new(),
            fan_outs: Vec::new(),
        };
        let seen = look_on(&site, Duration::from_millis(20)).await;
        assert_eq!(seen[0].name, "this");
        assert!(seen[0].memory_mib > 0.1 && seen[0].cpu_percent >= 0.0);
    }
}
