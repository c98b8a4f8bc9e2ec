use super::*;
use postrider_core::samples::NOW;
use proptest::prelude::*;

const DEADLINE: Duration = Duration::from_secs(15);

fn at(millis: u64) -> Timestamp {
    NOW + Duration::from_millis(millis)
}

/// A request that is made where it is let.
fn request(watch: &mut Watch, now: Timestamp, probes: u32) -> bool {
    if watch.refuses(now, probes, DEADLINE).is_some() {
        return false;
    }
    watch.enter();
    if watch.begin(now, DEADLINE).is_err() {
        watch.leave(Ended::Unknown);
        return false;
    }
    true
}

fn answered(begun: u64, took: u64) -> Ended {
    Ended::Answered {
        begun: at(begun),
        took: Duration::from_millis(took),
    }
}

#[test]
fn a_suspect_from_a_second_on_until_anything_is_answered() {
    let mut watch = Watch::default();
    assert!(request(&mut watch, at(0), 1));
    assert!(request(&mut watch, at(1_000), 1), "within its first second");
    assert_eq!(watch.refuses(at(1_001), 1, DEADLINE), Some(at(15_000)));
    watch.leave(answered(1_000, 200));
    assert!(
        request(&mut watch, at(5_000), 1),
        "the first hangs, others do not"
    );
    assert_eq!(watch.refuses(at(6_001), 1, DEADLINE), Some(at(20_000)));
}

#[test]
fn who_is_usually_slow_is_given_four_times_as_long() {
    let mut watch = Watch::default();
    for n in 0..20 {
        assert!(request(&mut watch, at(n), 1));
        watch.leave(answered(n, 800));
    }
    assert!(request(&mut watch, at(10_000), 1));
    assert!(watch.refuses(at(13_200), 1, DEADLINE).is_none());
    assert!(watch.refuses(at(13_201), 1, DEADLINE).is_some());
    assert!(!watch.is_unremarkable());
}

#[test]
fn a_deadline_lets_probes_through_and_an_answer_everything() {
    let mut watch = Watch::default();
    for n in 0..50 {
        assert!(request(&mut watch, at(n), 2));
    }
    for n in 0..50 {
        watch.leave(Ended::TimedOut { begun: at(n) });
        if n < 48 {
            assert_eq!(watch.refuses(at(15_000 + n), 2, DEADLINE), Some(at(15_049)));
        }
    }
    assert!(request(&mut watch, at(15_050), 2));
    assert!(
        request(&mut watch, at(20_000), 2),
        "a probe's age is no bar"
    );
    assert_eq!(watch.refuses(at(21_000), 2, DEADLINE), Some(at(35_000)));
    watch.leave(answered(20_000, 1_000));
    for n in 0..50 {
        assert!(request(&mut watch, at(21_000 + n), 2));
    }
}

#[test]
fn one_deadline_among_answers_silences_nobody() {
    let mut watch = Watch::default();
    assert!(request(&mut watch, at(0), 1));
    assert!(request(&mut watch, at(100), 1));
    watch.leave(answered(100, 50));
    watch.leave(Ended::TimedOut { begun: at(0) });
    for n in 0..10 {
        assert!(request(&mut watch, at(15_000 + n), 1));
    }
}

#[test]
fn probes_are_few_where_slots_are() {
    assert_eq!(probes(4096, 4096), 16);
    assert_eq!(probes(3584, 4096), 8);
    for free in [3072, 100, 0] {
        assert_eq!(probes(free, 4096), 1);
    }
    assert_eq!((probes(1, 1), probes(0, 1), probes(0, 0)), (16, 1, 1));
}

proptest! {
    /// The rule as it is told, beside a list of all requests: refused is who has one that is older than its patience, and
    /// none that has ended since it began.
    #[test]
    fn follows_the_rule(steps in proptest::collection::vec((0u64..900, 0usize..6), 1..200)) {
        let mut watch = Watch::default();
        let mut under_way: Vec<u64> = Vec::new();
        let mut ended = None;
        let mut now = 0;
        for (pass, action) in steps {
            now += pass;
            let hangs = |begun: &u64| now - begun > 1_000 && ended.is_none_or(|ended| ended < *begun);
            let refuses = watch.refuses(at(now), 1, DEADLINE);
            if watch.is_unremarkable() {
                prop_assert_eq!(refuses.is_some(), under_way.iter().any(hangs), "at {}", now);
            }
            if let Some(end) = refuses {
                let oldest = under_way.iter().filter(|begun| hangs(begun)).min();
                prop_assert_eq!(Some(end), oldest.map(|begun| at(*begun) + DEADLINE));
            }
            if action < 4 {
                now += 1;
                if request(&mut watch, at(now), 1) {
                    under_way.push(now);
                }
            } else if !under_way.is_empty() {
                let begun = under_way.remove(pass as usize % under_way.len());
                watch.leave(answered(begun, now - begun));
                ended = Some(now);
                now += 1;
            }
        }
    }

    /// Whoever never answers has what a second brought, then no more than the probes; and is tried for ever.
    #[test]
    fn silence_stays_bounded_and_is_tried_again(
        every in 1u64..700, probes in 1u32..8, rounds in 40u64..120,
    ) {
        let mut watch = Watch::default();
        let mut under_way: Vec<u64> = Vec::new();
        let (mut now, mut made) = (0, 0u32);
        let first_second = u32::try_from(1_000 / every).unwrap() + 1;
        while now < rounds * 1_000 {
            let over = under_way.iter().take_while(|begun| **begun + 15_000 <= now).count();
            for begun in under_way.drain(..over) {
                watch.leave(Ended::TimedOut { begun: at(begun) });
            }
            if request(&mut watch, at(now), probes) {
                under_way.push(now);
                made += 1;
            }
            let most = if now < 16_001 { first_second.max(probes) } else { probes };
            prop_assert!(watch.in_flight <= most, "{} under way after {now} ms", watch.in_flight);
            now += every;
        }
        // A probe takes its deadline, and the next offer comes within `every`.
        let least = (rounds - 16) * 1_000 / (15_000 + every);
        prop_assert!(u64::from(made) >= least, "{made} requests in {rounds} s");
    }
}
