//! The round trip: publish, lease, acknowledge.

use std::collections::HashSet;

use super::work::{Held, SOLO, assert_holds, items_of, receipts};
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, soon};
use crate::envelope;
use crate::ports::{Depth, Receipt, Source};

/// A pack's bytes decode to the items that were published, in every field.
pub async fn what_is_published_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    stage
        .ports
        .broker
        .probe()
        .await
        .expect("an open broker is well");
    let items = stage.shapes();
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    assert_holds(&held, &items, "what is published comes back whole");
    for Held { pack, .. } in &held {
        assert_eq!(pack.source, Source::Work);
        assert!(!pack.returned, "nobody gave it back");
        assert_eq!(pack.earlier_deliveries, 0, "nobody held it before");
    }
    stage.nothing_ready("everything is leased").await;
}

/// Empty lists are no error and leave nothing behind.
pub async fn nothing_comes_of_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    let broker = stage.broker();
    broker.publish(now, Vec::new()).await.unwrap();
    broker.hand_off(now, Vec::new()).await.unwrap();
    broker.ack(Vec::new()).await.unwrap();
    broker.give_back(now, Vec::new()).await.unwrap();
    stage.nothing_ready("nothing was published").await;
    stage
        .depth_becomes("nothing was published", |depth| *depth == Depth::default())
        .await;
}

/// A megabyte survives, alone and among others.
pub async fn large_payloads_come_back_to_the_byte(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let sizes = [
        1024 * 1024,
        envelope::MAX_PACK_BYTES + 1,
        envelope::MAX_PACK_BYTES,
        SOLO,
        1,
    ];
    let mut items = Vec::new();
    for size in sizes {
        items.push(stage.item(size));
        items.push(stage.item(3));
    }
    stage.publish(&items).await;
    let alone = [stage.item(1024 * 1024)];
    stage.publish(&alone).await;
    items.extend(alone);
    let held = stage.lease_items(items.len()).await;
    assert_holds(&held, &items, "large payloads come back to the byte");
}

/// However many items one call publishes, packs stay within the envelope's bounds (checked at every lease).
pub async fn groups_of_any_size_arrive_in_packs_within_bounds(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    for count in [
        1,
        envelope::MAX_ITEMS - 1,
        envelope::MAX_ITEMS,
        envelope::MAX_ITEMS + 1,
        300,
    ] {
        let items = stage.items(count);
        stage.publish(&items).await;
        let held = stage.lease_items(count).await;
        assert_holds(&held, &items, "a group arrives in full");
        stage.ack(&held).await;
    }
    let mut mixed = Vec::new();
    for _ in 0..60 {
        let size = stage.chance.below(SOLO * 2);
        mixed.push(stage.item(size));
    }
    stage.publish(&mixed).await;
    let held = stage.lease_items(mixed.len()).await;
    assert_holds(&held, &mixed, "a mixed group arrives in full");
}

/// `room` counts packs: 0 yields none, and what did not fit stays for the next lease.
pub async fn room_is_respected(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(10);
    stage.publish(&items).await;
    let (none, _) = stage.lease(0).await;
    assert!(none.is_empty(), "room for nothing yields nothing");
    let mut held = stage.lease_items_by(3, 7).await;
    held.extend(stage.lease_items_by(1, 3).await);
    assert_holds(&held, &items, "what found no room comes with a later lease");
    stage.nothing_ready("everything is leased").await;
}

/// A receipt names one of the queues that the broker says it has, each of which lets at least one pack out.
pub async fn receipts_name_their_queue(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let windows = stage.ports.broker.windows();
    let names: HashSet<&str> = windows.iter().map(|window| window.queue.as_str()).collect();
    assert_eq!(names.len(), windows.len(), "two queues have one name");
    assert!(windows.iter().all(|window| window.packs != Some(0)));
    let items = stage.items(5);
    stage.publish(&items).await;
    for held in stage.lease_items(5).await {
        let queue = held.pack.receipt.queue as usize;
        assert!(queue < windows.len(), "queue {queue} of {}", windows.len());
    }
    assert_eq!(stage.ports.broker.windows(), windows);
}

impl Stage<'_> {
    /// Leases `room` packs at a time until `count` items are held. Every pack must hold one item.
    async fn lease_items_by(&mut self, room: usize, count: usize) -> Vec<Held> {
        let mut held = Vec::new();
        while held.len() < count {
            let (more, _) = self.lease(room.min(count - held.len())).await;
            if more.is_empty() {
                soon("work that is left", self.ports.broker.wait()).await;
            }
            held.extend(more);
        }
        held
    }
}

/// Who leases again does not get again what is held.
pub async fn leased_work_is_not_leased_again(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.items(20);
    stage.publish(&items).await;
    let first = stage.lease_items(items.len()).await;
    stage
        .nothing_ready("leased work is not leased again while its holder lives")
        .await;
    let others = stage.items(5);
    stage.publish(&others).await;
    let second = stage.lease_items(others.len()).await;
    assert_holds(&first, &items, "the first lease");
    assert_holds(&second, &others, "a later lease yields what is new alone");
}

/// Acknowledged packs leave the broker, and only those.
pub async fn acknowledged_work_is_gone(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(9);
    stage.publish(&items).await;
    let mut held = stage.lease_items(items.len()).await;
    let mut acked = Vec::new();
    for index in [8, 5, 2] {
        acked.push(held.remove(index));
    }
    stage.ack(&acked).await;
    stage
        .depth_becomes("six of nine are left", |depth| {
            depth.leased == 6 && depth.ready == 0
        })
        .await;
    stage
        .nothing_ready("acknowledged work does not come again")
        .await;
    stage.ack(&held).await;
    stage
        .depth_becomes("everything was acknowledged", |depth| {
            *depth == Depth::default()
        })
        .await;
}

/// A receipt that is no longer held is no error, alone or among others, and takes no other pack with it.
pub async fn acknowledging_twice_takes_nothing_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.solo_items(6);
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    let broker = stage.broker();
    let stale = receipts(&held[..2]);
    let never = Receipt {
        generation: u32::MAX,
        ..stale[0]
    };
    broker.ack(stale.clone()).await.unwrap();
    let again = broker.ack(stale.clone()).await;
    again.expect("acknowledging what is no longer held is not an error");
    let mixed = vec![
        stale[1],
        held[2].pack.receipt,
        never,
        stale[0],
        held[2].pack.receipt,
    ];
    let mixed = broker.ack(mixed).await;
    mixed.expect("a stale receipt does not keep others from being acknowledged");
    let now = stage.now();
    let back = broker.give_back(now, vec![stale[0], never]).await;
    back.expect("giving back what is no longer held is not an error");
    stage
        .depth_becomes("three of six are left", |depth| {
            depth.leased == 3 && depth.ready == 0 && depth.waiting == 0
        })
        .await;
    let mut stage = stage.crash().await;
    let left = stage.lease_items(3).await;
    assert_holds(&left, &items_of(&held[3..]), "what was not acknowledged");
}
