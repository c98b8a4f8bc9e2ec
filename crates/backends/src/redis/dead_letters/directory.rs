//! Who has dead letters: what retention goes by.
//!
//! A set of the installation names the owners, each with the time of its oldest letter. An owner is named before its
//! letter is filed, so that no letter is there that nobody would ever remove, and once more afterwards; retention, when
//! it has changed an owner's time, looks at its letters again. So whichever of the two comes last puts it right.

use postrider_core::id::AppId;
use postrider_core::ports::PortError;
use postrider_core::time::Timestamp;

use super::{RedisDeadLetters, Shelf};
use crate::redis::error::Asked;
use crate::redis::keys::Tag;

/// Owners that are looked at, at a time.
const OWNERS: usize = 20;
/// Letters that one script call removes.
const LETTERS: usize = 100;

impl RedisDeadLetters {
    fn directory(&self) -> Vec<u8> {
        self.server.space().key(&Tag::installation(), "dd", &[])
    }

    /// Names an owner that has, or is about to have, a letter of that time.
    pub(super) async fn name(
        &self,
        app: Option<AppId>,
        oldest: Timestamp,
    ) -> Result<(), PortError> {
        let mut command = redis::cmd("ZADD");
        command.arg(self.directory()).arg("LT");
        command.arg(oldest.as_millis()).arg(name_of(app));
        self.ask(Asked::Write, &command).await
    }

    /// One batch; 0 means that nothing is left to do.
    pub(super) async fn forget(&self, keep_from: Timestamp) -> Result<u64, PortError> {
        loop {
            let owners = self.owners_until(keep_from).await?;
            let mut removed = 0;
            for app in &owners {
                removed += self.forget_of(*app, keep_from).await?;
            }
            if removed > 0 || owners.is_empty() {
                return Ok(removed);
            }
        }
    }

    /// Owners with letters that are older.
    async fn owners_until(&self, keep_from: Timestamp) -> Result<Vec<Option<AppId>>, PortError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.directory()).arg("-inf");
        command.arg(format!("({}", keep_from.as_millis()));
        command.arg("LIMIT").arg(0).arg(OWNERS);
        let names: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        let app = |name: &Vec<u8>| name.as_slice().try_into().ok().map(AppId::from_bytes);
        Ok(names.iter().map(app).collect())
    }

    async fn forget_of(&self, app: Option<AppId>, keep_from: Timestamp) -> Result<u64, PortError> {
        let shelf = Shelf::of(self.server.space(), app);
        let call = self.scripts.expire.call(&shelf.all());
        let call = call.arg(keep_from.as_millis()).arg(LETTERS);
        let removed: u64 = self.run(Asked::Write, &call).await?;
        self.look_next_at(app, self.oldest(&shelf).await?).await?;
        if let Some(oldest) = self.oldest(&shelf).await? {
            self.name(app, oldest).await?;
        }
        Ok(removed)
    }

    /// Puts off the next look, or spares it where there is nothing to look at.
    async fn look_next_at(
        &self,
        app: Option<AppId>,
        oldest: Option<Timestamp>,
    ) -> Result<(), PortError> {
        let mut command = redis::cmd(if oldest.is_some() { "ZADD" } else { "ZREM" });
        command.arg(self.directory());
        if let Some(oldest) = oldest {
            command.arg("XX").arg(oldest.as_millis());
        }
        command.arg(name_of(app));
        self.ask(Asked::Write, &command).await
    }

    async fn oldest(&self, shelf: &Shelf) -> Result<Option<Timestamp>, PortError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(shelf.ages()).arg(0).arg(0).arg("WITHSCORES");
        let oldest: Vec<(Vec<u8>, f64)> = self.ask(Asked::Read, &command).await?;
        let died_at = oldest.first().map(|(_, died_at)| *died_at as i64);
        Ok(died_at.map(Timestamp::from_millis))
    }
}

/// Nobody's is the empty name.
fn name_of(app: Option<AppId>) -> Vec<u8> {
    app.map_or_else(Vec::new, |app| app.as_bytes().to_vec())
}
