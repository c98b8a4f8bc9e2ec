//! Items, and what came of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_backends::rabbitmq::RabbitMq;
use postrider_core::envelope;
use postrider_core::id::{AppId, MessageId};
use postrider_core::message::{Event, Item, Work};
use postrider_core::ports::{Broker, Pack};
use postrider_core::samples;
use tokio::time::{sleep, timeout};

use super::support::wall_clock;

/// What may take a while on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn item_of(app: u8, payload: usize) -> Item {
    let event = Event {
        app: AppId::from_bytes([app; 20]),
        message: MessageId::new(wall_clock(), rand::random()),
        payload: Bytes::from(vec![b'x'; payload]),
        ..samples::event()
    };
    Item {
        event: Arc::new(event),
        work: Work::Match,
        maybe_dup: false,
    }
}

pub(crate) fn item() -> Item {
    item_of(2, 100)
}

pub(crate) fn items(count: usize) -> Vec<Item> {
    (0..count).map(|_| item()).collect()
}

pub(crate) fn messages(items: &[Item]) -> HashSet<MessageId> {
    items.iter().map(|item| item.event.message).collect()
}

pub(crate) fn messages_in(pack: &Pack) -> Vec<MessageId> {
    let items = envelope::decode(&pack.bytes).unwrap();
    items.iter().map(|item| item.event.message).collect()
}

/// Leases once there is something.
pub(crate) async fn lease(broker: &RabbitMq, room: usize) -> Vec<Pack> {
    let leased = timeout(PATIENCE, lease_when_ready(broker, room)).await;
    leased.expect("something to lease")
}

async fn lease_when_ready(broker: &RabbitMq, room: usize) -> Vec<Pack> {
    loop {
        let packs = broker.lease(wall_clock(), room).await.unwrap().packs;
        if !packs.is_empty() {
            return packs;
        }
        broker.wait().await;
    }
}

/// Leases and acknowledges until all of `wanted` came. Returns everything that did.
pub(crate) async fn take_all(broker: &RabbitMq, wanted: &HashSet<MessageId>) -> HashSet<MessageId> {
    let mut found = HashSet::new();
    let all = async {
        while !wanted.is_subset(&found) {
            let packs = lease_when_ready(broker, 64).await;
            found.extend(packs.iter().flat_map(messages_in));
            let receipts = packs.iter().map(|pack| pack.receipt).collect();
            broker.ack(receipts).await.unwrap();
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        let missing = wanted.difference(&found).count();
        panic!("{missing} of {} messages never came", wanted.len());
    }
    found
}

/// Looks again and again until `look` has found something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(PATIENCE, found).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Publishes one item again and again until that succeeds.
pub(crate) async fn publish_again(broker: &RabbitMq) -> Item {
    eventually("a publish that succeeds", async || {
        let item = item();
        let published = broker.publish(wall_clock(), vec![item.clone()]).await;
        published.ok().map(|()| item)
    })
    .await
}
