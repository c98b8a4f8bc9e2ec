//! The log's own account of its bytes.
//!
//! It is what the scripts reckon: the bytes of members and fields, and what Redis adds to each of them. It is right
//! within some per cent for the usual sizes, and it is kept by the hour, so that the log's size is one small look-up.
//!
//! It is written after the records, and after a period was dropped: what a process that dies in between does not book
//! stays wrong until nothing of its hour, and of those before, is named any more. Then the hour leaves the account.

use std::collections::BTreeMap;

use postrider_core::ports::PortError;

use super::RedisLog;
use super::period::{self, Hour};
use crate::redis::error::Asked;

impl RedisLog {
    /// The size of the log by its own account, in bytes.
    ///
    /// # Errors
    /// Where Redis cannot be asked.
    pub async fn bytes(&self) -> Result<u64, PortError> {
        let mut command = redis::cmd("HVALS");
        command.arg(period::account(self.server.space()));
        let hours: Vec<i64> = self.ask(Asked::Read, &command).await?;
        let hours = hours.into_iter().map(|bytes| bytes.max(0).cast_unsigned());
        Ok(hours.fold(0, u64::saturating_add))
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

    /// Takes hours out of the account that nothing is left of.
    pub(super) async fn settle(&self) -> Result<(), PortError> {
        let space = self.server.space();
        let (account, directory) = (period::account(space), period::directory(space));
        let call = self.scripts.settle.call(&[&account, &directory]);
        self.run(Asked::Write, &call).await
    }
}
