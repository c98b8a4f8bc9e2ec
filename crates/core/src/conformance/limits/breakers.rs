//! Breakers: state that a fleet shares by compare and set.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, Stage, together};
use crate::id::EndpointId;
use crate::ports::{BreakerRecord, BreakerState};
use crate::time::Timestamp;

fn breaker(state: BreakerState, now: Timestamp, openings: u32) -> BreakerRecord {
    BreakerRecord {
        state,
        since: now,
        until: now + Duration::from_secs(30),
        openings,
    }
}

impl Stage<'_> {
    async fn breaker(&self, endpoint: EndpointId) -> Option<(BreakerRecord, u64)> {
        let found = self.ports.limits.breaker(endpoint).await;
        found.expect("a breaker can be read")
    }

    async fn set_breaker(
        &mut self,
        endpoint: EndpointId,
        record: BreakerRecord,
        expect: Option<u64>,
    ) -> bool {
        let keep_until = self.now() + LONG;
        let set = self
            .ports
            .limits
            .set_breaker(endpoint, &record, expect, keep_until)
            .await;
        set.expect("a breaker can be set")
    }
}

/// A write counts where nobody else has written since what it was decided on.
pub async fn a_breaker_is_compared_and_set(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let (endpoint, other) = (stage.chance.endpoint(now), stage.chance.endpoint(now));
    assert_eq!(
        stage.breaker(endpoint).await,
        None,
        "no history is no record"
    );
    let open = breaker(BreakerState::Open, now, 1);
    assert!(
        !stage.set_breaker(endpoint, open, Some(1)).await,
        "nothing is stored, so no version is right"
    );
    assert!(stage.set_breaker(endpoint, open, None).await);
    let (found, version) = stage.breaker(endpoint).await.expect("it was just set");
    assert_eq!(found, open, "a breaker is stored in every field");
    let probing = breaker(BreakerState::HalfOpen, now + LONG, u32::MAX);
    assert!(
        !stage.set_breaker(endpoint, probing, None).await,
        "one is stored already"
    );
    assert!(
        !stage
            .set_breaker(endpoint, probing, Some(version + 1))
            .await,
        "that version is not there yet"
    );
    assert_eq!(
        stage.breaker(endpoint).await,
        Some((open, version)),
        "a refused write changes nothing"
    );
    assert!(stage.set_breaker(endpoint, probing, Some(version)).await);
    let (found, newer) = stage.breaker(endpoint).await.expect("it was just set");
    assert_eq!(found, probing);
    assert_ne!(newer, version, "each write has a version of its own");
    assert!(
        !stage.set_breaker(endpoint, open, Some(version)).await,
        "the version is another one by now"
    );
    let closed = breaker(BreakerState::Closed, now, 0);
    assert!(stage.set_breaker(endpoint, closed, Some(newer)).await);
    let (found, _) = stage.breaker(endpoint).await.expect("it was just set");
    assert_eq!(found, closed, "a closed breaker keeps its history");
    assert_eq!(
        stage.breaker(other).await,
        None,
        "each endpoint has a breaker of its own"
    );
}

/// The probe: of everybody who wants to be the one, one is.
pub async fn of_concurrent_setters_one_wins(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let endpoint = stage.chance.endpoint(now);
    let limits = Arc::clone(&stage.ports.limits);
    for round in 0..8 {
        let expect = stage.breaker(endpoint).await.map(|(_, version)| version);
        let won = together(16, |index| {
            let limits = Arc::clone(&limits);
            let record = breaker(BreakerState::HalfOpen, now, round * 100 + index as u32);
            async move {
                limits
                    .set_breaker(endpoint, &record, expect, now + LONG)
                    .await
                    .unwrap()
            }
        })
        .await;
        let winners: Vec<usize> = (0..16).filter(|index| won[*index]).collect();
        assert_eq!(
            winners.len(),
            1,
            "exactly one of concurrent writers wins: {winners:?}"
        );
        let (found, _) = stage.breaker(endpoint).await.expect("it was just set");
        assert_eq!(
            found.openings,
            round * 100 + winners[0] as u32,
            "what is stored is what the winner wrote"
        );
    }
}

/// Read, decide, compare and set, again where somebody else was faster: every change counts.
pub async fn no_change_of_a_breaker_is_lost(fixture: &dyn Fixture) {
    const TASKS: usize = 8;
    const EACH: u32 = 10;
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let endpoint = stage.chance.endpoint(now);
    let limits = Arc::clone(&stage.ports.limits);
    together(TASKS, |_| {
        let limits = Arc::clone(&limits);
        async move {
            let mut done = 0;
            while done < EACH {
                let found = limits.breaker(endpoint).await.unwrap();
                let openings = found.map_or(0, |(record, _)| record.openings);
                let record = breaker(BreakerState::Open, now, openings + 1);
                let expect = found.map(|(_, version)| version);
                let set = limits.set_breaker(endpoint, &record, expect, now + LONG);
                done += u32::from(set.await.unwrap());
            }
        }
    })
    .await;
    let (found, _) = stage.breaker(endpoint).await.expect("it was set");
    assert_eq!(
        found.openings,
        EACH * TASKS as u32,
        "a change that was said to be made is there"
    );
}

/// A breaker that was open is open after a crash, and its version is still the one to expect.
pub async fn breakers_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let endpoint = stage.chance.endpoint(now);
    let open = breaker(BreakerState::Open, now, 3);
    assert!(stage.set_breaker(endpoint, open, None).await);
    let before = stage.breaker(endpoint).await;
    let mut stage = stage.crash().await;
    assert_eq!(
        stage.breaker(endpoint).await,
        before,
        "a breaker survives a crash"
    );
    let expect = before.map(|(_, version)| version);
    assert!(stage.set_breaker(endpoint, open, expect).await);
    assert!(
        !stage.set_breaker(endpoint, open, expect).await,
        "a version is used up once"
    );
}
