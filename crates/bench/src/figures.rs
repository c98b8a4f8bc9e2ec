//! What a round comes to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::rows::{Received, Sent};

const SECOND: f64 = 1e9;

/// Times in milliseconds below which a share of all lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of all.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// All.
    pub max: f64,
}

impl Percentiles {
    /// Of nanoseconds; zeroes where there are none.
    #[must_use]
    pub fn of(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        // The smallest value that at least this share of all does not exceed ("nearest rank").
        let at = |share: f64| {
            let rank = (share * nanoseconds.len() as f64).ceil() as usize;
            let found = nanoseconds.get(rank.saturating_sub(1));
            found.map_or(0.0, |time| *time as f64 / 1e6)
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

/// A second of a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Second {
    /// Events accepted in it.
    pub accepted: u32,
    /// Requests received in it.
    pub delivered: u32,
    /// From sent to received, of those received in it; milliseconds.
    pub p50: f64,
    /// The same.
    pub p99: f64,
}

/// What became of the events of a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Events.
    pub accepted: u64,
    /// Different deliveries: of one event to one endpoint.
    pub delivered: u64,
    /// A delivery that came again.
    pub duplicated: u64,
    /// A delivery of an accepted event that never came.
    pub lost: u64,
    /// Events a second, from the first that was sent to the last that was accepted.
    pub accepted_per_second: f64,
    /// Deliveries a second, from the first event that was sent to the last delivery.
    pub delivered_per_second: f64,
    /// From sent to accepted.
    pub accept: Percentiles,
    /// From sent to received.
    pub receive: Percentiles,
    /// When the last delivery came; 0 where none did.
    #[serde(skip)]
    pub last_delivery: u64,
    /// Second by second, from the first event that was sent.
    pub seconds: Vec<Second>,
}

impl Figures {
    /// `endpoints`: those that answer with success, ascending; `fan_out`: how many of them an event has to reach.
    #[must_use]
    pub fn of(
        sent: &[Sent],
        received: &[Received],
        endpoints: &[u32],
        fan_out: impl Fn(u32) -> u32,
    ) -> Self {
        let begun = sent.iter().map(|event| event.begun).min().unwrap_or(0);
        let accepted: HashMap<u32, Sent> = sent
            .iter()
            .filter(|event| event.accepted > 0)
            .map(|event| (event.number, *event))
            .collect();
        let mut firsts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut duplicated = 0;
        let counted = |row: &&Received| {
            endpoints.binary_search(&row.endpoint).is_ok() && accepted.contains_key(&row.number)
        };
        for row in received.iter().filter(counted) {
            match firsts.entry((row.number, row.endpoint)) {
                Entry::Vacant(first) => {
                    first.insert(row.at);
                }
                Entry::Occupied(mut first) => {
                    duplicated += 1;
                    let earlier = row.at.min(*first.get());
                    first.insert(earlier);
                }
            }
        }
        let delivered = firsts.len() as u64;
        let wanted: u64 = accepted
            .keys()
            .map(|number| u64::from(fan_out(*number)))
            .sum();
        let last_accepted = accepted.values().map(|event| event.accepted).max();
        let last_received = firsts.values().max().copied();
        let rate = |count: u64, last: Option<u64>| {
            let took = last.unwrap_or(begun).saturating_sub(begun).max(1);
            count as f64 * SECOND / took as f64
        };
        let accept = accepted.values().map(|event| event.accepted - event.begun);
        let times: Vec<(u64, u64)> = firsts
            .iter()
            .map(|((number, _), at)| (*at, at.saturating_sub(accepted[number].begun)))
            .collect();
        Self {
            accepted: accepted.len() as u64,
            delivered,
            duplicated,
            lost: wanted.saturating_sub(delivered),
            accepted_per_second: rate(accepted.len() as u64, last_accepted),
            delivered_per_second: rate(delivered, last_received),
            accept: Percentiles::of(accept.collect()),
            receive: Percentiles::of(times.iter().map(|(_, time)| *time).collect()),
            last_delivery: last_received.unwrap_or(0),
            seconds: seconds(begun, accepted.values(), &times),
        }
    }
}

fn seconds<'a>(
    begun: u64,
    accepted: impl Iterator<Item = &'a Sent>,
    times: &[(u64, u64)],
) -> Vec<Second> {
    let second = |at: u64| (at.saturating_sub(begun) as f64 / SECOND) as usize;
    let mut all: BTreeMap<usize, (u32, Vec<u64>)> = BTreeMap::new();
    for event in accepted {
        all.entry(second(event.accepted)).or_default().0 += 1;
    }
    for (at, time) in times {
        all.entry(second(*at)).or_default().1.push(*time);
    }
    let last = all.keys().next_back().map_or(0, |last| last + 1);
    let each = (0..last).map(|second| {
        let (accepted, times) = all.remove(&second).unwrap_or_default();
        let delivered = u32::try_from(times.len()).unwrap_or(u32::MAX);
        let Percentiles { p50, p99, .. } = Percentiles::of(times);
        Second {
            accepted,
            delivered,
            p50,
            p99,
        }
    });
    each.collect()
}

/// The middle one; of an even number, the mean of the two in the middle. `None` of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[values.len() / 2 - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sent(number: u32, begun: u64, accepted: u64) -> Sent {
        Sent {
            number,
            begun: begun * MS,
            accepted: accepted * MS,
        }
    }

    fn received(number: u32, endpoint: u32, at: u64) -> Received {
        Received {
            number,
            endpoint,
            at: at * MS,
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let all = Percentiles::of((1..=1_000).rev().map(|time| time * MS).collect());
        let expected = [500.0, 900.0, 990.0, 999.0, 1_000.0];
        assert_eq!([all.p50, all.p90, all.p99, all.p999, all.max], expected);
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
        assert_eq!(Percentiles::of(vec![3 * MS]).p99, 3.0);
    }

    #[test]
    fn what_was_accepted_is_held_against_what_came() {
        // Event 3 was never accepted; 2 never reached endpoint 1; endpoint 9 fails.
        let sent = [
            sent(1, 1_000, 1_002),
            sent(2, 1_500, 1_510),
            sent(3, 1_600, 0),
        ];
        let received = [
            received(1, 0, 1_004),
            received(1, 1, 1_006),
            received(1, 1, 2_900),
            received(2, 0, 3_000),
            received(2, 9, 1_700),
            received(3, 0, 1_700),
        ];
        let figures = Figures::of(&sent, &received, &[0, 1], |_| 2);
        assert_eq!((figures.accepted, figures.delivered), (2, 3));
        assert_eq!((figures.duplicated, figures.lost), (1, 1));
        assert!((figures.delivered_per_second - 1.5).abs() < 1e-9);
        assert!((figures.accepted_per_second - 2.0 / 0.51).abs() < 1e-9);
        assert_eq!((figures.accept.p50, figures.accept.max), (2.0, 10.0));
        assert_eq!((figures.receive.p50, figures.receive.max), (6.0, 1_500.0));
        assert_eq!(figures.seconds.len(), 3);
        assert_eq!(figures.seconds[0].accepted, 2);
        let delivered = figures.seconds.iter().map(|second| second.delivered);
        assert_eq!(delivered.collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(figures.seconds[2].p50, 1_500.0);
        assert_eq!(figures.last_delivery, 3_000 * MS);
    }

    #[test]
    fn nothing_comes_to_nothing() {
        let figures = Figures::of(&[], &[], &[], |_| 1);
        assert_eq!((figures.lost, figures.seconds.len()), (0, 0));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
