//! Whether an endpoint seems to hang, decided from what its own requests do.
//!
//! A request that gets no answer costs a slot and pins its pack until its deadline. When a third of all endpoints stop
//! answering in the same second, that many requests would soon be all that a worker has. So an endpoint gets no further
//! request as soon as it is a *suspect*:
//!
//! | it | gets |
//! |---|---|
//! | answers | whatever comes |
//! | has a request that is older than its patience, and has answered none since that began | nothing: *suspect* |
//! | let a request run into its deadline, and has answered none since that began | a few requests at a time: *silent* |
//!
//! Patience is 1 s, or 4 times the median of the endpoint's recent answers where that is longer, so that a slow endpoint
//! is no suspect. An answer of whatever kind, an error included, ends both states.
//!
//! A deadline alone must not open the gate again: the requests of one second end within one second, each of them would
//! let a second's worth of others follow, and an endpoint that never answers would have more under way with each round.
//! It must not keep the gate shut either, because each attempt is to be made.

use std::time::Duration;

use postrider_core::time::Timestamp;

/// How long a request may take before its endpoint is a suspect, at least.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers that take this many times longer than usual are not waited for.
const UNUSUAL: u32 = 4;
/// Answers that count as recent.
const SAMPLES: usize = 8;
/// Requests at a time that find out whether a silent endpoint answers again, where all slots are free.
const MOST_PROBES: usize = 16;

/// How many requests a silent endpoint may have: one where a quarter of the slots is taken, because then many of them hang.
pub(crate) fn probes(free: usize, slots: usize) -> u32 {
    let spare = (4 * free).saturating_sub(3 * slots).min(slots);
    let probes = 1 + (MOST_PROBES - 1) * spare / slots.max(1);
    u32::try_from(probes).unwrap_or(1)
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With anything that shows life within its time, a refused connection included.
    Answered { begun: Timestamp, took: Duration },
    /// At its deadline.
    TimedOut { begun: Timestamp },
    /// It was not made, or it was cut off: nothing is known.
    Unknown,
}

/// What is known of one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Requests under way, and those that are about to be.
    in_flight: u32,
    /// When the first request was begun of those to which no answer came, nor to any other since.
    waiting_since: Option<Timestamp>,
    newest: Option<Timestamp>,
    answered: Option<Timestamp>,
    is_silent: bool,
    /// Milliseconds, in a ring.
    took: [u32; SAMPLES],
    samples: usize,
}

impl Watch {
    /// Where a further request is in vain: until when what hangs now must have ended.
    pub(crate) fn refuses(
        &self,
        now: Timestamp,
        probes: u32,
        deadline: Duration,
    ) -> Option<Timestamp> {
        if self.is_silent {
            let newest = self.newest.unwrap_or(now);
            return (self.in_flight >= probes).then_some(newest + deadline);
        }
        self.hangs(now).then_some(self.waiting_since? + deadline)
    }

    fn hangs(&self, now: Timestamp) -> bool {
        self.waiting_since.is_some_and(|since| {
            let age = now.since(since);
            age > PATIENCE && age > self.patience()
        })
    }

    pub(crate) const fn enter(&mut self) {
        self.in_flight += 1;
    }

    /// A request of those that have entered is sent. Where the endpoint has become a suspect since, it is not.
    pub(crate) fn begin(&mut self, now: Timestamp, deadline: Duration) -> Result<(), Timestamp> {
        if !self.is_silent && self.hangs(now) {
            return Err(self.waiting_since.unwrap_or(now) + deadline);
        }
        self.waiting_since.get_or_insert(now);
        self.newest = self.newest.max(Some(now));
        Ok(())
    }

    pub(crate) fn leave(&mut self, ended: Ended) {
        match ended {
            Ended::Answered { begun, took } => {
                self.waiting_since = None;
                self.is_silent = false;
                self.answered = self.answered.max(Some(begun + took));
                self.sample(took);
            }
            Ended::TimedOut { begun } if self.answered <= Some(begun) => self.is_silent = true,
            Ended::TimedOut { .. } | Ended::Unknown => {}
        }
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.waiting_since = None;
        }
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Whether requests may still be withheld from it when its next one comes.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.in_flight > 0 && (self.is_silent || self.waiting_since.is_some())
    }

    /// Whether an endpoint that nothing is known of would be treated alike.
    pub(crate) fn is_unremarkable(&self) -> bool {
        !self.is_silent && self.patience() <= PATIENCE
    }

    pub(crate) fn is_recent(&self, now: Timestamp, within: Duration) -> bool {
        self.newest.is_some_and(|newest| now.since(newest) < within)
    }

    fn patience(&self) -> Duration {
        let mut took = self.took;
        let known = &mut took[..self.samples.min(SAMPLES)];
        known.sort_unstable();
        let median = known.get(known.len() / 2).copied().unwrap_or(0);
        Duration::from_millis(median.into()) * UNUSUAL
    }

    fn sample(&mut self, took: Duration) {
        self.took[self.samples % SAMPLES] = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        // Stays within two rounds of the ring, the first of which tells how much of it is filled.
        self.samples = match self.samples + 1 {
            next if next == 2 * SAMPLES => SAMPLES,
            next => next,
        };
    }
}

#[cfg(test)]
mod tests;
