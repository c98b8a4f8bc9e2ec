//! Which periods there are: of an application, for its lists, and of all of them, for retention.
//!
//! A period is named before its first record is stored, so that there is none that nobody would ever forget. Each process
//! remembers what it has named; a period that is not there any more (it was forgotten, or Redis lost it) is noticed by
//! the script that stores records, and named again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use postrider_core::id::AppId;
use postrider_core::ports::PortError;
use postrider_core::time::Timestamp;
use tokio::time::Instant;

use super::RedisLog;
use super::period::{self, Hour, Period};
use crate::redis::error::Asked;
use crate::redis::pack::Unreadable;

/// How long a process relies on what it has named.
const RELIED_ON: Duration = Duration::from_secs(300);
/// How many periods a process remembers.
const REMEMBERED: usize = 65_536;

/// What this process has named.
#[derive(Debug, Default)]
pub(super) struct Directory {
    named: Mutex<HashMap<Period, (Timestamp, Instant)>>,
}

/// Periods, each with the time from which nothing in it is younger.
pub(super) type Youngest = BTreeMap<Period, Timestamp>;

impl Directory {
    /// Those of `periods` that have to be named.
    pub(super) fn unnamed(&self, periods: &Youngest) -> Youngest {
        let named = self.named.lock();
        let is_named = |period: &Period, younger: &Timestamp| {
            named
                .get(period)
                .is_some_and(|(then, when)| then >= younger && when.elapsed() < RELIED_ON)
        };
        let unnamed = periods
            .iter()
            .filter(|(period, younger)| !is_named(period, younger));
        unnamed
            .map(|(period, younger)| (*period, *younger))
            .collect()
    }

    fn remember(&self, periods: &Youngest) {
        let mut named = self.named.lock();
        if named.len() + periods.len() > REMEMBERED {
            named.clear();
        }
        let now = Instant::now();
        for (period, younger) in periods {
            let entry = named.entry(*period).or_insert((*younger, now));
            *entry = (entry.0.max(*younger), now);
        }
    }
}

impl RedisLog {
    /// Names periods: first where retention finds them, then where lists do.
    pub(super) async fn name(&self, periods: &Youngest) -> Result<(), PortError> {
        if periods.is_empty() {
            return Ok(());
        }
        let space = self.server.space();
        let mut all = redis::cmd("ZADD");
        all.arg(period::directory(space)).arg("GT");
        let mut by_app: BTreeMap<AppId, redis::Cmd> = BTreeMap::new();
        for (period, younger) in periods {
            all.arg(younger.as_millis()).arg(&period.name());
            let of_app = by_app.entry(period.app).or_insert_with(|| {
                let mut command = redis::cmd("ZADD");
                command
                    .arg(period::directory_of(space, period.app))
                    .arg("GT");
                command
            });
            of_app
                .arg(younger.as_millis())
                .arg(&period.hour.0.to_be_bytes());
        }
        self.ask::<()>(Asked::Write, &all).await?;
        let by_app = by_app
            .values()
            .map(|command| self.ask::<()>(Asked::Write, command));
        try_join_all(by_app).await?;
        self.directory.remember(periods);
        Ok(())
    }

    /// The hours of an application, the oldest first, each with the time from which nothing in it is younger.
    pub(super) async fn hours(&self, app: AppId) -> Result<Vec<(Hour, Timestamp)>, PortError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(period::directory_of(self.server.space(), app));
        command.arg(0).arg(-1).arg("WITHSCORES");
        let found: Vec<(Vec<u8>, f64)> = self.ask(Asked::Read, &command).await?;
        let hour = |(name, younger): (Vec<u8>, f64)| {
            let name: [u8; 4] = name.try_into().map_err(|_| Unreadable::Field("an hour"))?;
            let younger = Timestamp::from_millis(younger as i64);
            Ok((Hour(u32::from_be_bytes(name)), younger))
        };
        let hours: Result<Vec<_>, Unreadable> = found.into_iter().map(hour).collect();
        let mut hours = hours.map_err(super::corrupt)?;
        hours.sort_unstable();
        Ok(hours)
    }

    /// Takes a period out of the directories, unless somebody has stored something in it meanwhile.
    pub(super) async fn unname(&self, period: Period) -> Result<(), PortError> {
        let space = self.server.space();
        for (key, member) in [
            (
                period::directory_of(space, period.app),
                period.hour.0.to_be_bytes().to_vec(),
            ),
            (period::directory(space), period.name().to_vec()),
            (period::ends(space), period.name().to_vec()),
        ] {
            let mut command = redis::cmd("ZREM");
            command.arg(key).arg(member);
            self.ask::<()>(Asked::Write, &command).await?;
        }
        let mut command = redis::cmd("EXISTS");
        command.arg(period.keys(space).texts());
        if self.ask(Asked::Read, &command).await? {
            let younger = period.hour.end();
            self.name(&Youngest::from([(period, younger)])).await?;
            self.look_soon(period).await?;
        }
        Ok(())
    }

    /// Has retention look for ends of payloads in a period that came back: they may have been announced just before
    /// its name was taken away.
    pub(super) async fn look_soon(&self, period: Period) -> Result<(), PortError> {
        let mut command = redis::cmd("ZADD");
        command.arg(period::ends(self.server.space())).arg("LT");
        command.arg(0).arg(&period.name());
        self.ask(Asked::Write, &command).await
    }
}
