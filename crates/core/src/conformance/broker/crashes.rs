//! What a death leaves behind: everything that was not settled, and nothing else.

use std::sync::Arc;

use tokio::time::timeout;

use super::work::{assert_holds, items_of, lease, messages, messages_of, receipts};
use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, Stage, VIGIL, assert_same, soon, together};
use crate::message::Item;
use crate::ports::{Depth, Source, Until};

/// Leased and not settled comes again and says so; ready stays ready; acknowledged stays gone; waiting waits.
pub async fn unsettled_work_returns_after_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let leased = stage.solo_items(8);
    stage.publish(&leased).await;
    let held = stage.lease_items(leased.len()).await;
    let (acked, unsettled) = held.split_at(3);
    stage.ack(acked).await;
    let untouched = stage.items(30);
    stage.publish(&untouched).await;
    let waiting = stage.items(2);
    stage.hand_off(&waiting, Until::After(LONG)).await;
    // An acknowledgement may be lost with its process, but not once depth has shown it.
    stage
        .depth_becomes("three of eight were acknowledged", |depth| {
            depth.leased == 5
        })
        .await;

    let mut stage = stage.crash().await;
    let unsettled = items_of(unsettled);
    let wanted = [unsettled.clone(), untouched].concat();
    let again = stage.lease_items(wanted.len()).await;
    assert_holds(&again, &wanted, "after a crash, what was not settled");
    let held_before = messages_of(&unsettled);
    for held in &again {
        let was_held = messages(std::slice::from_ref(held))
            .iter()
            .any(|message| held_before.contains(message));
        assert!(
            held.pack.redelivered || !was_held,
            "what was held by the dead says that it is redelivered"
        );
        assert_eq!(held.pack.source, Source::Work);
    }
    stage
        .nothing_ready("what was acknowledged stays gone, what waits is not due")
        .await;
}

/// `publish` returns once its items would survive: the crash may follow at once.
pub async fn what_was_published_just_before_a_crash_is_there(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let mut all = Vec::new();
    for round in 0..3 {
        let groups: Vec<Vec<Item>> = (0..16).map(|_| stage.items(9)).collect();
        let (broker, now) = (stage.broker(), stage.now());
        together(groups.len(), |index| {
            let (broker, items) = (Arc::clone(&broker), groups[index].clone());
            async move { broker.publish(now, items).await.unwrap() }
        })
        .await;
        drop(broker);
        all.extend(groups.concat());
        stage = stage.crash().await;
        let held = stage.lease_items(all.len()).await;
        assert_holds(
            &held,
            &all,
            &format!("published before crash number {}", round + 1),
        );
    }
}

/// More packs than anybody keeps in memory, worked off by a process that has seen none of them before.
pub async fn a_backlog_comes_back_in_full(fixture: &dyn Fixture) {
    const PUBLISHERS: usize = 32;
    const CALLS: usize = 50;
    let mut stage = Stage::open(fixture).await;
    let shares: Vec<Vec<Item>> = (0..PUBLISHERS).map(|_| stage.items(CALLS)).collect();
    let (broker, now) = (stage.broker(), stage.now());
    together(PUBLISHERS, |index| {
        let (broker, items) = (Arc::clone(&broker), shares[index].clone());
        async move {
            for item in items {
                broker.publish(now, vec![item]).await.unwrap();
            }
        }
    })
    .await;
    let large = stage.solo_items(200);
    stage.publish(&large).await;
    drop(broker);

    let mut stage = stage.crash().await;
    let all = [shares.concat(), large].concat();
    let (broker, now) = (stage.broker(), stage.now());
    let mut found = Vec::new();
    soon("all of a backlog", async {
        while found.len() < all.len() {
            let (held, _) = lease(&*broker, now, 60).await;
            if held.is_empty() {
                let _ = timeout(VIGIL, broker.wait()).await;
            }
            broker.ack(receipts(&held)).await.unwrap();
            found.extend(messages(&held));
        }
    })
    .await;
    assert_same(
        &found,
        &messages_of(&all),
        "a backlog comes back, each item once",
    );
    stage
        .depth_becomes("nothing is left of a backlog", |depth| {
            *depth == Depth::default()
        })
        .await;
}

/// `close` settles what was asked for: an acknowledgement before it is not lost.
pub async fn what_was_acknowledged_before_closing_stays_gone(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(6);
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    let (acked, kept) = held.split_at(4);
    stage.ack(acked).await;
    stage.ports.broker.close().await;
    let mut stage = stage.crash().await;
    let left = stage.lease_items(kept.len()).await;
    assert_holds(
        &left,
        &items_of(kept),
        "closing lets go of what was not settled, and of nothing else",
    );
    stage
        .nothing_ready("what was acknowledged before closing stays gone")
        .await;
}

/// A pack whose holder dies again and again can be told by its count, without being read.
pub async fn crash_loops_are_counted(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(1);
    stage.publish(&items).await;
    let mut before = 0;
    for deaths in 0..7 {
        let held = stage.lease_items(1).await;
        assert_holds(&held, &items, "the pack that kills its holder");
        let pack = &held[0].pack;
        let counted = pack.earlier_deliveries;
        assert!(
            deaths == 0 || pack.redelivered,
            "its last holder died without settling it"
        );
        assert!(
            counted + 1 >= deaths,
            "after {deaths} deaths {counted} earlier deliveries are counted: at most one may be missed"
        );
        assert!(
            deaths < 2 || counted > before,
            "each death of a holder raises the count: {before}, then {counted}"
        );
        before = counted;
        stage = stage.crash().await;
    }
}

/// A receipt is worth nothing once its process has died, even where numbers are used again.
pub async fn receipts_of_an_earlier_life_take_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(4);
    stage.publish(&items).await;
    let old = receipts(&stage.lease_items(items.len()).await);
    let mut stage = stage.crash().await;
    let held = stage.lease_items(items.len()).await;
    let now = stage.now();
    let broker = stage.broker();
    let acked = broker.ack(old.clone()).await;
    acked.expect("a receipt of an earlier life is not an error");
    let back = broker.give_back(now, old).await;
    back.expect("a receipt of an earlier life is not an error");
    drop(broker);
    stage
        .depth_becomes("the living holder still holds everything", |depth| {
            depth.leased == 4 && depth.ready == 0 && depth.waiting == 0
        })
        .await;
    drop(held);
    let mut stage = stage.crash().await;
    let again = stage.lease_items(items.len()).await;
    assert_holds(&again, &items, "receipts of an earlier life take nothing");
}

/// Whoever drops a `publish` before it ends gets all of its items or none, and everybody else gets theirs.
pub async fn a_publish_that_was_dropped_harms_nobody(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (broker, now) = (stage.broker(), stage.now());
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for _ in 0..30 {
        let [cut, whole] = [stage.items(3), stage.items(3)];
        tokio::select! {
            biased;
            _ = broker.publish(now, cut.clone()) => {}
            () = tokio::task::yield_now() => {}
        }
        broker.publish(now, whole.clone()).await.unwrap();
        dropped.push(messages_of(&cut));
        kept.extend(messages_of(&whole));
    }
    let mut found = Vec::new();
    soon("what was published whole", async {
        while !kept.iter().all(|message| found.contains(message)) {
            let (held, _) = lease(&*broker, now, 8).await;
            if held.is_empty() {
                broker.wait().await;
            }
            found.extend(messages(&held));
        }
    })
    .await;
    // A dropped call may still be under way: take what comes until nothing does.
    while timeout(std::time::Duration::from_millis(200), broker.wait())
        .await
        .is_ok()
    {
        let (held, _) = lease(&*broker, now, 100).await;
        if held.is_empty() {
            break;
        }
        found.extend(messages(&held));
    }
    let mut wanted = kept;
    for call in dropped {
        let arrived = call
            .iter()
            .filter(|message| found.contains(message))
            .count();
        assert!(
            arrived == 0 || arrived == call.len(),
            "all or nothing: {arrived} of {} items of one call arrived",
            call.len()
        );
        if arrived > 0 {
            wanted.extend(call);
        }
    }
    assert_same(&found, &wanted, "each item arrives once");
}

/// Whoever drops a `lease` before it ends holds nothing by it: the next one gets everything.
pub async fn a_lease_that_was_dropped_holds_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(60);
    stage.publish(&items).await;
    // Work that was held by a dead process may take longer to lease than new work.
    stage.lease_items(items.len()).await;
    let mut stage = stage.crash().await;
    let (broker, now) = (stage.broker(), stage.now());
    let mut held = Vec::new();
    for _ in 0..200 {
        let patience = stage.chance.below(300);
        let yields = async {
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
        };
        let room = 2.min(50_usize.saturating_sub(held.len()));
        tokio::select! {
            biased;
            (leased, _) = lease(&*broker, now, room) => held.extend(leased),
            () = yields => {}
        }
    }
    drop(broker);
    held.extend(stage.lease_items(items.len() - held.len()).await);
    assert_holds(
        &held,
        &items,
        "what a dropped lease had taken is there for the next",
    );
}

/// What a dead process held goes to those that live, while they live.
pub async fn a_death_gives_work_to_the_living(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let Some(joined) = fixture.join().await else {
        return;
    };
    let items = stage.solo_items(10);
    stage.publish(&items).await;
    let mut of_the_dead = Vec::new();
    let mut of_the_living = Vec::new();
    soon("all items to be leased", async {
        while of_the_dead.len() + of_the_living.len() < items.len() {
            let now = stage.now();
            of_the_dead.extend(lease(&*stage.ports.broker, now, 3).await.0);
            of_the_living.extend(lease(&*joined.broker, now, 1).await.0);
            let _ = timeout(VIGIL, joined.broker.wait()).await;
        }
    })
    .await;
    let mut stage = stage.crash().await;
    let orphaned = items_of(&of_the_dead);
    let mut again = Vec::new();
    soon("what the dead held", async {
        while again.len() < orphaned.len() {
            let now = stage.now();
            again.extend(lease(&*stage.ports.broker, now, 2).await.0);
            again.extend(lease(&*joined.broker, now, 2).await.0);
            let _ = timeout(VIGIL, joined.broker.wait()).await;
        }
    })
    .await;
    assert_holds(&again, &orphaned, "what the dead held, and only that");
    assert!(
        again.iter().all(|held| held.pack.redelivered),
        "what was held by the dead says that it is redelivered"
    );
    joined
        .broker
        .ack(receipts(&of_the_living))
        .await
        .expect("another process's death takes nothing from the living");
}
