//! Items to publish, and ways to hold what was leased against the contract.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use crate::conformance::stage::{Stage, VIGIL, eventually, soon};
use crate::dead_letter::{DeadNote, DeadReason};
use crate::envelope;
use crate::id::MessageId;
use crate::message::{Event, Item, Target, Trigger, Work};
use crate::name::{Channel, Uid};
use crate::pair::ChainId;
use crate::ports::{Broker, Depth, HandOff, Leased, Pack, Receipt, Source, Until};
use crate::samples;
use crate::time::Timestamp;

/// Two payloads of this size do not fit into one pack.
pub(super) const SOLO: usize = envelope::MAX_PACK_BYTES / 2 + 1;
/// More than any case publishes at a time.
pub(super) const PLENTY: usize = 1_000;

/// A pack with what is in it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pack: Pack,
    pub(super) items: Vec<Item>,
}

impl Stage<'_> {
    pub(super) fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.ports.broker)
    }

    pub(super) fn item(&mut self, payload: usize) -> Item {
        let now = self.now();
        let event = Event {
            message: self.chance.message(now),
            accepted_at: now,
            payload: self.chance.bytes(payload),
            ..samples::event()
        };
        Item {
            event: Arc::new(event),
            work: Work::Match,
            maybe_dup: false,
        }
    }

    pub(super) fn items(&mut self, count: usize) -> Vec<Item> {
        (0..count).map(|_| self.item(20)).collect()
    }

    /// Items that each travel alone.
    pub(super) fn solo_items(&mut self, count: usize) -> Vec<Item> {
        (0..count).map(|_| self.item(SOLO)).collect()
    }

    /// One item of every shape that work has.
    pub(super) fn shapes(&mut self) -> Vec<Item> {
        let now = self.now();
        let mut full = (*self.item(0).event).clone();
        full.event_id = Uid::new("order-1042_a.b").ok();
        full.channels = vec![Channel::new("eu").unwrap(), Channel::new("us").unwrap()];
        full.tags = vec!["grün".to_owned(), String::new()];
        full.headers = BTreeMap::from([("x-trace".to_owned(), "a\"b\nc".to_owned())]);
        full.deliver_at = Some(now + crate::schedule::MAX_DELAY);
        full.registry_version = u64::MAX;
        full.payload = Bytes::from_static(b"{\"not\": \xff\x00 \"utf-8\"}");
        let note = DeadNote {
            id: self.chance.dead_letter(now),
            endpoint: self.chance.endpoint(now),
            chain: ChainId(u64::MAX),
            reason: DeadReason::Gone,
            attempts: u16::MAX,
            last_status: 410,
            last_response: "gone \u{1f44b}".to_owned(),
            died_at: now,
        };
        let targets: Vec<Target> = (1..=40)
            .map(|attempt| Target {
                endpoint: self.chance.endpoint(now),
                era: u32::from(attempt),
                chain: ChainId(u64::from(attempt) << 40),
                trigger: Trigger::Manual,
                ..samples::target(attempt, now)
            })
            .collect();
        let works = [
            Work::Match,
            Work::Targets(Vec::new()),
            Work::Targets(targets),
            Work::Dead(note),
        ];
        let mut items = Vec::new();
        for work in works {
            for maybe_dup in [false, true] {
                let message = self.chance.message(now);
                let event = Arc::new(Event {
                    message,
                    ..full.clone()
                });
                items.push(Item {
                    event,
                    work: work.clone(),
                    maybe_dup,
                });
            }
        }
        let empty = self.item(0);
        items.push(empty);
        items
    }

    pub(super) async fn publish(&mut self, items: &[Item]) {
        let now = self.now();
        let published = self.ports.broker.publish(now, items.to_vec()).await;
        published.expect("publish takes items while the broker has room");
    }

    pub(super) async fn hand_off(&mut self, items: &[Item], until: Until) -> Timestamp {
        let now = self.now();
        let hand_offs = items
            .iter()
            .map(|item| HandOff {
                item: item.clone(),
                until,
            })
            .collect();
        let handed = self.ports.broker.hand_off(now, hand_offs).await;
        handed.expect("hand_off takes items while the broker has room");
        now
    }

    pub(super) async fn ack(&self, held: &[Held]) {
        let acked = self.ports.broker.ack(receipts(held)).await;
        acked.expect("packs that are held can be acknowledged");
    }

    pub(super) async fn lease(&mut self, room: usize) -> (Vec<Held>, Option<Timestamp>) {
        let now = self.now();
        lease(&*self.ports.broker, now, room).await
    }

    /// Leases until `count` items are held, however many packs that takes. The broker must be about to yield
    /// exactly these.
    pub(super) async fn lease_items(&mut self, count: usize) -> Vec<Held> {
        let broker = self.broker();
        self.lease_items_of(&*broker, count).await
    }

    pub(super) async fn lease_items_of(&mut self, broker: &dyn Broker, count: usize) -> Vec<Held> {
        let mut held = Vec::new();
        let mut found = 0;
        soon(&format!("{count} items to be leased"), async {
            while found < count {
                let now = self.now();
                let (more, _) = lease(broker, now, PLENTY).await;
                if more.is_empty() {
                    // Bounded, because a case need not be the only one that waits.
                    let _ = timeout(VIGIL, broker.wait()).await;
                }
                found += more.iter().map(|held| held.items.len()).sum::<usize>();
                held.extend(more);
            }
        })
        .await;
        assert_eq!(found, count, "more items came than there are");
        held
    }

    /// Nothing can be leased, now and in a moment.
    pub(super) async fn nothing_ready(&mut self, rule: &str) {
        let broker = self.broker();
        self.nothing_ready_at(&*broker, rule).await;
    }

    pub(super) async fn nothing_ready_at(&mut self, broker: &dyn Broker, rule: &str) {
        for _ in 0..2 {
            let now = self.now();
            let (held, _) = lease(broker, now, PLENTY).await;
            assert!(held.is_empty(), "{rule}: {held:?}");
            let _ = timeout(VIGIL, broker.wait()).await;
        }
    }

    pub(super) async fn depth_becomes(&mut self, rule: &str, right: impl Fn(&Depth) -> bool) {
        let broker = self.broker();
        let time = &mut self.time;
        let mut last = None;
        let looked = eventually(rule, async || {
            let depth = broker.depth(time.now()).await.expect("depth can be asked");
            last = Some(depth);
            right(&depth).then_some(())
        });
        // The last depth makes a far better message than the deadline.
        if timeout(crate::conformance::stage::PATIENCE / 2, looked)
            .await
            .is_err()
        {
            panic!("{rule}: depth stays at {last:?}");
        }
    }
}

/// Leases, and checks what holds for every lease.
pub(super) async fn lease(
    broker: &dyn Broker,
    now: Timestamp,
    room: usize,
) -> (Vec<Held>, Option<Timestamp>) {
    let Leased { packs, next_due } = broker.lease(now, room).await.expect("work can be leased");
    assert!(packs.len() <= room, "room for {room}, got {}", packs.len());
    let set_apart = packs
        .iter()
        .filter(|pack| pack.source == Source::Quarantine)
        .count();
    assert!(
        set_apart == 0 || packs.len() == 1,
        "a quarantined pack comes alone, not among {}",
        packs.len()
    );
    let held: Vec<Held> = packs.into_iter().map(open).collect();
    let different: HashSet<Receipt> = held.iter().map(|held| held.pack.receipt).collect();
    assert_eq!(different.len(), held.len(), "each pack has its own receipt");
    (held, next_due)
}

fn open(pack: Pack) -> Held {
    let items = envelope::decode(&pack.bytes).expect("a leased pack is an envelope");
    let bytes: usize = items.iter().map(|item| item.event.payload.len()).sum();
    assert!(
        items.len() == 1 || bytes <= envelope::MAX_PACK_BYTES,
        "a pack of {} items holds {bytes} bytes of payload",
        items.len()
    );
    Held { pack, items }
}

pub(super) fn receipts(held: &[Held]) -> Vec<Receipt> {
    held.iter().map(|held| held.pack.receipt).collect()
}

pub(super) fn items_of(held: &[Held]) -> Vec<Item> {
    held.iter().flat_map(|held| held.items.clone()).collect()
}

pub(super) fn messages(held: &[Held]) -> Vec<MessageId> {
    let items = held.iter().flat_map(|held| &held.items);
    items.map(|item| item.event.message).collect()
}

pub(super) fn messages_of(items: &[Item]) -> Vec<MessageId> {
    items.iter().map(|item| item.event.message).collect()
}

/// Every item is there, once, with all its fields, and no other.
pub(super) fn assert_holds(held: &[Held], wanted: &[Item], rule: &str) {
    let mut wanted: HashMap<MessageId, &Item> = wanted
        .iter()
        .map(|item| (item.event.message, item))
        .collect();
    for item in held.iter().flat_map(|held| &held.items) {
        let message = item.event.message;
        match wanted.remove(&message) {
            Some(original) => assert_eq!(item, original, "{rule}: {message} was altered"),
            None => panic!("{rule}: {message} came twice, or should not be there"),
        }
    }
    let missing: Vec<_> = wanted.keys().collect();
    assert!(missing.is_empty(), "{rule}: missing {missing:?}");
}
