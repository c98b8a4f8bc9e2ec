//! Waiting, counting, closing.

use std::sync::Arc;

use super::work::{PLENTY, assert_holds};
use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, Stage, VIGIL, soon};
use crate::ports::{Depth, HandOff, Until};

/// What happens between `lease` and `wait` makes `wait` complete.
pub async fn a_publish_between_lease_and_wait_is_not_missed(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let broker = stage.broker();
    let mut all = Vec::new();
    let mut held = Vec::new();
    for round in 0..50 {
        let (early, _) = stage.lease(PLENTY).await;
        held.extend(early);
        let items = stage.items(1);
        if round % 2 == 0 {
            stage.publish(&items).await;
        } else {
            stage.hand_off(&items, Until::Now).await;
        }
        soon("wait, after something was published", broker.wait()).await;
        all.extend(items);
    }
    let found: usize = held.iter().map(|held| held.items.len()).sum();
    held.extend(stage.lease_items(all.len() - found).await);
    assert_holds(&held, &all, "all of it came");
}

/// A publish from elsewhere completes a `wait` that is under way, and the lease after it is never in vain for ever.
pub async fn a_publish_wakes_who_waits(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    for by_hand_off in [false, true] {
        let items = stage.items(3);
        let (broker, now) = (stage.broker(), stage.now());
        stage.nothing_ready("nothing is there yet").await;
        let leaser = tokio::spawn(async move {
            let mut held = Vec::new();
            while held.is_empty() {
                broker.wait().await;
                held = broker.lease(now, PLENTY).await.unwrap().packs;
            }
            held
        });
        // Whether the leaser waits already or is about to: both must end well.
        tokio::time::sleep(VIGIL).await;
        if by_hand_off {
            let hand_offs = items.iter().cloned().map(|item| HandOff {
                item,
                until: Until::Now,
            });
            let handed = stage.ports.broker.hand_off(now, hand_offs.collect()).await;
            handed.unwrap();
        } else {
            stage.publish(&items).await;
        }
        let packs = soon("a publish to wake who waits", leaser).await.unwrap();
        let receipts = packs.iter().map(|pack| pack.receipt).collect();
        let leased: usize = packs
            .iter()
            .map(|pack| crate::envelope::decode(&pack.bytes).unwrap().len())
            .sum();
        stage.ports.broker.ack(receipts).await.unwrap();
        let rest = stage.lease_items(items.len() - leased).await;
        stage.ack(&rest).await;
    }
}

/// Each pack is counted once, where it is.
pub async fn depth_adds_up(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    stage
        .depth_becomes("an empty broker is empty", |depth| {
            *depth == Depth::default()
        })
        .await;
    let items = stage.solo_items(9);
    stage.publish(&items).await;
    stage
        .depth_becomes("nine packs are ready", |depth| {
            depth.ready == 9 && depth.leased == 0
        })
        .await;
    let held = stage.lease_items(items.len()).await;
    stage
        .depth_becomes("nine packs are held", |depth| {
            depth.ready == 0 && depth.leased == 9
        })
        .await;
    let waiting = stage.solo_items(2);
    stage.hand_off(&waiting, Until::After(LONG)).await;
    let now = stage.now();
    let broker = stage.broker();
    broker.quarantine(now, &held[0].pack).await.unwrap();
    stage.ack(&held[1..4]).await;
    let wanted = Depth {
        ready: 0,
        waiting: 2,
        leased: 5,
        quarantined: 1,
    };
    stage
        .depth_becomes(
            "five held, two waiting, one quarantined, three gone",
            |depth| *depth == wanted,
        )
        .await;
    drop(broker);
    let mut stage = stage.crash().await;
    let wanted = Depth {
        ready: 5,
        leased: 0,
        ..wanted
    };
    stage
        .depth_becomes("what the dead held is ready again", |depth| {
            *depth == wanted
        })
        .await;
}

/// After `close` every call fails, nobody is left waiting, and a second `close` is none.
pub async fn closing_is_final_and_closing_twice_is_closing_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(3);
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    let broker = stage.broker();
    let now = stage.now();
    let waiting = [(); 2].map(|()| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            // It may complete without reason; then it is called again.
            while broker.lease(now, 0).await.is_ok() {
                broker.wait().await;
            }
        })
    });
    // Whether they wait already or are about to: both must end well.
    tokio::time::sleep(VIGIL).await;
    soon("close", broker.close()).await;
    soon("a second close", broker.close()).await;
    for waiting in waiting {
        let ended = soon("a wait that was under way at close", waiting).await;
        ended.unwrap();
    }
    soon("a wait after close", broker.wait()).await;
    let more = stage.items(1);
    let hand_off = HandOff {
        item: more[0].clone(),
        until: Until::Now,
    };
    let receipt = held[0].pack.receipt;
    let rule = "every call after close fails";
    assert!(broker.publish(now, more).await.is_err(), "{rule}: publish");
    assert!(broker.lease(now, 1).await.is_err(), "{rule}: lease");
    assert!(
        broker.hand_off(now, vec![hand_off]).await.is_err(),
        "{rule}: hand_off"
    );
    assert!(broker.ack(vec![receipt]).await.is_err(), "{rule}: ack");
    assert!(
        broker.give_back(now, vec![receipt]).await.is_err(),
        "{rule}: give_back"
    );
    let apart = broker.quarantine(now, &held[0].pack).await;
    assert!(apart.is_err(), "{rule}: quarantine");
    assert!(broker.depth(now).await.is_err(), "{rule}: depth");
    drop(broker);
    let mut stage = stage.crash().await;
    let again = stage.lease_items(items.len()).await;
    assert_holds(&again, &items, "closing lets go of what is held");
    stage
        .nothing_ready("what failed after close did not happen")
        .await;
}
