//! Giving back, and quarantine.

use std::time::Duration;

use tokio::time::timeout;

use super::work::{Held, PLENTY, assert_holds, lease, receipts};
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, VIGIL, soon};
use crate::ports::{Broker, Depth, RETURN_DELAY, Source};

/// What may be added to "about [`RETURN_DELAY`]".
const ABOUT: Duration = Duration::from_secs(2);

/// What is given back stays away for the delay, then comes whole, marked as returned.
pub async fn work_given_back_returns_later_and_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let mut items = stage.shapes();
    items.extend(stage.solo_items(4));
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    let now = stage.now();
    let back = stage.ports.broker.give_back(now, receipts(&held)).await;
    back.expect("packs that are held can be given back");
    stage
        .nothing_ready("what is given back does not come at once")
        .await;
    stage
        .depth_becomes("what is given back waits", |depth| {
            depth.leased == 0 && depth.ready == 0 && depth.waiting > 0
        })
        .await;
    let new = stage.items(1);
    stage.publish(&new).await;
    let passing = stage.lease_items(1).await;
    assert_holds(&passing, &new, "new work passes what was given back");

    let early = RETURN_DELAY - ABOUT;
    let looked = stage.time.pass(early).await;
    let (found, _) = stage.lease(PLENTY).await;
    assert!(
        found.is_empty() || stage.now() > looked + ABOUT,
        "what is given back stays away for about {RETURN_DELAY:?}"
    );
    stage.time.pass(ABOUT * 2).await;
    let count: usize = found.iter().map(|held| held.items.len()).sum();
    let mut again = found;
    again.extend(stage.lease_items(items.len() - count).await);
    assert_holds(&again, &items, "what is given back comes again whole");
    for held in &again {
        assert!(held.pack.returned, "what is given back says so");
        assert_eq!(held.pack.source, Source::Work);
    }
    stage.ack(&again).await;
    stage.ack(&passing).await;
    stage
        .depth_becomes("nothing is left", |depth| *depth == Depth::default())
        .await;
}

/// A crash may undo the giving back, never the work.
pub async fn work_given_back_survives_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(4);
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    let now = stage.now();
    let back = stage.ports.broker.give_back(now, receipts(&held)).await;
    back.unwrap();
    let mut stage = stage.crash().await;
    stage.time.pass(RETURN_DELAY + ABOUT).await;
    let again = stage.lease_items(items.len()).await;
    assert_holds(&again, &items, "what was given back survives a crash");
    for held in &again {
        assert!(
            held.pack.returned || held.pack.redelivered,
            "it was held before, and says so"
        );
    }
    stage.nothing_ready("each pack comes once").await;
}

impl Stage<'_> {
    /// Publishes `count` packs and quarantines them.
    async fn set_apart(&mut self, count: usize) -> Vec<crate::message::Item> {
        let items = self.solo_items(count);
        self.publish(&items).await;
        let held = self.lease_items(count).await;
        let now = self.now();
        for Held { pack, .. } in &held {
            let set_apart = self.ports.broker.quarantine(now, pack).await;
            set_apart.expect("a pack that is held can be quarantined");
        }
        items
    }
}

/// Leases until a pack comes, which must be a quarantined one.
async fn next_of_quarantine(stage: &mut Stage<'_>, broker: &dyn Broker) -> Held {
    soon("a quarantined pack", async {
        loop {
            let now = stage.now();
            let (mut held, _) = lease(broker, now, PLENTY).await;
            if let Some(held) = held.pop() {
                assert_eq!(held.pack.source, Source::Quarantine);
                return held;
            }
            let _ = timeout(VIGIL, broker.wait()).await;
        }
    })
    .await
}

/// From quarantine packs come singly: the next only when the one before is settled.
pub async fn quarantined_work_comes_one_at_a_time_and_alone(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.set_apart(3).await;
    stage
        .depth_becomes("three packs are set apart", |depth| {
            depth.quarantined == 3 && depth.ready == 0 && depth.leased == 0
        })
        .await;
    let work = stage.items(40);
    stage.publish(&work).await;
    let broker = stage.broker();
    let mut seen = Vec::new();
    let mut other = Vec::new();
    while seen.len() < items.len() {
        // `lease` itself checks that a quarantined pack comes alone.
        let held = soon("the next quarantined pack", async {
            loop {
                let (mut held, _) = stage.lease(PLENTY).await;
                if held
                    .first()
                    .is_some_and(|held| held.pack.source == Source::Quarantine)
                {
                    return held.remove(0);
                }
                if held.is_empty() {
                    let _ = timeout(VIGIL, broker.wait()).await;
                }
                other.extend(held);
            }
        })
        .await;
        assert_eq!(
            held.pack.earlier_deliveries, 0,
            "deliveries are counted anew in quarantine"
        );
        assert!(!held.pack.returned, "quarantine is not giving back");
        for _ in 0..2 {
            let (more, _) = stage.lease(PLENTY).await;
            assert!(
                more.iter().all(|held| held.pack.source == Source::Work),
                "while one quarantined pack is held, no other comes"
            );
            other.extend(more);
        }
        let apart = (items.len() - seen.len() - 1) as u64;
        stage
            .depth_becomes("one is held, the others are set apart", |depth| {
                depth.quarantined == apart && depth.leased == 1 + other.len() as u64
            })
            .await;
        stage.ack(std::slice::from_ref(&held)).await;
        seen.push(held);
    }
    assert_holds(&seen, &items, "quarantine keeps packs as they are");
    let found: usize = other.iter().map(|held| held.items.len()).sum();
    other.extend(stage.lease_items(work.len() - found).await);
    assert_holds(&other, &work, "the work queues go on beside quarantine");
    stage.ack(&other).await;
    stage
        .depth_becomes("nothing is left", |depth| *depth == Depth::default())
        .await;
}

/// One quarantined pack at a time is one over all processes.
pub async fn quarantined_work_is_held_by_one_process(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let Some(joined) = fixture.join().await else {
        return;
    };
    let items = stage.set_apart(4).await;
    let brokers = [stage.broker(), joined.broker];
    let mut seen = Vec::new();
    soon("every quarantined pack", async {
        while seen.len() < items.len() {
            let now = stage.now();
            let mut held = Vec::new();
            for broker in &brokers {
                let (more, _) = lease(&**broker, now, PLENTY).await;
                held.push((broker, more));
            }
            let count: usize = held.iter().map(|(_, more)| more.len()).sum();
            assert!(
                count <= 1,
                "{count} quarantined packs are held at once by two processes"
            );
            for (broker, more) in held {
                broker.ack(receipts(&more)).await.unwrap();
                seen.extend(more);
            }
            let _ = timeout(VIGIL, brokers[0].wait()).await;
        }
    })
    .await;
    assert_holds(
        &seen,
        &items,
        "each quarantined pack comes to one of the processes",
    );
}

/// A crash neither loses quarantined packs nor sends them back among the others, and it is counted.
pub async fn quarantined_work_survives_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(1);
    stage.publish(&items).await;
    for _ in 0..3 {
        stage.lease_items(1).await;
        stage = stage.crash().await;
    }
    let held = stage.lease_items(1).await;
    let now = stage.now();
    let set_apart = stage.ports.broker.quarantine(now, &held[0].pack).await;
    set_apart.expect("a pack that is held can be quarantined");
    // Until then, setting apart may be lost with the process: the pack would come again as work.
    stage
        .depth_becomes("a pack that was set apart is not held", |depth| {
            depth.leased == 0
        })
        .await;
    let mut before = 0;
    for deaths in 0..5 {
        let broker = stage.broker();
        let held = next_of_quarantine(&mut stage, &*broker).await;
        let counted = held.pack.earlier_deliveries;
        assert_holds(&[held], &items, "what is in quarantine survives a crash");
        assert!(
            deaths > 0 || counted == 0,
            "quarantine counts anew, whatever was counted before: {counted}"
        );
        assert!(
            deaths < 2 || counted > before,
            "each death of a holder raises the count in quarantine, too: {before}, then {counted}"
        );
        before = counted;
        drop(broker);
        stage = stage.crash().await;
    }
    let broker = stage.broker();
    let last = next_of_quarantine(&mut stage, &*broker).await;
    drop(broker);
    stage.ack(&[last]).await;
    stage
        .depth_becomes("nothing is left", |depth| *depth == Depth::default())
        .await;
    let mut stage = stage.crash().await;
    stage
        .nothing_ready("what was acknowledged from quarantine is gone")
        .await;
}

/// A quarantined pack that nobody settles holds up its kind alone.
pub async fn quarantine_holds_up_nobody_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.set_apart(2).await;
    let broker = stage.broker();
    let stuck = next_of_quarantine(&mut stage, &*broker).await;
    for _ in 0..5 {
        let work = stage.items(10);
        stage.publish(&work).await;
        let held = stage.lease_items(work.len()).await;
        assert_holds(
            &held,
            &work,
            "work goes on while a quarantined pack is held",
        );
        stage.ack(&held).await;
    }
    stage.ack(std::slice::from_ref(&stuck)).await;
    let other = next_of_quarantine(&mut stage, &*broker).await;
    assert_holds(&[stuck, other], &items, "both quarantined packs came");
}
