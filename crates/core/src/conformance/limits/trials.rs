//! Trials: what a process must know that may not live to the end of what it does.

use std::sync::Arc;

use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, SHORT, Stage, together};
use crate::ports::{TrialEnd, TrialKey};

impl Stage<'_> {
    fn trial(&mut self) -> TrialKey {
        let bytes = self.chance.bytes(16);
        TrialKey(bytes[..].try_into().expect("16 bytes were drawn"))
    }

    async fn begin(&mut self, key: TrialKey) -> u32 {
        let now = self.now();
        let begun = self.ports.limits.begin_trial(now, key, now + LONG).await;
        begun.expect("a trial can be begun")
    }

    async fn end(&mut self, key: TrialKey, end: TrialEnd) {
        let now = self.now();
        let ended = self.ports.limits.end_trial(now, key, end).await;
        ended.expect("a trial can be ended");
    }
}

/// What is begun and not ended counts; what is acquitted is forgotten; what is withdrawn was never begun.
pub async fn trials_count_until_they_are_ended(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (key, other) = (stage.trial(), stage.trial());
    for end in [TrialEnd::Acquitted, TrialEnd::Withdrawn] {
        stage.end(key, end).await;
        assert_eq!(
            stage.begin(key).await,
            1,
            "ending what was never begun changes nothing: {end:?}"
        );
        stage.end(key, end).await;
    }
    assert_eq!(stage.begin(key).await, 1, "one was ended either way");
    assert_eq!(stage.begin(key).await, 2, "nobody ended the first");
    assert_eq!(stage.begin(key).await, 3);
    assert_eq!(stage.begin(other).await, 1, "each has a count of its own");
    stage.end(key, TrialEnd::Withdrawn).await;
    assert_eq!(
        stage.begin(key).await,
        3,
        "one that is withdrawn does not count, those before it do"
    );
    stage.end(key, TrialEnd::Acquitted).await;
    assert_eq!(
        stage.begin(key).await,
        1,
        "an acquittal forgets all of them"
    );
    assert_eq!(stage.begin(other).await, 2, "and nothing else");
}

/// Two that try the same thing are two trials, and both know it.
pub async fn of_concurrent_trials_each_counts(fixture: &dyn Fixture) {
    const TRIALS: usize = 16;
    let mut stage = Stage::open(fixture).await;
    let (key, now) = (stage.trial(), stage.now());
    let limits = Arc::clone(&stage.ports.limits);
    let mut told = together(TRIALS, |_| {
        let limits = Arc::clone(&limits);
        async move { limits.begin_trial(now, key, now + LONG).await.unwrap() }
    })
    .await;
    told.sort_unstable();
    let each: Vec<u32> = (1..=TRIALS as u32).collect();
    assert_eq!(told, each, "each trial is told another number");
}

/// The point of it: whoever died of a trial is told by the count.
pub async fn trials_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (deadly, harmless) = (stage.trial(), stage.trial());
    for begun in 1..=4 {
        assert_eq!(
            stage.begin(deadly).await,
            begun,
            "a trial that was begun before a crash counts after it"
        );
        assert_eq!(stage.begin(harmless).await, 1, "an acquittal survives, too");
        stage.end(harmless, TrialEnd::Acquitted).await;
        stage = stage.crash().await;
    }
}

/// The longest wish stands; after that the count begins anew.
pub async fn trials_are_kept_as_long_as_asked(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (short, long) = (stage.trial(), stage.trial());
    let now = stage.now();
    let limits = Arc::clone(&stage.ports.limits);
    let end = now + SHORT;
    limits.begin_trial(now, short, end).await.unwrap();
    limits.begin_trial(now, long, now + LONG).await.unwrap();
    limits.begin_trial(now, long, end).await.unwrap();
    if stage.time.pass_almost_until(end).await {
        let now = stage.now();
        let begun = limits.begin_trial(now, short, end).await.unwrap();
        assert_eq!(begun, 2, "a count is kept until its end");
    }
    stage.time.pass_until(end).await;
    assert_eq!(stage.begin(short).await, 1, "a count is not kept for ever");
    assert_eq!(stage.begin(long).await, 3, "the longest wish stands");
    let now = stage.now();
    while limits.retain(now).await.unwrap() > 0 {}
    assert_eq!(
        stage.begin(long).await,
        4,
        "what has not expired is not removed"
    );
}
