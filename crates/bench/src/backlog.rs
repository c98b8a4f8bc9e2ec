//! Working off what was accepted while no worker ran.
//!
//! The steady rate is that of a closed loop of the same run, in which load and ingest share the machine with the workers;
//! while a backlog is worked off, they have it to themselves.

use serde::Serialize;

use crate::round::Round;

/// A backlog, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backlog {
    /// Seconds from the workers' release to the last delivery.
    pub drain_seconds: f64,
    /// Deliveries a second in that time.
    pub drained_per_second: f64,
    /// CPU from the release on, memory, and everything else; times count from sending, so they say how long it waited.
    pub round: Round,
}

impl Backlog {
    /// `released`: when the workers were let go, by [`crate::clock::now`].
    #[must_use]
    pub fn of(round: Round, released: u64) -> Self {
        let nanoseconds = round.figures.last_delivery.saturating_sub(released);
        let drain_seconds = nanoseconds as f64 / 1e9;
        let drained_per_second = match nanoseconds {
            0 => 0.0,
            _ => round.figures.delivered as f64 / drain_seconds,
        };
        Self {
            drain_seconds,
            drained_per_second,
            round,
        }
    }

    /// The most memory of any worker, in MiB.
    #[must_use]
    pub fn worker_memory_mib(&self) -> f64 {
        let processes = self.round.processes.iter();
        let workers = processes.filter(|process| process.name.starts_with("worker"));
        workers.map(|worker| worker.memory_mib).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::round::Used;
    use crate::subscriber::Counters;

    fn round(delivered: u64, last_delivery: u64) -> Round {
        let used = |name: &str, memory_mib| Used {
            name: name.to_owned(),
            cpu_ms_per_delivery: 0.1,
            memory_mib,
        };
        Round {
            name: "postrider".to_owned(),
            figures: Figures {
                delivered,
                last_delivery,
                ..Figures::default()
            },
            cpu_ms_per_delivery: 0.1,
            counters: Counters::default(),
            processes: vec![
                used("ingest", 200.0),
                used("worker 1", 50.0),
                used("worker 2", 60.0),
            ],
            refused: 0,
            cause: None,
        }
    }

    #[test]
    fn a_drain_lasts_from_the_release_to_the_last_delivery() {
        let drained = Backlog::of(round(100, 7_000_000_000), 5_000_000_000);
        assert_eq!(
            (drained.drain_seconds, drained.drained_per_second),
            (2.0, 50.0)
        );
        assert_eq!(drained.worker_memory_mib(), 60.0);
    }

    #[test]
    fn where_nothing_came_there_is_no_rate() {
        let drained = Backlog::of(round(0, 0), 5_000_000_000);
        assert_eq!(
            (drained.drain_seconds, drained.drained_per_second),
            (0.0, 0.0)
        );
    }
}
