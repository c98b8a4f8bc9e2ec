//! What is left of a queue that somebody has deleted.
//!
//! Packs that had been delivered to this process exist nowhere else then:
//!
//! | pack | becomes |
//! |---|---|
//! | fetched ahead of a lease | published again, at once |
//! | leased, then acknowledged | done |
//! | leased, then given back | published again, to come when what is given back comes |
//! | given back, shortly before the deletion was noticed | the same: the server may have had no queue to take it from |
//!
//! They are marked as held before, so that whoever gets them claims each delivery first. What is here when this process is
//! killed, or loses its connection in the same moment, is lost with the queue.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::ports::Receipt;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::super::routing::Destination;
use super::super::shared::Shared;
use super::super::topology::Source;
use super::Desk;

/// In one go; each of them may have 64 KiB.
const BATCH: usize = 64;
const AGAIN: Duration = Duration::from_millis(500);

/// How long a server may take to tell a consumer that its queue is gone.
const NOTICE: Duration = Duration::from_secs(5);
/// More are given back in that time only where almost everything fails.
const REMEMBERED: usize = 256;

/// Packs that the server was told to take back a moment ago.
#[derive(Debug, Default)]
pub(super) struct GivenBack(VecDeque<(Instant, Bytes)>);

impl GivenBack {
    pub(super) fn keep(&mut self, now: Instant, pack: Bytes) {
        self.expire(now);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((now, pack));
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Bytes> {
        self.expire(Instant::now());
        let packs = std::mem::take(&mut self.0).into_iter();
        packs.map(|(_, pack)| pack)
    }

    fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|(at, _)| *at + NOTICE < now) {
            self.0.pop_front();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Orphans {
    leased: HashMap<Receipt, (Source, Bytes)>,
    /// To be published again.
    homeless: Vec<(Destination, Bytes)>,
}

impl Orphans {
    pub(super) fn unleased(&mut self, to: Destination, packs: impl Iterator<Item = Bytes>) {
        self.homeless.extend(packs.map(|pack| (to, pack)));
    }

    pub(super) fn leased(&mut self, source: Source, receipt: Receipt, pack: Bytes) {
        self.leased.insert(receipt, (source, pack));
    }

    pub(super) fn has(&self, receipt: Receipt) -> bool {
        self.leased.contains_key(&receipt)
    }

    pub(super) fn acked(&mut self, receipts: &[Receipt]) {
        if !self.leased.is_empty() {
            receipts.iter().for_each(|receipt| {
                self.leased.remove(receipt);
            });
        }
    }

    /// Whether any of these were orphans.
    pub(super) fn given_back(&mut self, receipts: &[Receipt]) -> bool {
        let before = self.homeless.len();
        for receipt in receipts {
            let orphan = self.leased.remove(receipt);
            let orphan = orphan.map(|(source, pack)| (source.returned(), pack));
            self.homeless.extend(orphan);
        }
        self.homeless.len() > before
    }
}

impl Desk {
    fn homeless(&self) -> Vec<(Destination, Bytes)> {
        let inner = self.inner.lock();
        inner.orphans.homeless.iter().take(BATCH).cloned().collect()
    }

    fn housed(&self, count: usize) {
        self.inner.lock().orphans.homeless.drain(..count);
        self.orphaned.notify_waiters();
    }

    /// Completes when everything that had to be published again was.
    pub(in super::super) async fn rescued(&self) {
        loop {
            let changed = self.orphaned.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.inner.lock().orphans.homeless.is_empty() {
                return;
            }
            changed.await;
        }
    }

    async fn orphaned(&self) {
        loop {
            let changed = self.orphaned.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.inner.lock().orphans.homeless.is_empty() {
                return;
            }
            changed.await;
        }
    }
}

/// Publishes again what is left of deleted queues, until `closing`.
pub(in super::super) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = rescue(&shared) => {}
        () = shared.closing.cancelled() => {}
    }
}

async fn rescue(shared: &Shared) {
    let mut complained = false;
    loop {
        shared.desk.orphaned().await;
        let packs = shared.desk.homeless();
        let count = packs.len();
        match shared.publisher.rescue(packs).await {
            Ok(()) => {
                shared.desk.housed(count);
                complained = false;
                info!(
                    packs = count,
                    "packs that this process had of a deleted queue were published again"
                );
            }
            Err(error) => {
                if !complained {
                    warn!(%error, "packs that this process has of a deleted queue cannot be published again yet");
                }
                complained = true;
                sleep(AGAIN).await;
            }
        }
    }
}
