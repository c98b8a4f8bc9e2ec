//! Delays on a ladder of fixed steps.
//!
//! A broker that can only delay by queue, not by message, offers a finite set of delays. Four steps to an
//! octave, from one second to seven days, bound both the number of queues and the error: the two steps that
//! follow a delay `d` lie within [d, 1.42 d], and choosing one of them at random is the jitter. An exact time
//! is approached from below: the largest step that does not overshoot, again and again, until less than the
//! first step is left.

use std::time::Duration;

use crate::schedule::MAX_DELAY;

/// Steps of the ladder.
pub const STEPS: usize = 78;
/// The shortest step: what an exact time may be missed by.
pub const FIRST_STEP: Duration = Duration::from_secs(1);
/// The most hops that an exact time costs.
pub const MAX_HOPS: usize = 8;
/// A jittered delay is at most this many times the delay that was asked for.
pub const MAX_STRETCH: f64 = 1.42;

const STEPS_PER_OCTAVE: f64 = 4.0;

/// The delay of step `index`, to a whole millisecond, rounded up. Indexes beyond the last mean the last.
#[must_use]
pub fn step(index: usize) -> Duration {
    let octaves = index.min(STEPS - 1) as f64 / STEPS_PER_OCTAVE;
    Duration::from_millis((1000.0 * octaves.exp2()).ceil() as u64)
}

/// The step for a delay with jitter: one of the two that follow it, chosen by `coin`. `None` beyond [`MAX_DELAY`].
#[must_use]
pub fn jittered_step(delay: Duration, coin: bool) -> Option<usize> {
    if delay > MAX_DELAY {
        return None;
    }
    let lowest = (0..STEPS).find(|index| step(*index) >= delay)?;
    let next = lowest + usize::from(coin);
    // A millisecond's rounding, or a delay below the first step, must not stretch it past the bound.
    let fits = next < STEPS && step(next).as_secs_f64() <= delay.as_secs_f64() * MAX_STRETCH;
    Some(if fits { next } else { lowest })
}

/// The step towards an exact time that is `remaining` away: the largest that does not overshoot it, or the
/// first where less than that is left. `None` beyond [`MAX_DELAY`].
#[must_use]
pub fn step_towards(remaining: Duration) -> Option<usize> {
    if remaining > MAX_DELAY {
        return None;
    }
    Some(
        (0..STEPS)
            .rev()
            .find(|index| step(*index) <= remaining)
            .unwrap_or(0),
    )
}

/// The same jitter for a broker that can delay by the millisecond: `delay` stretched by up to 1.42, where
/// `chance` is uniform in [0, 1).
#[must_use]
pub fn jittered(delay: Duration, chance: f64) -> Duration {
    delay.mul_f64(1.0 + (MAX_STRETCH - 1.0) * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_a_second_to_seven_days() {
        assert_eq!(step(0), FIRST_STEP);
        assert_eq!(step(4), Duration::from_secs(2));
        assert!(step(STEPS - 1) >= MAX_DELAY);
        assert!(step(STEPS - 2) < MAX_DELAY);
    }

    #[test]
    fn longer_than_seven_days_is_refused() {
        let longer = MAX_DELAY + Duration::from_millis(1);
        assert_eq!(jittered_step(longer, true), None);
        assert_eq!(step_towards(longer), None);
    }

    proptest! {
        #[test]
        fn a_jittered_delay_is_never_early_and_stretched_at_most_by_the_bound(
            millis in 1_000u64..=604_800_000, coin: bool, chance in 0.0f64..1.0,
        ) {
            let delay = Duration::from_millis(millis);
            let on_the_ladder = step(jittered_step(delay, coin).unwrap());
            for jittered in [on_the_ladder, jittered(delay, chance)] {
                prop_assert!(jittered >= delay);
                prop_assert!(jittered.as_secs_f64() <= delay.as_secs_f64() * MAX_STRETCH);
            }
        }

        #[test]
        fn an_exact_time_is_met_within_a_step_and_the_hop_budget(millis in 0u64..=604_800_000) {
            let mut remaining = Duration::from_millis(millis);
            let mut hops = 0;
            while !remaining.is_zero() {
                let hop = step(step_towards(remaining).unwrap());
                hops += 1;
                if hop >= remaining {
                    prop_assert!(hop - remaining <= FIRST_STEP);
                    break;
                }
                remaining -= hop;
            }
            prop_assert!(hops <= MAX_HOPS, "{hops} hops");
        }
    }
}
