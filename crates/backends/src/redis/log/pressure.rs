//! Bounds in bytes: the log's own account, and what servers say of their memory.
//!
//! **The account** is what the scripts reckon: the bytes of members and fields, and what Redis adds to each of them.
//! It is right within some per cent for the usual sizes, and it is kept by the hour, so that the log's size is one
//! small look-up. It is written after the records: what a process that dies in between does not book is missing until
//! its hour is forgotten.
//!
//! **Pressure.** Without eviction, a server that has used up its `maxmemory` refuses every write, of all ports. The log
//! is what can be done without; so it gives way before that, the oldest periods first, whichever application's they are.
//! Registry, pair records and dead letters are never touched.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_core::ports::PortError;
use redis::Value;
use tokio::time::sleep;

use super::period::{self, Hour};
use super::{RedisLog, corrupt};
use crate::redis::error::Asked;

/// Periods that one call sheds.
const PERIODS: usize = 20;
/// How often, and for how long at most, memory that is being freed is waited for.
const FREEING: Duration = Duration::from_millis(10);
const LOOKS: u32 = 100;

/// What a server says of its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Memory {
    used: u64,
    /// 0 where there is none.
    limit: u64,
    /// Something that was forgotten is still being freed.
    freeing: bool,
}

impl Memory {
    fn read(info: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let value = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value?.trim().parse().ok()
        };
        Some(Self {
            used: number("used_memory")?,
            limit: number("maxmemory")?,
            freeing: number("lazyfree_pending_objects").is_some_and(|pending| pending > 0),
        })
    }

    /// How many bytes there are too many.
    fn excess(self, shed_at: f64) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        self.used
            .saturating_sub((self.limit as f64 * shed_at) as u64)
    }
}

impl RedisLog {
    /// The size of the log by its own account, in bytes.
    ///
    /// # Errors
    /// Where Redis cannot be asked.
    pub async fn bytes(&self) -> Result<u64, PortError> {
        let mut command = redis::cmd("HVALS");
        command.arg(period::account(self.server.space()));
        let hours: Vec<i64> = self.ask(Asked::Read, &command).await?;
        Ok(hours.into_iter().sum::<i64>().max(0).cast_unsigned())
    }

    /// Notes by how much hours grew. Nothing depends on the account being exact, so a failure is no failure of what
    /// was done.
    pub(super) async fn book(&self, grown: &BTreeMap<Hour, i64>) {
        let account = period::account(self.server.space());
        let mut call = self.scripts.account.call(&[&account]);
        for (hour, bytes) in grown {
            call = call.arg(hour.0).arg(*bytes);
        }
        if let Err(error) = self.run::<()>(Asked::Write, &call).await {
            tracing::debug!(%error, "the delivery log's account misses a few bytes");
        }
    }

    /// Sheds the oldest periods where there is too much. Returns how many rows those were.
    pub(super) async fn relieve(&self) -> Result<u64, PortError> {
        let excess = self.beyond_limit().await?.max(self.beyond_memory().await?);
        let mut shed = 0;
        let mut freed = 0;
        if excess == 0 {
            return Ok(0);
        }
        for period in self.oldest(PERIODS).await? {
            let (rows, bytes) = self.forget_period(period).await?;
            shed += rows;
            freed += bytes.max(0).cast_unsigned();
            if freed >= excess {
                break;
            }
        }
        Ok(shed)
    }

    async fn beyond_limit(&self) -> Result<u64, PortError> {
        match self.options.max_bytes {
            None => Ok(0),
            Some(limit) => Ok(self.bytes().await?.saturating_sub(limit)),
        }
    }

    /// Of the server that has least room. What is being freed in the background is waited for: it would count as used.
    async fn beyond_memory(&self) -> Result<u64, PortError> {
        for _ in 0..LOOKS {
            let memory = self.memory().await?;
            let excess = memory
                .iter()
                .map(|memory| memory.excess(self.options.shed_at))
                .max();
            let excess = excess.unwrap_or_default();
            if excess == 0 || !memory.iter().any(|memory| memory.freeing) {
                return Ok(excess);
            }
            sleep(FREEING).await;
        }
        Ok(0)
    }

    /// Of every server, those of a Cluster that hold masters.
    async fn memory(&self) -> Result<Vec<Memory>, PortError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let answer: Value = self.ask(Asked::Read, &command).await?;
        let texts: Vec<String> = match answer {
            Value::Map(nodes) => nodes.into_iter().map(|(_, info)| text(info)).collect(),
            info => vec![text(info)],
        };
        let memory: Option<Vec<Memory>> = texts.iter().map(|info| Memory::read(info)).collect();
        memory.ok_or_else(|| corrupt("INFO memory does not tell how much memory is used"))
    }
}

fn text(value: Value) -> String {
    redis::from_redis_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Memory\r\nused_memory:900\r\nused_memory_human:900B\r\nmaxmemory:1000\r\n\
                        maxmemory_policy:noeviction\r\nlazyfree_pending_objects:2\r\n";

    #[test]
    fn a_server_tells_how_much_is_too_much() {
        let memory = Memory::read(INFO).unwrap();
        let wanted = Memory {
            used: 900,
            limit: 1000,
            freeing: true,
        };
        assert_eq!(memory, wanted);
        assert_eq!(memory.excess(0.8), 100);
        assert_eq!(memory.excess(0.95), 0);
        assert_eq!(Memory { limit: 0, ..memory }.excess(0.8), 0);
        assert_eq!(Memory::read("# Memory\r\n"), None);
    }
}
