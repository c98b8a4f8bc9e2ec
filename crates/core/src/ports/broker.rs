//! Durable work.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{PortError, Probe};
use crate::message::Item;
use crate::time::Timestamp;

/// A broker keeps items of work until somebody has settled them.
///
/// ```text
///  publish ──▶ ready ──lease──▶ leased ──ack──▶ gone
///                ▲                │
///                ├────────────────┤ the holder's death: at once, `redelivered`
///                ├── RETURN_DELAY ┤ give_back: later, `returned`
///                └─ quarantine ───┘ quarantine: one at a time, by itself
///  hand_off ──▶ waiting ──time──▶ ready
/// ```
///
/// **Durability.** `publish` and `hand_off` return `Ok` once every item would survive the death of this
/// process and, where the broker is replicated, of a minority of its nodes. An item leaves the broker by
/// `ack` alone. `ack`, `give_back` and `quarantine` may be lost with the process: the pack comes again then. `ack` and
/// `quarantine` can no longer be lost once `depth` does not count the pack as leased any more, or once `close` has
/// returned.
///
/// **At least once.** Whatever is leased and not settled when its holder dies becomes ready again, and says
/// so: `redelivered` is set on every pack that may have been leased before. It may be set on others, too.
///
/// **Packs.** Items travel in packs ([`crate::envelope`]): what is leased and settled is a pack. The broker
/// forms them as it likes within the bounds of the envelope; items published by one call may share a pack
/// and may not.
///
/// **Order.** None is promised.
#[async_trait]
pub trait Broker: Probe {
    /// Makes items durable and ready. Fails before acceptance, never after: on `Unavailable` and `Full`
    /// nothing was published, on `Unknown` anything between nothing and everything.
    async fn publish(&self, now: Timestamp, items: Vec<Item>) -> Result<(), PortError>;

    /// Takes up to `room` packs that are ready at `now`, without waiting. Nobody else gets them while this
    /// process (for a networked broker: this connection) lives. Quarantined packs come one at a time: a lease
    /// that yields one yields nothing else, and as long as it is held no holder is given another. Other work
    /// goes on meanwhile. A call that is dropped before it ends holds nothing.
    async fn lease(&self, now: Timestamp, room: usize) -> Result<Leased, PortError>;

    /// Completes when `lease` may yield more than it did the last time for a reason other than the passing of
    /// time: something was published, handed off with an earlier due time, or returned. May complete without
    /// reason. A call made after the event completes at once: nothing is missed between `lease` and `wait`.
    /// Where something waits and the last `lease` could not say until when ([`Leased::next_due`]), it completes
    /// when that is ready, too. `close` completes it, and so it is from then on.
    async fn wait(&self);

    /// Makes items durable, to become ready at a later time: see [`Until`]. Never early, but for what is said there.
    async fn hand_off(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError>;

    /// The same, each in a pack that nothing else shares: one of them ends whoever touches it, and nobody else may come to
    /// its end with it.
    async fn hand_off_singly(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError>;

    /// Removes packs: all their work is done, or durable elsewhere. Acknowledging a pack that is no longer
    /// held (settled before, or leased by a process that died) is not an error and touches no other pack; where
    /// it was not settled, it will come again. The same holds for `give_back`.
    async fn ack(&self, receipts: Vec<Receipt>) -> Result<(), PortError>;

    /// Puts packs back whole, for when nothing can be written: works when `publish` and `hand_off` do not.
    /// They come again after about [`RETURN_DELAY`] (give or take two seconds), `returned`.
    async fn give_back(&self, now: Timestamp, receipts: Vec<Receipt>) -> Result<(), PortError>;

    /// Sets a pack apart, because it was delivered too often without being settled: whoever touches it dies.
    /// It comes again from [`Source::Quarantine`], its deliveries counted anew.
    async fn quarantine(&self, now: Timestamp, pack: &Pack) -> Result<(), PortError>;

    /// How much is there. May lag behind by a few seconds.
    async fn depth(&self, now: Timestamp) -> Result<Depth, PortError>;

    fn capabilities(&self) -> BrokerCapabilities;

    /// The queues that packs come from, in the order in which [`Receipt::queue`] numbers them. Always the same.
    fn windows(&self) -> Vec<Window>;

    /// Says that no `lease` will follow, so that what was fetched ahead of one can go to others at once; what is
    /// leased stays so. Later leases yield nothing. Doing it twice is doing it once.
    async fn stop_leasing(&self);

    /// Settles what was asked for and lets go of the rest. Every later call fails, but for `wait`, which
    /// completes. Closing twice is closing once.
    async fn close(&self);
}

/// How long a returned pack stays away.
pub const RETURN_DELAY: Duration = Duration::from_secs(30);

/// What brokers differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerCapabilities {
    /// Several processes may lease from it at once.
    pub shared: bool,
    /// How far an exact time ([`Until::Exactly`]) may be overshot.
    pub exact_within: Duration,
    /// `depth` counts what other processes hold. Where a broker cannot know that, each process counts what it holds itself,
    /// leased or fetched ahead of a lease: beside what nobody holds, which all of them count, their sum is the whole.
    pub counts_others: bool,
}

/// A queue that packs come from, and how much of it one process may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// As the broker names it: one of a small and fixed set.
    pub queue: String,
    /// Packs that may be out at once, leased or fetched ahead of a lease; while all are, the queue yields nothing. `None`: the
    /// broker sets no bound of its own.
    pub packs: Option<usize>,
}

/// What a lease yielded.
#[derive(Debug, Default)]
pub struct Leased {
    pub packs: Vec<Pack>,
    /// When the next pack becomes ready by the passing of time, where the broker knows; `wait` does not tell.
    pub next_due: Option<Timestamp>,
}

/// Work that is held, as bytes: a pack that kills its reader must be countable without being read.
#[derive(Debug, Clone)]
pub struct Pack {
    pub receipt: Receipt,
    /// For [`crate::envelope::decode`].
    pub bytes: Bytes,
    pub source: Source,
    /// May have been held before by somebody who did not settle it.
    pub redelivered: bool,
    /// Came back by `give_back`: some of its targets may be settled.
    pub returned: bool,
    /// How often it was delivered before without being settled, as far as the broker knows. A broker may count
    /// deliveries whose holder merely died beside it. It may miss one delivery, never more: from the second holder
    /// that dies with a pack, each raises the count. Quarantine counts anew, from 0.
    pub earlier_deliveries: u32,
}

/// Where a pack was waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The work queues.
    Work,
    /// Set apart by `quarantine`.
    Quarantine,
}

/// What settles a pack. Meaningful only to the broker that gave it, while its process (or connection) lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Which connection or process generation gave it.
    pub generation: u32,
    /// Which queue it came from: its place in [`Broker::windows`].
    pub queue: u32,
    pub tag: u64,
}

/// An item and when it is to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOff {
    pub item: Item,
    pub until: Until,
}

/// When handed-off work becomes ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At once: the same work in another form, split into chunks or given up.
    Now,
    /// After this delay with jitter: within [d, 1.42 d] of `now`, or of a broker's shortest delay where that is
    /// longer (it is at most `exact_within`).
    After(Duration),
    /// At this time, overshot by at most the broker's `exact_within`. A broker may deliver the item earlier
    /// where it approaches a time in steps: whoever leases a target before it is due hands it off again. Each step
    /// takes at least half of what was left, and [`crate::ladder::MAX_HOPS`] are enough. A time that has passed is
    /// due now.
    Exactly(Timestamp),
}

/// How much work there is, in packs, each counted once; what other processes hold only where
/// [`BrokerCapabilities::counts_others`] says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready now, whether or not a client has fetched it ahead of a `lease`.
    pub ready: u64,
    /// Waiting for a time, handed off or given back.
    pub waiting: u64,
    /// Held by somebody (see [`BrokerCapabilities::counts_others`]), from whichever source.
    pub leased: u64,
    /// Set apart and not held.
    pub quarantined: u64,
}
