//! Rates: what is granted never exceeds rate × time + burst, over everybody together, and is not less for no reason.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, together};
use crate::ports::{RateGrant, RateRequest};
use crate::time::Timestamp;

fn request(subject: &str, interval: Duration, burst: u32, want: u32) -> RateRequest {
    RateRequest {
        subject: subject.as_bytes().to_vec(),
        interval,
        burst,
        want,
    }
}

impl Stage<'_> {
    pub(super) async fn take(&mut self, request: &RateRequest) -> RateGrant {
        let now = self.now();
        let grant = self.ports.limits.take(now, request).await;
        let grant = grant.expect("permits can be asked for");
        assert_granted(&grant, request);
        grant
    }
}

fn assert_granted(grant: &RateGrant, request: &RateRequest) {
    assert!(
        grant.granted <= request.want,
        "no more than wanted is granted: {grant:?}"
    );
    assert_eq!(
        grant.next_at.is_some(),
        grant.granted < request.want,
        "the next permit's time is told where some were not granted, and only there: {grant:?}"
    );
}

/// How many permits may be granted between two times.
fn bound(from: Timestamp, to: Timestamp, interval: Duration, burst: u32) -> f64 {
    to.since(from).as_secs_f64() / interval.as_secs_f64() + f64::from(burst)
}

/// After a pause a burst, then one permit an interval, each at the time that was told.
pub async fn a_burst_and_then_one_an_interval(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_millis(1_500);
    let some = request("endpoint-1", interval, 5, 3);
    assert_eq!(
        stage.take(&some).await,
        RateGrant {
            granted: 3,
            next_at: None
        }
    );
    let one = request("endpoint-1", interval, 5, 1);
    let nothing = request("endpoint-1", interval, 5, 0);
    let before = stage.now();
    let grant = stage.take(&request("endpoint-1", interval, 5, 10)).await;
    let after = stage.now();
    assert!(
        grant.granted >= 2
            && f64::from(grant.granted + 3) <= bound(before, after, interval, 5) + 1.0,
        "what is left of the burst is granted: {grant:?}"
    );
    let mut next = grant.next_at.expect("some were not granted");
    for _ in 0..3 {
        let asked = stage.now();
        let early = stage.take(&one).await;
        assert!(
            early.granted == 0 || stage.now() + stage.time.rounding() >= next,
            "told to come at {next}, and served at {asked}"
        );
        if early.granted == 0 {
            let again = early.next_at.unwrap();
            assert!(
                again.since(next) <= Duration::from_millis(1)
                    && next.since(again) <= Duration::from_millis(1),
                "asking in vain costs nothing: {next} became {again}"
            );
            if stage.time.stands_still() {
                let wait = next.since(asked);
                assert!(
                    wait <= interval + Duration::from_millis(1),
                    "one more is there after an interval, not after {wait:?}"
                );
            }
            stage
                .time
                .pass(next.since(asked) + stage.time.rounding())
                .await;
            assert_eq!(
                stage.take(&one).await.granted,
                1,
                "a permit is there at the time that was told"
            );
        }
        assert_eq!(
            stage.take(&nothing).await.granted,
            0,
            "who wants none gets none"
        );
        let (now, empty) = (stage.now(), stage.take(&one).await);
        next = match empty.next_at {
            Some(next) => next,
            None => now + interval,
        };
    }
}

/// However long nobody asks, the burst is all that may be taken at once.
pub async fn permits_do_not_pile_up_beyond_the_burst(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_millis(20);
    let all = request("endpoint-1", interval, 7, 1_000);
    for _ in 0..3 {
        let before = stage.now();
        let granted = stage.take(&all).await.granted;
        let after = stage.now();
        assert!(
            granted >= 7 && f64::from(granted) <= bound(before, after, interval, 7),
            "a pause earns a burst of 7 and no more, not {granted}"
        );
        stage.time.pass(interval * 50).await;
    }
}

/// Rates go up to 65,535 a second: an interval of microseconds must not be rounded to a millisecond or to nothing.
pub async fn a_rate_above_one_a_millisecond_is_served(fixture: &dyn Fixture) {
    const STEPS: u32 = 100;
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_micros(250);
    let all = request("endpoint-1", interval, 8, 100);
    let start = stage.now();
    let mut granted = stage.take(&all).await.granted;
    for _ in 0..STEPS {
        stage.time.pass(Duration::from_millis(1)).await;
        granted += stage.take(&all).await.granted;
    }
    let end = stage.now();
    let most = bound(start, end, interval, 8);
    let least = 8 + 4 * STEPS - 4;
    assert!(
        f64::from(granted) <= most,
        "{granted} permits, at most {most} were due"
    );
    assert!(
        granted >= least,
        "{granted} permits, at least {least} were due: four a millisecond"
    );
}

/// Callers that ask at the same moment share the permits of one.
pub async fn concurrent_callers_share_one_rate(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_secs(3600);
    let limits = Arc::clone(&stage.ports.limits);
    for burst in [1, 10, 25] {
        let now = stage.now();
        let subject = format!("endpoint-{burst}");
        let grants = together(16, |index| {
            let limits = Arc::clone(&limits);
            let want = 1 + index as u32 % 3;
            let request = request(&subject, interval, burst, want);
            async move { limits.take(now, &request).await.unwrap().granted }
        })
        .await;
        let granted: u32 = grants.iter().sum();
        assert_eq!(
            granted, burst,
            "31 permits are wanted at once, a burst of {burst} is granted"
        );
    }
}

/// In no stretch of time, begun anywhere, is more granted than its length allows.
pub async fn no_window_sees_more_than_rate_and_burst(fixture: &dyn Fixture) {
    const ROUNDS: usize = 60;
    const CALLERS: usize = 4;
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_micros(1_000 * (1 + stage.chance.below(40)) as u64 + 333);
    let burst = 1 + stage.chance.below(12) as u32;
    let limits = Arc::clone(&stage.ports.limits);
    let mut log: Vec<(Timestamp, Timestamp, u32)> = Vec::new();
    for _ in 0..ROUNDS {
        let pause = stage.chance.below(60) as u64;
        stage.time.pass(Duration::from_millis(pause)).await;
        let wants: Vec<u32> = (0..CALLERS).map(|_| stage.chance.below(6) as u32).collect();
        let before = stage.now();
        let grants = together(CALLERS, |index| {
            let limits = Arc::clone(&limits);
            let request = request("endpoint-1", interval, burst, wants[index]);
            async move {
                let grant = limits.take(before, &request).await.unwrap();
                assert_granted(&grant, &request);
                grant.granted
            }
        })
        .await;
        log.push((before, stage.now(), grants.iter().sum()));
    }
    for (index, (from, ..)) in log.iter().enumerate() {
        let mut granted = 0;
        for (_, to, more) in &log[index..] {
            granted += more;
            // What is granted within a millisecond is not told apart by a clock of milliseconds.
            let to = *to + Duration::from_millis(1) + stage.time.rounding();
            let most = bound(*from, to, interval, burst);
            assert!(
                f64::from(granted) <= most,
                "{granted} permits between {from} and {to}, at most {most} are due \
                 (one each {interval:?}, burst {burst})"
            );
        }
    }
    let total: u32 = log.iter().map(|(_, _, granted)| granted).sum();
    assert!(
        total >= burst,
        "a limiter that grants nothing limits too much"
    );
}

/// Workers' clocks differ: to ask with an earlier time brings no second burst, and does not rob the others.
pub async fn a_caller_whose_clock_is_behind_gets_nothing_more(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_secs(600);
    let all = request("endpoint-1", interval, 4, 100);
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    assert_eq!(stage.take(&all).await.granted, 4);
    for behind in [1, 30, 300] {
        let earlier = now - Duration::from_secs(behind);
        let granted = limits.take(earlier, &all).await.unwrap().granted;
        assert_eq!(granted, 0, "{behind} s behind, and a second burst");
    }
    if stage.time.stands_still() {
        stage.time.pass(interval).await;
        assert_eq!(
            stage.take(&all).await.granted,
            1,
            "calls in vain cost nothing, whatever their clock shows"
        );
    }
}

/// Each subject has a rate of its own, whatever bytes name it.
pub async fn subjects_are_apart(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let interval = Duration::from_secs(3600);
    let subjects: [&[u8]; 5] = [b"a", b"a\0", b"", b"\xff\xfe", &[b'x'; 200]];
    for subject in subjects {
        let request = RateRequest {
            subject: subject.to_vec(),
            ..request("", interval, 2, 3)
        };
        assert_eq!(
            stage.take(&request).await.granted,
            2,
            "subject {subject:?} has permits of its own"
        );
        assert_eq!(stage.take(&request).await.granted, 0);
    }
}
