//! What a history shows.
//!
//! The requests of a pair are walked in the order of their arrival, and each is held against the one before it:
//!
//! | the one before | this one is |
//! |---|---|
//! | was answered 2xx | a duplicate |
//! | was still open | a duplicate: two carriers at once |
//! | failed, and the delay of its attempt has passed | the next attempt; late where it came after the bound; a duplicate where the schedule has no such attempt |
//! | failed, or was broken off, and the delay has not passed | one attempt once more where there is an excuse: a duplicate; else early |
//!
//! A fault that covers a request ([`Fault::covers`]) is an excuse for one repetition of it. A repeated success, or two
//! carriers at once, need the excuse of the very request that they repeat. After a failure any earlier one of the pair
//! will do, since a repetition after the delay is not to be told from the next attempt, and moves the count. The delay of
//! an attempt counts from its first request: whoever made that may have handed the next attempt off.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::history::{Accepted, Arrival, End, Fault, History, Pair};
use super::verdict::{Duplicate, Verdict};

/// The shortest step of the ladder on which retries wait.
const FIRST_STEP: Duration = Duration::from_secs(1);
/// By which a delay is stretched at most: its jitter.
const MAX_STRETCH: f64 = 1.42;
/// Postrider counts in milliseconds of a clock that is not the receiver's.
const ROUNDING: Duration = Duration::from_millis(2);

/// What is promised.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The delays after failed attempts.
    pub schedule: Vec<Duration>,
    /// How long after it was answered an outcome may still be unknown to the store.
    pub flush: Duration,
    /// By how much an attempt may be late beyond the jitter of its delay; `None`: nobody looks.
    pub late: Option<Duration>,
}

impl Default for Rules {
    /// Postrider's default schedule; nothing is late.
    fn default() -> Self {
        let seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        Self {
            schedule: seconds.map(Duration::from_secs).to_vec(),
            flush: Duration::from_millis(500),
            late: None,
        }
    }
}

/// Holds what arrived against what was accepted.
#[must_use]
pub fn judge(history: &History, rules: &Rules) -> Verdict {
    let mut verdict = Verdict {
        accepted: history.accepted.len(),
        received: history.arrivals.len(),
        faults: history.faults.len(),
        touched: touched(history, rules),
        ..Verdict::default()
    };
    let by_pair = by_pair(&history.arrivals);
    let expected = expected(&history.accepted);
    for (pair, arrivals) in &by_pair {
        let invalid = arrivals.iter().filter(|arrival| !arrival.verified).count();
        verdict.invalid.extend(vec![pair.clone(); invalid]);
        match expected.get(pair) {
            Some(accepted) => {
                Walk::new(pair, accepted, history, rules).judge(arrivals, &mut verdict);
            }
            None => verdict.unexpected.push(pair.clone()),
        }
    }
    for pair in expected.keys() {
        let arrivals = by_pair.get(pair).map(Vec::as_slice).unwrap_or_default();
        judge_end(history, rules, pair, arrivals, &mut verdict);
    }
    verdict
}

fn by_pair(arrivals: &[Arrival]) -> BTreeMap<Pair, Vec<&Arrival>> {
    let mut pairs: BTreeMap<Pair, Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        pairs.entry(arrival.pair()).or_default().push(arrival);
    }
    for arrivals in pairs.values_mut() {
        arrivals.sort_by_key(|arrival| arrival.at);
    }
    pairs
}

fn expected(accepted: &[Accepted]) -> BTreeMap<Pair, &Accepted> {
    let pairs = accepted.iter().flat_map(|event| {
        let endpoints = event.endpoints.iter();
        endpoints.map(move |endpoint| (Pair::new(&event.message, endpoint), event))
    });
    pairs.collect()
}

/// Where nobody asked for the ends, what arrived has to do.
fn judge_end(
    history: &History,
    rules: &Rules,
    pair: &Pair,
    arrivals: &[&Arrival],
    verdict: &mut Verdict,
) {
    let succeeded = arrivals.iter().any(|arrival| arrival.succeeded());
    let end = match &history.ends {
        Some(ends) => ends.get(pair).copied(),
        None if succeeded => Some(End::Delivered),
        None => None,
    };
    match end {
        Some(End::Delivered) => verdict.delivered += 1,
        Some(End::Dead) => verdict.dead += 1,
        Some(End::Canceled) => verdict.canceled += 1,
        Some(End::Pending) | None => {
            if history.ends.is_some() {
                verdict.unended.push(pair.clone());
            }
        }
    }
    let given_up = matches!(end, Some(End::Dead | End::Canceled));
    if arrivals.is_empty() && !given_up {
        verdict.lost.push(pair.clone());
    }
    // A 2xx that died with its worker is not known to Postrider.
    let covered = |arrival: &&&Arrival| is_covered(&history.faults, arrival, rules);
    let known = arrivals.iter().filter(|arrival| arrival.succeeded());
    let known_success = known.clone().any(|arrival| !covered(&arrival));
    let says_delivered = end == Some(End::Delivered) && !succeeded && !arrivals.is_empty();
    if says_delivered || (end == Some(End::Dead) && known_success) {
        verdict.contradicted.push(pair.clone());
    }
}

fn touched(history: &History, rules: &Rules) -> usize {
    let arrivals = history.arrivals.iter();
    let touched = arrivals.filter(|arrival| is_covered(&history.faults, arrival, rules));
    touched.count()
}

fn is_covered(faults: &[Fault], arrival: &Arrival, rules: &Rules) -> bool {
    faults
        .iter()
        .any(|fault| fault.covers(arrival, rules.flush))
}

/// Along the requests of one pair.
struct Walk<'a> {
    pair: &'a Pair,
    accepted: &'a Accepted,
    faults: &'a [Fault],
    rules: &'a Rules,
}

/// How far the walk has come.
struct SoFar<'a> {
    attempt: usize,
    /// The first request of this attempt.
    made: &'a Arrival,
    /// Excuses.
    used: usize,
}

/// What a request is to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next attempt; whether it came too late.
    Next { late: bool },
    /// After a success, or beside a request that was open.
    Again,
    /// Before the delay of a failed attempt had passed.
    TooSoon,
}

impl<'a> Walk<'a> {
    fn new(pair: &'a Pair, accepted: &'a Accepted, history: &'a History, rules: &'a Rules) -> Self {
        Self {
            pair,
            accepted,
            faults: &history.faults,
            rules,
        }
    }

    fn judge(&self, arrivals: &[&'a Arrival], verdict: &mut Verdict) {
        let Some(first) = arrivals.first() else {
            return;
        };
        if self.is_late(first.at, self.accepted.at) {
            verdict.late.push(self.pair.clone());
        }
        let mut so_far = SoFar {
            attempt: 1,
            made: first,
            used: 0,
        };
        for index in 1..arrivals.len() {
            let (earlier, this) = (&arrivals[..index], arrivals[index]);
            if let Some(excused) = self.repeats(&mut so_far, earlier, this, verdict) {
                so_far.used += usize::from(excused);
                verdict.duplicated.push(Duplicate {
                    pair: self.pair.clone(),
                    first: arrivals[index - 1].at,
                    again: this.at,
                    excused,
                });
            }
        }
    }

    /// Whether `this` is a duplicate, and an excused one.
    fn repeats(
        &self,
        so_far: &mut SoFar<'a>,
        earlier: &[&Arrival],
        this: &'a Arrival,
        verdict: &mut Verdict,
    ) -> Option<bool> {
        let before = earlier.last()?;
        let excuses = earlier.iter().filter(|one| self.covers(one)).count();
        let has_excuse = excuses > so_far.used;
        match self.step((so_far.made, before), this, so_far.attempt) {
            Step::Again => Some(has_excuse && self.covers(before)),
            Step::TooSoon if has_excuse => Some(true),
            Step::TooSoon => {
                verdict.early.push(self.pair.clone());
                None
            }
            Step::Next { late } => {
                so_far.attempt += 1;
                so_far.made = this;
                if late {
                    verdict.late.push(self.pair.clone());
                }
                (so_far.attempt > self.rules.schedule.len() + 1).then_some(has_excuse)
            }
        }
    }

    /// What `this` is to the request `before` it, whose attempt was `made` first by another, perhaps.
    fn step(&self, (made, before): (&Arrival, &Arrival), this: &Arrival, attempt: usize) -> Step {
        let Some(ended) = before.ended.filter(|ended| *ended <= this.at) else {
            return Step::Again;
        };
        if before.succeeded() {
            return Step::Again;
        }
        let delay = self.rules.schedule.get(attempt - 1);
        let delay = delay.copied().unwrap_or_default();
        if this.at + ROUNDING < made.ended.unwrap_or(ended) + delay {
            return Step::TooSoon;
        }
        let latest = ended + delay.max(FIRST_STEP).mul_f64(MAX_STRETCH);
        Step::Next {
            late: self.is_late(this.at, latest),
        }
    }

    fn is_late(&self, at: Instant, latest: Instant) -> bool {
        self.rules.late.is_some_and(|late| at > latest + late)
    }

    fn covers(&self, arrival: &Arrival) -> bool {
        is_covered(self.faults, arrival, self.rules)
    }
}
