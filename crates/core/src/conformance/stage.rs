//! What every case stands on: an open installation, its time, and values drawn from a seed that can be repeated.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::sync::Barrier;
use tokio::time::{sleep, timeout};

use super::Fixture;
use crate::id::{AppId, AttemptId, DeadLetterId, EndpointId, MessageId, OrgId, RANDOM_LEN};
use crate::ports::Ports;
use crate::time::Timestamp;

/// How long a case waits for something that the contract promises.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a case looks for something that must not happen.
pub(super) const VIGIL: Duration = Duration::from_millis(60);
/// How often a case looks for what no signal tells.
const POLL: Duration = Duration::from_millis(10);
/// Far enough in the future that no case ever gets there.
pub(super) const LONG: Duration = Duration::from_secs(6 * 3600);
/// Soon enough to be waited for where time cannot be moved by hand.
pub(super) const SHORT: Duration = Duration::from_secs(2);
/// What is added to a wait on a clock that goes on by itself, which others may read a little differently.
const SPARE: Duration = Duration::from_millis(200);

/// A process of the installation under test.
pub(super) struct Stage<'f> {
    pub(super) fixture: &'f dyn Fixture,
    pub(super) ports: Ports,
    pub(super) time: Time<'f>,
    pub(super) chance: Chance,
}

impl<'f> Stage<'f> {
    pub(super) async fn open(fixture: &'f dyn Fixture) -> Self {
        Self {
            fixture,
            ports: fixture.open().await,
            time: Time::of(fixture),
            chance: Chance::new(),
        }
    }

    /// The process dies, and another takes its place.
    pub(super) async fn crash(self) -> Self {
        Self {
            ports: self.fixture.crash(self.ports).await,
            ..self
        }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        self.time.now()
    }
}

/// Time as the fixture tells it. It never goes back.
pub(super) struct Time<'f> {
    fixture: &'f dyn Fixture,
    now: Timestamp,
}

impl<'f> Time<'f> {
    pub(super) fn of(fixture: &'f dyn Fixture) -> Self {
        Self {
            fixture,
            now: fixture.now(),
        }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        self.now = self.now.max(self.fixture.now());
        self.now
    }

    pub(super) async fn pass(&mut self, by: Duration) -> Timestamp {
        let from = self.now();
        self.now = self.fixture.elapse(from, by).await;
        assert!(
            self.now >= from + by,
            "the fixture let too little time pass"
        );
        self.now
    }

    /// Goes to the last millisecond before `end`, where the clock allows it. Says whether it did.
    pub(super) async fn pass_almost_until(&mut self, end: Timestamp) -> bool {
        if self.stands_still() {
            let last = end - Duration::from_millis(1);
            self.pass(last.since(self.now)).await;
        }
        self.stands_still()
    }

    /// Goes to where `end` has passed: on a clock that stands still, not a millisecond further.
    pub(super) async fn pass_until(&mut self, end: Timestamp) -> Timestamp {
        let spare = if self.stands_still() {
            Duration::ZERO
        } else {
            SPARE
        };
        let by = (end + spare).since(self.now());
        self.pass(by).await
    }

    pub(super) fn stands_still(&self) -> bool {
        self.fixture.clock_stands_still()
    }

    /// What two clocks may differ by in rounding.
    pub(super) fn rounding(&self) -> Duration {
        if self.stands_still() {
            Duration::ZERO
        } else {
            Duration::from_millis(5)
        }
    }
}

/// Randomness that tells its seed when a case fails.
pub(super) struct Chance {
    seed: u64,
    rng: StdRng,
}

impl Chance {
    fn new() -> Self {
        let wanted = std::env::var("POSTRIDER_TEST_SEED").ok();
        let seed = match wanted {
            Some(text) => text.parse().expect("POSTRIDER_TEST_SEED is a number"),
            None => rand::random(),
        };
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.rng.random()
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Each of `from` or not, by a coin.
    pub(super) fn some_of<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.coin()).cloned().collect()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    fn tail(&mut self) -> [u8; RANDOM_LEN] {
        self.rng.random()
    }

    pub(super) fn org(&mut self, at: Timestamp) -> OrgId {
        OrgId::new(at, self.tail())
    }

    pub(super) fn app(&mut self, at: Timestamp) -> AppId {
        AppId::new(at, self.tail())
    }

    pub(super) fn endpoint(&mut self, at: Timestamp) -> EndpointId {
        EndpointId::new(at, self.tail())
    }

    pub(super) fn message(&mut self, at: Timestamp) -> MessageId {
        MessageId::new(at, self.tail())
    }

    pub(super) fn attempt(&mut self, at: Timestamp) -> AttemptId {
        AttemptId::new(at, self.tail())
    }

    pub(super) fn dead_letter(&mut self, at: Timestamp) -> DeadLetterId {
        DeadLetterId::new(at, self.tail())
    }
}

impl Drop for Chance {
    #[expect(
        clippy::print_stderr,
        reason = "part of the report of a test that fails"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with POSTRIDER_TEST_SEED={}", self.seed);
        }
    }
}

/// Awaits what the contract promises to happen.
pub(super) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Looks again and again until `look` has found something.
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(POLL).await;
        }
    })
    .await
}

/// Runs `count` tasks that begin at the same moment. Returns what they return, in their order, once all have
/// ended: a case may crash the process after it.
pub(super) async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let begin = |index| {
        let start = Arc::clone(&start);
        let work = task(index);
        tokio::spawn(async move {
            start.wait().await;
            work.await
        })
    };
    let tasks: Vec<_> = (0..count).map(begin).collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results
}

/// Compares two lists as sets, and shows only where they differ.
pub(super) fn assert_same<T: Ord + Clone + Debug>(found: &[T], wanted: &[T], rule: &str) {
    let sorted = |list: &[T]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let (found, wanted) = (sorted(found), sorted(wanted));
    if found == wanted {
        return;
    }
    let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let foreign: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
    panic!(
        "{rule}: {} wanted, {} found; missing {missing:?}; foreign {foreign:?}",
        wanted.len(),
        found.len()
    );
}
