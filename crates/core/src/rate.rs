//! How often something may happen: the generic cell rate algorithm (GCRA), as it is known from ITU-T
//! Recommendation I.371.
//!
//! All that is kept per subject is one time, the *theoretical arrival time* (TAT): when the permits that were
//! granted so far would have been used up, one an interval. A permit is granted where that time, moved on by one
//! interval, is at most a burst's worth of intervals ahead of now:
//!
//! ```text
//!   now            TAT                 now + burst × interval
//!    ├── used up ───┼──── may still be granted ────┤
//! ```
//!
//! So in any stretch of time at most rate × time + burst are granted; after a pause the burst is there, no more;
//! and what is not granted costs nothing. A caller whose clock is behind sees less room, never more.
//!
//! Time comes in milliseconds, intervals may be shorter: the TAT is in nanoseconds.

use std::time::Duration;

use crate::ports::RateGrant;
use crate::time::Timestamp;

const NANOS_PER_MILLI: i128 = 1_000_000;

/// The theoretical arrival time, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub i64);

impl Tat {
    /// Whether it says no more than if nothing had ever been granted.
    #[must_use]
    pub fn is_past(self, now: Timestamp) -> bool {
        i128::from(self.0) <= nanos(now)
    }
}

/// Grants up to `want` permits at `now`, one costing `interval` and at most `burst` at once; a burst of 0 counts as
/// 1, and an interval of 0 is no limit. Returns what was granted and the time to keep.
#[must_use]
pub fn take(
    tat: Option<Tat>,
    now: Timestamp,
    interval: Duration,
    burst: u32,
    want: u32,
) -> (RateGrant, Tat) {
    let now = nanos(now);
    let used_up = tat.map_or(now, |tat| i128::from(tat.0).max(now));
    let interval = i128::try_from(interval.as_nanos()).unwrap_or(i128::MAX >> 32);
    if interval == 0 {
        let granted = want;
        return (
            RateGrant {
                granted,
                next_at: None,
            },
            stored(used_up),
        );
    }
    let ahead = interval.saturating_mul(i128::from(burst.max(1)));
    let room = (now.saturating_add(ahead) - used_up).max(0) / interval;
    let granted = u32::try_from(room).unwrap_or(u32::MAX).min(want);
    let after = used_up.saturating_add(interval.saturating_mul(i128::from(granted)));
    let next = after.saturating_add(interval).saturating_sub(ahead);
    let grant = RateGrant {
        granted,
        next_at: (granted < want).then(|| millis_from(next)),
    };
    (grant, stored(after))
}

fn nanos(time: Timestamp) -> i128 {
    i128::from(time.as_millis()) * NANOS_PER_MILLI
}

/// Rounded up: who comes at that time finds the permit there.
fn millis_from(nanos: i128) -> Timestamp {
    let millis =
        nanos.div_euclid(NANOS_PER_MILLI) + i128::from(nanos.rem_euclid(NANOS_PER_MILLI) > 0);
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn stored(nanos: i128) -> Tat {
    Tat(i64::try_from(nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_burst_then_one_an_interval() {
        let interval = Duration::from_millis(1_500);
        let (grant, tat) = take(None, NOW, interval, 3, 5);
        assert_eq!(grant.granted, 3);
        let next = grant.next_at.unwrap();
        assert_eq!(next, NOW + interval);
        let (early, same) = take(Some(tat), next - Duration::from_millis(1), interval, 3, 1);
        assert_eq!((early.granted, early.next_at), (0, Some(next)));
        assert_eq!(same, tat, "asking in vain costs nothing");
        let (due, _) = take(Some(tat), next, interval, 3, 1);
        assert_eq!((due.granted, due.next_at), (1, None));
    }

    #[test]
    fn extremes_do_not_overflow() {
        for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for now in [i64::MIN, 0, i64::MAX] {
                let now = Timestamp::from_millis(now);
                for tat in [None, Some(Tat(i64::MIN)), Some(Tat(i64::MAX))] {
                    let _ = take(tat, now, interval, u32::MAX, u32::MAX);
                    let _ = take(tat, now, interval, 0, 1);
                }
            }
        }
    }

    proptest! {
        /// In any stretch of time: at most rate × time + burst.
        #[test]
        fn no_window_sees_more_than_rate_and_burst(
            interval in 1u64..5_000_000_000,
            burst in 1u32..20,
            asks in proptest::collection::vec((0u64..4_000, 0u32..30), 1..60),
        ) {
            let interval = Duration::from_nanos(interval);
            let (mut now, mut tat) = (NOW, None);
            let mut log = Vec::new();
            for (pause, want) in asks {
                now = now + Duration::from_millis(pause);
                let (grant, after) = take(tat, now, interval, burst, want);
                prop_assert!(grant.granted <= want);
                prop_assert_eq!(grant.next_at.is_some(), grant.granted < want);
                tat = Some(after);
                log.push((now, grant.granted));
            }
            for (index, (from, _)) in log.iter().enumerate() {
                let mut granted = 0u128;
                for (to, more) in &log[index..] {
                    granted += u128::from(*more);
                    let most = to.since(*from).as_nanos() / interval.as_nanos() + u128::from(burst);
                    prop_assert!(granted <= most, "{} granted, at most {} due", granted, most);
                }
            }
        }

        /// Not fewer either: who comes whenever it was told to finds a permit each time, an interval apart but for
        /// the rounding to a millisecond.
        #[test]
        fn a_permit_is_there_when_it_was_told(interval in 1u64..5_000_000_000, burst in 1u32..5) {
            let interval = Duration::from_nanos(interval);
            let (first, mut tat) = take(None, NOW, interval, burst, u32::MAX);
            prop_assert_eq!(first.granted, burst);
            let mut at = first.next_at.unwrap();
            for _ in 0..50 {
                let (grant, after) = take(Some(tat), at, interval, burst, u32::MAX);
                prop_assert!(grant.granted >= 1);
                let next = grant.next_at.unwrap();
                prop_assert!(next.since(at) <= interval + Duration::from_millis(1));
                (tat, at) = (after, next);
            }
        }

        /// A clock that is behind never opens a second burst.
        #[test]
        fn an_earlier_clock_gets_nothing_more(behind in 0u64..1_000_000, burst in 1u32..9) {
            let interval = Duration::from_secs(60);
            let (_, tat) = take(None, NOW, interval, burst, burst);
            let (grant, after) = take(Some(tat), NOW - Duration::from_millis(behind), interval, burst, burst);
            prop_assert_eq!(grant.granted, 0);
            prop_assert_eq!(after, tat);
        }
    }
}
