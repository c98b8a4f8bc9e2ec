//! Where an item belongs.
//!
//! The routing key says it, from the first publish to the last retry: an application's events go to two of the shards,
//! so that one that floods fills two queues and not the fleet's, and two applications seldom share both. Which of the two
//! is decided by when the message was made, a quarter of a second each: what comes at the same time travels in one pack
//! instead of two, and RabbitMQ is paid by the pack. All work for a message has one key, whoever computes it and whenever: the
//! hash below never changes. Large payloads have queues of their own, because RabbitMQ bounds what is prefetched by count, not by
//! bytes.

use std::fmt;

use postrider_core::ladder;
use postrider_core::message::{Item, Work};
use postrider_core::ports::{HandOff, PortError, Until};
use postrider_core::schedule::MAX_DELAY;
use postrider_core::time::Timestamp;

/// Queues that share all events but the large ones.
pub(super) const SHARDS: u8 = 8;
/// Queues that share events with large payloads.
pub(super) const LARGE_SHARDS: u8 = 4;
/// A payload above this many bytes is large.
pub(super) const LARGE_FROM: usize = 32 * 1024;

/// A routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// `0` to `7`.
    Shard(u8),
    /// `l0` to `l3`.
    Large(u8),
    /// `dead`: what was given up and is to be filed.
    Dead,
}

impl Key {
    /// Every key that events have.
    pub(super) fn of_events() -> impl Iterator<Item = Self> {
        let shards = (0..SHARDS).map(Self::Shard);
        shards.chain((0..LARGE_SHARDS).map(Self::Large))
    }

    pub(super) fn of(item: &Item) -> Self {
        if matches!(item.work, Work::Dead(_)) {
            return Self::Dead;
        }
        let event = &*item.event;
        let (app, message) = (event.app.as_bytes(), event.message.as_bytes());
        if event.payload.len() > LARGE_FROM {
            Self::Large(one_of_two(app, message, LARGE_SHARDS))
        } else {
            Self::Shard(one_of_two(app, message, SHARDS))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "{shard}"),
            Self::Large(shard) => write!(f, "l{shard}"),
            Self::Dead => f.write_str("dead"),
        }
    }
}

/// The message's choice among the two different shards of its application.
fn one_of_two(app: &[u8], message: &[u8; 20], shards: u8) -> u8 {
    let hash = hash(app);
    let shards = u64::from(shards);
    let first = hash % shards;
    let other = (first + 1 + (hash >> 32) % (shards - 1)) % shards;
    let chosen = if is_of_an_even_quarter(message) {
        first
    } else {
        other
    };
    u8::try_from(chosen).unwrap_or_default()
}

/// An identifier begins with four bytes of seconds and one of steps of 4 ms: 64 of these are 256 ms.
const fn is_of_an_even_quarter(message: &[u8; 20]) -> bool {
    (message[4] >> 6).is_multiple_of(2)
}

/// FNV-1a (64 bits), and the finalizer of `MurmurHash3` over it, since FNV's low bits alone are poor.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// What takes a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Exchange {
    Events,
    Retry,
    /// A step of the ladder.
    Delay(usize),
    Dead,
    Quarantine,
    /// Where a consumer's rejections go: to be published to only where there is nothing left to reject.
    Returned,
    QuarantineReturned,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("pr.v1.events"),
            Self::Retry => f.write_str("pr.v1.retry"),
            Self::Delay(step) => write!(f, "pr.v1.delay.{step}"),
            Self::Dead => f.write_str("pr.v1.dead"),
            Self::Quarantine => f.write_str("pr.v1.quarantine"),
            Self::Returned => f.write_str("pr.v1.returned"),
            Self::QuarantineReturned => f.write_str("pr.v1.quarantine.returned"),
        }
    }
}

/// Items with one destination may share a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) exchange: Exchange,
    pub(super) key: Key,
}

impl Destination {
    /// Of what is ready at once and was not there before.
    pub(super) fn published(item: &Item) -> Self {
        Self::ready(item, Exchange::Events)
    }

    /// Of work that is handed off: ready at once, or on the ladder. `coin` is the jitter.
    pub(super) fn handed_off(
        hand_off: &HandOff,
        now: Timestamp,
        coin: bool,
    ) -> Result<Self, PortError> {
        let step = match hand_off.until {
            Until::Now => None,
            Until::Exactly(due) if due <= now => None,
            Until::Exactly(due) => Some(ladder::step_towards(due.since(now))),
            Until::After(delay) => Some(ladder::jittered_step(delay, coin)),
        };
        let item = &hand_off.item;
        match step {
            None => Ok(Self::ready(item, Exchange::Retry)),
            Some(Some(step)) => Ok(Self {
                exchange: Exchange::Delay(step),
                key: Key::of(item),
            }),
            Some(None) => Err(PortError::Invalid(format!(
                "work can be put off by {} days at most",
                MAX_DELAY.as_secs() / 86_400
            ))),
        }
    }

    fn ready(item: &Item, exchange: Exchange) -> Self {
        let key = Key::of(item);
        let exchange = if key == Key::Dead {
            Exchange::Dead
        } else {
            exchange
        };
        Self { exchange, key }
    }
}

#[cfg(test)]
mod tests;
