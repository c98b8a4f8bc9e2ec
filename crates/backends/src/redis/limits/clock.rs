//! The server's clock, as far as this process knows it.
//!
//! Scripts look at it where they run. What is written without a script needs to know beforehand by how much it is ahead.

use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::time::Timestamp;
use redis::RedisResult;
use tokio::time::Instant;

use super::millis;
use crate::redis::server::Link;

/// How long one look counts: a clock may be set.
const FRESH: Duration = Duration::from_secs(1);
/// Clocks that differ by less count as the same (see `lua/entries.lua`).
const SAME: i64 = 2_000;

#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Option<(Instant, i64)>>);

impl ServerClock {
    /// By how many milliseconds the server is ahead of `now`, where somebody has looked lately.
    pub(super) fn ahead_of(&self, now: Timestamp) -> Option<i64> {
        let (looked, time) = (*self.0.lock())?;
        let since = looked.elapsed();
        if since > FRESH {
            return None;
        }
        let there = time + i64::try_from(since.as_millis()).ok()?;
        let difference = there - millis(now);
        Some(if difference.abs() < SAME {
            0
        } else {
            difference
        })
    }

    /// Does what was asked, and looks beside it where the last look was some time ago.
    pub(super) async fn beside<T>(&self, link: &Link, asked: impl Future<Output = T>) -> T {
        if self.is_stale() {
            return tokio::join!(asked, self.look(link)).0;
        }
        asked.await
    }

    async fn look(&self, link: &Link) {
        let time: RedisResult<(i64, i64)> = redis::cmd("TIME").query_async(&mut link.clone()).await;
        // Where it cannot be asked, scripts do without.
        if let Ok((seconds, micros)) = time {
            *self.0.lock() = Some((Instant::now(), seconds * 1_000 + micros / 1_000));
        }
    }

    fn is_stale(&self) -> bool {
        let looked = *self.0.lock();
        looked.is_none_or(|(looked, _)| looked.elapsed() > FRESH / 2)
    }
}
