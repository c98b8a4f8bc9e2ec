//! Many hands at once: nothing goes to two of them, nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;

use super::work::{Held, PLENTY, assert_holds, lease, messages, messages_of, receipts};
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, VIGIL, assert_same, eventually, soon, together};
use crate::id::MessageId;
use crate::message::Item;
use crate::ports::{Broker, Depth};
use crate::time::Timestamp;

/// Leases until nothing of what all leasers together look for is left.
async fn lease_a_share(
    broker: Arc<dyn Broker>,
    now: Timestamp,
    room: usize,
    left: Arc<AtomicUsize>,
    ack: bool,
) -> Vec<MessageId> {
    let mut found = Vec::new();
    soon("every item to be leased by somebody", async {
        while left.load(Ordering::SeqCst) > 0 {
            let (held, _) = lease(&*broker, now, room).await;
            if held.is_empty() {
                // Bounded: the last of the leasers to look must see that nothing is left.
                let _ = timeout(VIGIL, broker.wait()).await;
                continue;
            }
            let messages = messages(&held);
            if ack {
                broker.ack(receipts(&held)).await.unwrap();
            }
            // An item that came twice is found by comparing, so the count need not go below zero for it.
            let taken = |left: usize| Some(left.saturating_sub(messages.len()));
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken)
                .unwrap();
            found.extend(messages);
        }
    })
    .await;
    found
}

/// Concurrent leases of one port never yield the same pack.
pub async fn no_pack_goes_to_two_leasers(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.items(400);
    for group in items.chunks(7) {
        stage.publish(group).await;
    }
    let (broker, now) = (stage.broker(), stage.now());
    let left = Arc::new(AtomicUsize::new(items.len()));
    let shares = together(8, |index| {
        lease_a_share(
            Arc::clone(&broker),
            now,
            index + 1,
            Arc::clone(&left),
            false,
        )
    })
    .await;
    assert_same(
        &shares.concat(),
        &messages_of(&items),
        "each item is leased to one leaser",
    );
    stage.nothing_ready("everything is leased").await;
}

/// Processes that share an installation share its work.
pub async fn no_pack_goes_to_two_processes(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let shared = stage.ports.broker.capabilities().shared;
    let Some(joined) = fixture.join().await else {
        assert!(!shared, "a shared broker's fixture has a second process");
        return;
    };
    assert!(
        shared,
        "two processes are open on a broker that says it is not shared"
    );
    let items = stage.solo_items(120);
    let (mine, theirs) = items.split_at(60);
    stage.publish(mine).await;
    let now = stage.now();
    joined.broker.publish(now, theirs.to_vec()).await.unwrap();
    let left = Arc::new(AtomicUsize::new(items.len()));
    let brokers = [stage.broker(), Arc::clone(&joined.broker)];
    let shares = together(4, |index| {
        let broker = Arc::clone(&brokers[index % 2]);
        lease_a_share(broker, now, 2, Arc::clone(&left), true)
    })
    .await;
    assert_same(
        &shares.concat(),
        &messages_of(&items),
        "each item is leased by one process",
    );
    drop(brokers);
    joined.broker.close().await;
    stage
        .depth_becomes("everything was acknowledged", |depth| {
            *depth == Depth::default()
        })
        .await;
}

/// 64 publishers, some hundred items each, four leasers that acknowledge: all of it arrives, once.
pub async fn a_flood_arrives_once_each(fixture: &dyn Fixture) {
    const PUBLISHERS: usize = 64;
    const EACH: usize = 200;
    let mut stage = Stage::open(fixture).await;
    let (broker, now) = (stage.broker(), stage.now());
    let mut shares: Vec<Vec<Vec<Item>>> = Vec::new();
    let mut all = Vec::new();
    for _ in 0..PUBLISHERS {
        let mut items = stage.items(EACH);
        all.extend(messages_of(&items));
        let mut calls = Vec::new();
        while !items.is_empty() {
            let size = (1 + stage.chance.below(16)).min(items.len());
            calls.push(items.split_off(items.len() - size));
        }
        shares.push(calls);
    }
    let left = Arc::new(AtomicUsize::new(all.len()));
    let leasing: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(lease_a_share(
                Arc::clone(&broker),
                now,
                16,
                Arc::clone(&left),
                true,
            ))
        })
        .collect();
    together(PUBLISHERS, |index| {
        let broker = Arc::clone(&broker);
        let calls = shares[index].clone();
        async move {
            for items in calls {
                broker.publish(now, items).await.unwrap();
            }
        }
    })
    .await;
    let mut found = Vec::new();
    for leaser in leasing {
        found.extend(leaser.await.unwrap());
    }
    assert_same(&found, &all, "a flood arrives, each item once");
    stage
        .depth_becomes("nothing is left of a flood", |depth| {
            *depth == Depth::default()
        })
        .await;
    stage.nothing_ready("nothing is left of a flood").await;
}

/// A pack that nobody settles does not hold up those behind it.
pub async fn work_moves_on_while_others_wait(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let slow = stage.solo_items(3);
    stage.publish(&slow).await;
    let held = stage.lease_items(slow.len()).await;
    for _ in 0..20 {
        let items = stage.items(5);
        stage.publish(&items).await;
        let quick = stage.lease_items(items.len()).await;
        assert_holds(&quick, &items, "work behind a held pack moves on");
        stage.ack(&quick).await;
    }
    stage
        .depth_becomes("what is held stays held", |depth| {
            depth.leased == 3 && depth.ready == 0
        })
        .await;
    let (more, _): (Vec<Held>, _) = stage.lease(PLENTY).await;
    assert!(more.is_empty(), "what is held comes to nobody");
    assert_holds(&held, &slow, "what is held is what was leased first");
}

/// A process that is about to end leases no more; what it holds stays its own, the rest goes to the others.
pub async fn who_stops_leasing_leaves_the_rest_to_others(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let joined = fixture.join().await;
    let items = stage.solo_items(12);
    stage.publish(&items).await;
    let held = soon("one pack to be leased", async {
        loop {
            let (held, _) = stage.lease(1).await;
            if !held.is_empty() {
                return held;
            }
            let _ = timeout(VIGIL, stage.ports.broker.wait()).await;
        }
    })
    .await;
    stage.ports.broker.stop_leasing().await;
    stage.ports.broker.stop_leasing().await;
    stage.nothing_ready("it has stopped leasing").await;
    let Some(joined) = joined else {
        stage.ack(&held).await;
        return;
    };
    let rest = stage
        .lease_items_of(&*joined.broker, items.len() - held.len())
        .await;
    stage.ack(&held).await;
    joined.broker.ack(receipts(&rest)).await.unwrap();
    let mut found = messages(&held);
    found.extend(messages(&rest));
    assert_same(
        &found,
        &messages_of(&items),
        "what was held and the rest are everything",
    );
    stage
        .depth_becomes("all of it was settled", |depth| *depth == Depth::default())
        .await;
}

/// What another process holds is counted by `depth` where the broker says so, and where it does not, by that process alone.
pub async fn what_others_hold_is_counted_as_told(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let Some(joined) = fixture.join().await else {
        return;
    };
    let counts_others = stage.ports.broker.capabilities().counts_others;
    let items = stage.solo_items(4);
    stage.publish(&items).await;
    let held = stage.lease_items_of(&*joined.broker, items.len()).await;
    let others = if counts_others { 4 } else { 0 };
    stage
        .depth_becomes("another process holds four packs", |depth| {
            depth.leased == others && depth.ready == 0
        })
        .await;
    let now = stage.now();
    let own = joined.broker.depth(now).await.unwrap();
    assert_eq!(own.leased, 4, "a process counts what it holds itself");
    joined.broker.ack(receipts(&held)).await.unwrap();
    for broker in [&stage.ports.broker, &joined.broker] {
        eventually("nothing is left, whoever counts", async || {
            let depth = broker.depth(now).await.unwrap();
            (depth == Depth::default()).then_some(())
        })
        .await;
    }
}
