//! What was given up: each letter with its own copy of the event, because the log may be shed long before.
//!
//! The letters of an application lie under its hash tag, so that filing one, with its look for an earlier one of the same
//! delivery, is one script (`put.lua`). What belongs to no application lies under the installation's.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{a<app>}db` | hash | letters by identifier: see [`letter`] |
//! | `{a<app>}dl` | sorted set | letters in the order of their identifiers, with what filters ask for |
//! | `{a<app>}dt` | sorted set | letters by their time of death |
//! | `{a<app>}de` | sorted set | endpoint, letter |
//! | `{a<app>}dp` | hash | the letter of a message and endpoint, with its chain and time of death |
//! | `{pr}dd` | sorted set | applications that have any: see [`directory`] |
//!
//! **Durable.** With `appendfsync everysec` what was written is on disk within a second, or within two where the disk is
//! slow: until then the work that a letter was made from is kept ([`RedisDeadLetters::safe_after`]).

mod directory;
mod letter;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_core::dead_letter::DeadLetter;
use postrider_core::id::{AppId, DeadLetterId, EndpointId};
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{DeadLetterFilter, DeadLetters, PortError, Probe};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue};

use self::letter::Packed;
use super::error::{Asked, told};
use super::keys::{Space, Tag};
use super::pack::Unreadable;
use super::script::{Atomic, Call};
use super::server::Server;
use super::walk::{Walk, members};

/// The port's name in messages.
const PART: &str = "dead letters";

/// After that an append-only file that is synced every second has what was written.
const SAFE_AFTER: Duration = Duration::from_secs(2);
/// Letters, and bytes, that one script call files; a larger letter goes alone.
const PORTION: usize = 64;
const PORTION_BYTES: usize = 256 * 1024;
/// Letters that one script call removes.
const REMOVED: usize = 200;
/// Rows that are read at a time: as many as the page wants, but no fewer and no more than this.
const ROWS: std::ops::RangeInclusive<usize> = 16..=256;
/// Letters that are fetched at a time: their payloads are among them.
const FETCHED: usize = 32;

/// The port [`DeadLetters`] on Redis.
#[derive(Debug)]
pub struct RedisDeadLetters {
    server: Arc<Server>,
    scripts: Scripts,
}

#[derive(Debug)]
struct Scripts {
    put: Atomic,
    remove: Atomic,
    expire: Atomic,
}

macro_rules! script {
    ($name:literal) => {
        Atomic::new(concat!(include_str!("common.lua"), include_str!($name)))
    };
}

/// The keys of one owner, in the order in which all scripts take them.
#[derive(Debug)]
struct Shelf([Vec<u8>; 5]);

impl Shelf {
    fn of(space: &Space, app: Option<AppId>) -> Self {
        let tag = app.map_or_else(Tag::installation, Tag::app);
        Self(["db", "dl", "dt", "de", "dp"].map(|kind| space.key(&tag, kind, &[])))
    }

    fn all(&self) -> [&[u8]; 5] {
        self.0.each_ref().map(Vec::as_slice)
    }

    fn bodies(&self) -> &[u8] {
        &self.0[0]
    }

    fn list(&self) -> &[u8] {
        &self.0[1]
    }

    fn ages(&self) -> &[u8] {
        &self.0[2]
    }

    fn by_endpoint(&self) -> &[u8] {
        &self.0[3]
    }
}

impl RedisDeadLetters {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        let scripts = Scripts {
            put: script!("put.lua"),
            remove: script!("remove.lua"),
            expire: script!("expire.lua"),
        };
        Self { server, scripts }
    }

    async fn ask<T: FromRedisValue>(&self, asked: Asked, command: &Cmd) -> Result<T, PortError> {
        let mut link = self.server.link(PART).await?;
        let answer = command.query_async(&mut link).await;
        answer.map_err(|error| told(PART, asked, &error))
    }

    async fn run<T: FromRedisValue>(&self, asked: Asked, call: &Call<'_>) -> Result<T, PortError> {
        let mut link = self.server.link(PART).await?;
        let answer = call.run(&mut link).await;
        answer.map_err(|error| told(PART, asked, &error))
    }

    async fn file(&self, app: Option<AppId>, letters: &[Packed]) -> Result<(), PortError> {
        let shelf = Shelf::of(self.server.space(), app);
        let mut call = self.scripts.put.call(&shelf.all());
        for letter in letters {
            call = call.arg(letter.id.as_bytes().as_slice());
            call = call.arg(letter.member.as_slice());
            call = call.arg(letter.died_at.as_millis());
            call = call
                .arg(letter.chain.as_slice())
                .arg(letter.body.as_slice());
        }
        self.run(Asked::Write, &call).await
    }

    async fn put_all(&self, owned: Owned) -> Result<(), PortError> {
        let mut filed = false;
        for (app, letters) in owned {
            let oldest = letters.iter().map(|letter| letter.died_at).min();
            let Some(oldest) = oldest else { continue };
            let named = self.name(app, oldest).await;
            named.map_err(|error| after_some(filed, error))?;
            for letters in portions(&letters) {
                let stored = self.file(app, letters).await;
                stored.map_err(|error| after_some(filed, error))?;
                filed = true;
            }
            let named = self.name(app, oldest).await;
            named.map_err(|error| after_some(filed, error))?;
        }
        Ok(())
    }

    /// Rows of the list from behind `from` on: how many there are, the last, and those that the filter may want.
    async fn rows(
        &self,
        shelf: &Shelf,
        filter: &DeadLetterFilter,
        walk: &Walk<DeadLetterId>,
        from: Option<DeadLetterId>,
        count: usize,
    ) -> Result<Rows, PortError> {
        let from = from.as_ref().map(|id| id.as_bytes().as_slice());
        let (key, prefix) = match &filter.endpoint {
            Some(endpoint) => (shelf.by_endpoint(), endpoint.as_bytes().as_slice()),
            None => (shelf.list(), [].as_slice()),
        };
        let command = members(key, prefix, from, walk.descending, count);
        let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        let read = |member: &Vec<u8>| match filter.endpoint {
            Some(_) => at_endpoint(member),
            None => letter::listed(member, filter),
        };
        let found: Result<Vec<(DeadLetterId, bool)>, Unreadable> = found.iter().map(read).collect();
        let found = found.map_err(corrupt)?;
        Ok(Rows {
            last: found
                .last()
                .map(|(id, _)| *id)
                .filter(|_| found.len() == count),
            wanted: found
                .into_iter()
                .filter(|(_, wanted)| *wanted)
                .map(|(id, _)| id)
                .collect(),
        })
    }

    /// Letters by name, in that order; those that are gone are left out.
    async fn fetch(
        &self,
        shelf: &Shelf,
        ids: &[DeadLetterId],
    ) -> Result<Vec<DeadLetter>, PortError> {
        let mut letters = Vec::with_capacity(ids.len());
        for ids in ids.chunks(FETCHED) {
            let mut command = redis::cmd("HMGET");
            command.arg(shelf.bodies());
            for id in ids {
                command.arg(id.as_bytes().as_slice());
            }
            let bodies: Vec<Option<Bytes>> = self.ask(Asked::Read, &command).await?;
            for (id, body) in ids.iter().zip(bodies) {
                let letter = body.map(|body| letter::read(*id, body)).transpose();
                letters.extend(letter.map_err(corrupt)?);
            }
        }
        Ok(letters)
    }
}

/// Letters by their owners.
type Owned = BTreeMap<Option<AppId>, Vec<Packed>>;

/// A part of a list.
#[derive(Debug)]
struct Rows {
    wanted: Vec<DeadLetterId>,
    /// Where to go on, unless this was the end.
    last: Option<DeadLetterId>,
}

fn at_endpoint(member: &[u8]) -> Result<(DeadLetterId, bool), Unreadable> {
    let (_, id) = member
        .split_first_chunk::<{ EndpointId::MIN.as_bytes().len() }>()
        .ok_or(Unreadable::Short)?;
    let id = id.try_into().map_err(|_| Unreadable::Short)?;
    Ok((DeadLetterId::from_bytes(id), true))
}

fn portions(mut letters: &[Packed]) -> Vec<&[Packed]> {
    let mut portions = Vec::new();
    while !letters.is_empty() {
        let mut bytes = 0;
        let fits = letters.iter().take(PORTION).take_while(|letter| {
            bytes += letter.body.len();
            bytes <= PORTION_BYTES
        });
        let (portion, rest) = letters.split_at(fits.count().max(1));
        portions.push(portion);
        letters = rest;
    }
    portions
}

/// What an error means after something was done already.
fn after_some(done: bool, error: PortError) -> PortError {
    if !done || !error.changed_nothing() {
        return error;
    }
    PortError::Unknown {
        part: PART,
        cause: format!("some of it was done before: {error}"),
    }
}

fn corrupt(error: Unreadable) -> PortError {
    PortError::Corrupt {
        part: PART,
        cause: error.to_string(),
    }
}

#[async_trait]
impl DeadLetters for RedisDeadLetters {
    async fn put(&self, letters: Vec<DeadLetter>) -> Result<(), PortError> {
        let mut owned = Owned::new();
        for letter in &letters {
            let letters = owned.entry(letter::owner(letter)).or_default();
            letters.push(letter::pack(letter));
        }
        self.put_all(owned).await
    }

    fn safe_after(&self) -> Duration {
        SAFE_AFTER
    }

    async fn get(
        &self,
        app: Option<AppId>,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetter>, PortError> {
        let shelf = Shelf::of(self.server.space(), app);
        let found = self.fetch(&shelf, &[id]).await?;
        Ok(found.into_iter().next())
    }

    async fn list(
        &self,
        app: Option<AppId>,
        filter: &DeadLetterFilter,
        page: Page<DeadLetterId>,
    ) -> Result<Slice<DeadLetter>, PortError> {
        let shelf = Shelf::of(self.server.space(), app);
        let walk = Walk::new(&page);
        let count = walk.wanted().clamp(*ROWS.start(), *ROWS.end());
        let mut found = Vec::new();
        let mut from = walk.from;
        loop {
            let rows = self.rows(&shelf, filter, &walk, from, count).await?;
            // No more than the page has room for.
            for ids in rows.wanted.chunks(FETCHED) {
                if found.len() < walk.wanted() {
                    let letters = self.fetch(&shelf, ids).await?;
                    let wanted = |letter: &DeadLetter| letter::wants_letter(filter, letter);
                    found.extend(letters.into_iter().filter(wanted));
                }
            }
            if rows.last.is_none() || found.len() >= walk.wanted() {
                return Ok(walk.slice(found));
            }
            from = rows.last;
        }
    }

    async fn remove(&self, app: Option<AppId>, ids: &[DeadLetterId]) -> Result<u64, PortError> {
        let shelf = Shelf::of(self.server.space(), app);
        let mut removed = 0;
        for (number, ids) in ids.chunks(REMOVED).enumerate() {
            let mut call = self.scripts.remove.call(&shelf.all());
            for id in ids {
                call = call.arg(id.as_bytes().as_slice());
            }
            let some: Result<u64, PortError> = self.run(Asked::Write, &call).await;
            removed += some.map_err(|error| after_some(number > 0, error))?;
        }
        Ok(removed)
    }

    async fn retain(&self, keep_from: Timestamp) -> Result<u64, PortError> {
        self.forget(keep_from).await
    }
}

#[async_trait]
impl Probe for RedisDeadLetters {
    /// Writes something that goes by itself: a server that is full, or a replica, refuses it.
    async fn probe(&self) -> Result<(), PortError> {
        let key = self.server.space().key(&Tag::installation(), "da", &[]);
        let mut command = redis::cmd("SET");
        command.arg(key).arg(1).arg("PX").arg(1000);
        self.ask(Asked::Write, &command).await
    }
}
