//! Bounds in bytes: the log's own account ([`super::account`]), and what servers say of their memory.
//!
//! Without eviction, a server that has used up its `maxmemory` refuses every write, of all ports. The log is what can be
//! done without; so it gives way before that, the oldest periods first, whichever application's they are, and in a
//! Cluster those that lie on the server which has too little room. Registry, pair records and dead letters are never
//! touched.
//!
//! **Many at once.** Every process sheds by itself. What there is to shed is read before how much is too much, and
//! whoever comes to a period that somebody else has dropped stops there and reads both again: together they shed no
//! more than one would.

use std::time::Duration;

use postrider_core::ports::PortError;
use tokio::time::{Instant, sleep};

use super::RedisLog;
use super::memory::Node;
use super::period::Period;

/// Periods that one call sheds.
const PERIODS: usize = 20;
/// Periods that are looked at, at a time, for those that lie on one server of a Cluster.
const LOOKED_AT: usize = 500;
/// How often, and for how long at most, memory that is being freed is waited for.
const FREEING: Duration = Duration::from_millis(10);
const LOOKS: u32 = 100;
/// How often a process that writes looks how much room there is.
const WATCH: Duration = Duration::from_secs(1);
/// A batch of so many bytes is seen in what a server uses, whatever others write meanwhile.
const SEEN: u64 = 1024 * 1024;

/// What was shed.
#[derive(Debug, Default)]
struct Shed {
    rows: u64,
    bytes: u64,
}

impl RedisLog {
    /// Sheds the oldest periods where there is too much. Returns how many rows those were.
    pub(super) async fn relieve(&self) -> Result<u64, PortError> {
        let shed = self.relieve_account().await?;
        if shed > 0 {
            return Ok(shed);
        }
        self.relieve_nodes().await
    }

    /// What this process writes may fill a server between two sweeps; then others could write nothing until the next.
    pub(super) async fn watch_room(&self) {
        {
            let mut looked = self.looked.lock();
            if looked.is_some_and(|last| last.elapsed() < WATCH) {
                return;
            }
            *looked = Some(Instant::now());
        }
        if let Err(error) = self.relieve_nodes().await {
            tracing::debug!(%error, "it is not known how much room the delivery log has");
        }
    }

    async fn relieve_nodes(&self) -> Result<u64, PortError> {
        for node in self.nodes().await? {
            let shed = self.relieve_node(&node).await?;
            if shed > 0 {
                return Ok(shed);
            }
        }
        Ok(0)
    }

    /// Sheds periods of one hour at most: where the account of it is wrong, that is known once they are gone.
    async fn relieve_account(&self) -> Result<u64, PortError> {
        let mut periods = self.oldest(0, PERIODS).await?;
        self.settle().await?;
        let Some(limit) = self.options.max_bytes else {
            return Ok(0);
        };
        let excess = self.bytes().await?.saturating_sub(limit);
        if let Some(hour) = periods.first().map(|period| period.hour) {
            periods.retain(|period| period.hour == hour);
        }
        Ok(self.shed(&periods, excess).await?.rows)
    }

    async fn relieve_node(&self, node: &Node) -> Result<u64, PortError> {
        // Looking for periods is not for nothing.
        if self.excess_of(node).await? == 0 {
            return Ok(0);
        }
        let periods = self.oldest_on(node).await?;
        let excess = self.excess_of(node).await?;
        let shed = self.shed(&periods, excess).await?;
        if shed.bytes >= SEEN && self.excess_of(node).await? >= excess {
            tracing::warn!(
                shed.bytes,
                excess,
                "shedding the delivery log makes no room"
            );
            return Ok(0);
        }
        Ok(shed.rows)
    }

    async fn shed(&self, periods: &[Period], excess: u64) -> Result<Shed, PortError> {
        let mut shed = Shed::default();
        for period in periods {
            if shed.bytes >= excess {
                break;
            }
            let (rows, bytes) = self.forget_period(*period).await?;
            self.counts.shed.add(rows);
            shed.rows += rows;
            shed.bytes += bytes;
            if bytes == 0 {
                // Somebody else was there.
                break;
            }
        }
        Ok(shed)
    }

    /// The oldest periods that lie there.
    async fn oldest_on(&self, node: &Node) -> Result<Vec<Period>, PortError> {
        if node.holds_all() {
            return self.oldest(0, PERIODS).await;
        }
        let mut there = Vec::new();
        let mut from = 0;
        loop {
            let some = self.oldest(from, LOOKED_AT).await?;
            let count = some.len();
            let space = self.server.space();
            there.extend(some.into_iter().filter(|period| node.holds(*period, space)));
            from += count;
            if count < LOOKED_AT || there.len() >= PERIODS {
                there.truncate(PERIODS);
                return Ok(there);
            }
        }
    }

    /// How much too much a server uses. What is being freed in the background is waited for: it would count as used.
    async fn excess_of(&self, node: &Node) -> Result<u64, PortError> {
        for _ in 0..LOOKS {
            let memory = self.memory(node).await?;
            let excess = memory.excess(self.options.shed_at);
            if excess == 0 || !memory.freeing {
                return Ok(excess);
            }
            sleep(FREEING).await;
        }
        Ok(0)
    }
}
