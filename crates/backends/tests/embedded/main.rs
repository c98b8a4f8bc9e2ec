//! What the embedded engine promises beyond the contracts of the ports: one process at a time, backups of a live
//! file, a full disk survived, and memory that does not grow with the backlog.
#![cfg(feature = "embedded")]
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

mod backlog;
mod backup;
mod crash;
mod full;
mod golden;
mod lists;
mod opening;

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::id::MessageId;
use postrider_core::message::{Event, Item, Work};
use postrider_core::ports::{Broker, Pack};
use postrider_core::samples::{self, NOW};
use postrider_core::{envelope, id};

/// An item with a message of its own.
fn item(payload: usize) -> Item {
    let random: [u8; id::RANDOM_LEN] = rand::random();
    let event = Event {
        message: MessageId::new(NOW, random),
        payload: Bytes::from(vec![b'x'; payload]),
        ..samples::event()
    };
    Item {
        event: Arc::new(event),
        work: Work::Match,
        maybe_dup: false,
    }
}

fn messages(pack: &Pack) -> Vec<MessageId> {
    let items = envelope::decode(&pack.bytes).unwrap();
    items.iter().map(|item| item.event.message).collect()
}

/// Leases and acknowledges until nothing is ready.
async fn drain(broker: &dyn Broker, room: usize) -> Vec<MessageId> {
    let mut found = Vec::new();
    loop {
        let packs = broker.lease(NOW, room).await.unwrap().packs;
        if packs.is_empty() {
            return found;
        }
        found.extend(packs.iter().flat_map(messages));
        broker
            .ack(packs.iter().map(|pack| pack.receipt).collect())
            .await
            .unwrap();
    }
}

/// Runs `count` tasks at the same time, and returns what they returned.
async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    task: impl Fn(usize) -> F,
) -> Vec<T> {
    let running: Vec<_> = (0..count).map(|index| tokio::spawn(task(index))).collect();
    let mut results = Vec::new();
    for task in running {
        results.push(task.await.unwrap());
    }
    results
}
