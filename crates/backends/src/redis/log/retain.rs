//! Forgetting: whole periods by age, payloads by their own end, the oldest periods where there is not enough room.

use std::time::Duration;

use postrider_core::ports::PortError;
use postrider_core::time::Timestamp;

use super::period::{self, Period};
use super::{RedisLog, corrupt};
use crate::redis::error::Asked;
use crate::redis::pack::Unreadable;

/// Periods that one call forgets.
const PERIODS: usize = 20;
/// Payloads that one script call takes away.
const PAYLOADS: usize = 100;
/// A period where payloads end is looked at this often in any case: a record may have been announced just while
/// the next look was being put off.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

impl RedisLog {
    /// One batch; 0 means that nothing is left to do.
    pub(super) async fn forget(
        &self,
        now: Timestamp,
        keep_from: Timestamp,
    ) -> Result<u64, PortError> {
        let old = self.periods_until(keep_from).await?;
        if !old.is_empty() {
            return self.forget_periods(&old).await;
        }
        let shed = self.relieve().await?;
        if shed > 0 {
            return Ok(shed);
        }
        self.end_payloads(now).await
    }

    /// Periods in which nothing is younger than that, the oldest first.
    async fn periods_until(&self, keep_from: Timestamp) -> Result<Vec<Period>, PortError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(period::directory(self.server.space()));
        command.arg("-inf").arg(keep_from.as_millis());
        command.arg("LIMIT").arg(0).arg(PERIODS);
        let names: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        periods(&names)
    }

    /// The oldest periods of all applications, but for the first `from`.
    pub(super) async fn oldest(&self, from: usize, count: usize) -> Result<Vec<Period>, PortError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(period::directory(self.server.space()));
        command.arg(from).arg(from + count - 1);
        let names: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        periods(&names)
    }

    /// Returns how many rows that were, at least one for each.
    async fn forget_periods(&self, periods: &[Period]) -> Result<u64, PortError> {
        let mut forgotten = 0;
        for period in periods {
            forgotten += self.forget_period(*period).await?.0;
        }
        Ok(forgotten)
    }

    /// Returns how many rows there were, and how many bytes: 0 where it was gone.
    pub(super) async fn forget_period(&self, period: Period) -> Result<(u64, u64), PortError> {
        let keys = period.keys(self.server.space());
        let call = self.scripts.drop.call(&keys.all());
        let (rows, bytes): (u64, i64) = self.run(Asked::Write, &call).await?;
        let bytes = bytes.max(0);
        // At once: nobody else learns how much it was.
        self.book(&[(period.hour, -bytes)].into()).await;
        self.unname(period).await?;
        Ok((rows.max(1), bytes.cast_unsigned()))
    }

    /// Takes away payloads whose time is over.
    async fn end_payloads(&self, now: Timestamp) -> Result<u64, PortError> {
        loop {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(period::ends(self.server.space()));
            command.arg("-inf").arg(now.as_millis());
            command.arg("LIMIT").arg(0).arg(PERIODS);
            let names: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
            let mut touched = 0;
            for period in periods(&names)? {
                touched += self.end_payloads_in(period, now).await?;
            }
            if touched > 0 || names.is_empty() {
                return Ok(touched);
            }
        }
    }

    async fn end_payloads_in(&self, period: Period, now: Timestamp) -> Result<u64, PortError> {
        let keys = period.keys(self.server.space());
        let call = self.scripts.strip.call(&keys.all());
        let call = call.arg(now.as_millis()).arg(PAYLOADS);
        let (due, touched, grown, next): (usize, u64, i64, String) =
            self.run(Asked::Write, &call).await?;
        self.book(&[(period.hour, grown)].into()).await;
        if due < PAYLOADS {
            self.look_again(period, now, &next).await?;
        }
        Ok(touched)
    }

    /// `next` is when the next payload ends, or empty.
    async fn look_again(
        &self,
        period: Period,
        now: Timestamp,
        next: &str,
    ) -> Result<(), PortError> {
        let latest = now + LOOK_AGAIN;
        let next = next.parse().map_or(latest, |next: f64| {
            Timestamp::from_millis(next as i64).min(latest)
        });
        let mut command = redis::cmd("ZADD");
        command.arg(period::ends(self.server.space())).arg("XX");
        command.arg(next.as_millis()).arg(&period.name());
        self.ask(Asked::Write, &command).await
    }
}

fn periods(names: &[Vec<u8>]) -> Result<Vec<Period>, PortError> {
    let period = |name: &Vec<u8>| Period::named(name);
    let periods: Option<Vec<Period>> = names.iter().map(period).collect();
    periods.ok_or_else(|| corrupt(Unreadable::Field("a period's name")))
}
