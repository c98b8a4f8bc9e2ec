//! One queue, as far as this process has something of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures_util::FutureExt as _;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions};
use lapin::types::ShortString;
use postrider_core::ports::Receipt;

use super::delivery::Fetched;
use super::rescue::{GivenBack, Orphans};
use super::tags;
use crate::rabbitmq::topology::Source;

pub(super) struct Queue {
    pub(super) source: Source,
    pub(super) open: Option<Open>,
    pub(super) fetched: VecDeque<Fetched>,
    /// Tags that are not settled, with the pack where that is leased.
    pub(super) held: BTreeMap<u64, Option<Bytes>>,
    pub(super) given_back: GivenBack,
    /// Settled, but perhaps not known to the server yet.
    pub(super) untold: u64,
}

#[derive(Clone)]
pub(super) struct Open {
    pub(super) channel: Channel,
    pub(super) generation: u32,
    pub(super) consumer: ShortString,
    pub(super) is_consuming: bool,
}

impl Queue {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            open: None,
            fetched: VecDeque::new(),
            held: BTreeMap::new(),
            given_back: GivenBack::default(),
            untold: 0,
        }
    }

    pub(super) fn is_of(&self, generation: u32) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.generation == generation)
    }

    pub(super) fn has_leased(&self, receipt: Receipt) -> bool {
        self.is_of(receipt.generation) && matches!(self.held.get(&receipt.tag), Some(Some(_)))
    }

    /// Whether its consumer must end when leasing stops. One that has given a quarantined pack must not yet: the server
    /// would give the next to another process.
    pub(super) fn is_to_end(&self) -> bool {
        let is_consuming = self.open.as_ref().is_some_and(|open| open.is_consuming);
        let holds_back =
            self.source == Source::Quarantine && self.held.values().any(Option::is_some);
        is_consuming && !holds_back
    }

    /// Ends a consumer that was left after leasing had stopped, before what it waits for is settled.
    pub(super) fn cancel_first(&mut self) {
        if self.source != Source::Quarantine {
            return;
        }
        if let Some(open) = self.open.as_ref().filter(|open| open.is_consuming) {
            tell(
                open.channel
                    .basic_cancel(open.consumer.clone(), BasicCancelOptions::default()),
            );
        }
    }

    pub(super) fn ack(&mut self, tags: Vec<u64>) {
        self.untold += tags.len() as u64;
        let first_open = self.held.keys().next().copied();
        let Some(Open { channel, .. }) = &self.open else {
            return;
        };
        let acks = tags::coalesce(tags, first_open);
        if let Some(up_to) = acks.up_to {
            tell(channel.basic_ack(up_to, BasicAckOptions { multiple: true }));
        }
        for tag in acks.single {
            tell(channel.basic_ack(tag, BasicAckOptions::default()));
        }
    }

    pub(super) fn reject(&mut self, tags: &[u64], requeue: bool) {
        self.untold += tags.len() as u64;
        let Some(Open { channel, .. }) = &self.open else {
            return;
        };
        let options = BasicNackOptions {
            multiple: false,
            requeue,
        };
        for tag in tags {
            tell(channel.basic_nack(*tag, options));
        }
    }

    /// What was fetched and not leased goes back to the server, for others. What is set apart goes the longer way, on which
    /// its deliveries are counted anew: being put back unseen is not a sign that it kills.
    pub(super) fn put_back(&mut self) {
        let tags: Vec<u64> = self.fetched.drain(..).map(|message| message.tag).collect();
        for tag in &tags {
            self.held.remove(tag);
        }
        self.reject(&tags, self.source != Source::Quarantine);
        if let Some(open) = &mut self.open {
            open.is_consuming = false;
        }
    }

    /// The queue is gone: what is held here is all there is of it.
    pub(super) fn leave_to(&mut self, orphans: &mut Orphans, index: usize) {
        let Some(Open { generation, .. }) = self.open else {
            return;
        };
        let fetched = self.fetched.drain(..).map(|message| message.bytes);
        orphans.unleased(self.source.destination(), fetched);
        orphans.unleased(self.source.returned(), self.given_back.take());
        for (tag, pack) in std::mem::take(&mut self.held) {
            let queue = u32::try_from(index).unwrap_or(u32::MAX);
            let receipt = Receipt {
                generation,
                queue,
                tag,
            };
            if let Some(pack) = pack {
                orphans.leased(self.source, receipt, pack);
            }
        }
    }

    pub(super) fn lose(&mut self) {
        self.open = None;
        self.fetched.clear();
        self.held.clear();
        self.given_back.forget();
        self.untold = 0;
    }
}

/// Says something to the server that it does not answer. By the first poll, the client library has it, in order; the rest
/// of the future only waits until it was sent. Where that fails, the channel is lost, and with it what this was about.
fn tell(word: impl Future<Output = lapin::Result<()>>) {
    let _ = word.now_or_never();
}
