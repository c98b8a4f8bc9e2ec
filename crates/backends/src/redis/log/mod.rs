//! The history of messages and attempts: as small as it can be kept and still be listed.
//!
//! Redis holds everything in memory, and what it adds to each key and each member of a set is more than the record of
//! an attempt. So one sorted set is record, order and look-up at once: a message with its payload is one member, what
//! became of it at its endpoints another behind it; only the list by endpoint has members of its own ([`period`] shows all
//! keys). What many records share is kept once ([`texts`]), times are distances ([`super::pack`]), payloads are compressed
//! where that helps.
//!
//! **Periods.** An application's log is partitioned by the hour, so that a big application is not one slot of a
//! Cluster, and forgetting means dropping keys ([`retain`]). Directories tell which periods exist; they are written
//! before a period's first record, so that none can be there unknown ([`directory`]).
//!
//! **Plain commands** store most of the log: what is new, and refers to nothing that would have to be compared ([`plain`]).
//!
//! **Scripts.** Other records of one period are stored by one script call, in portions that are short enough for everybody
//! else who waits on the server ([`draft`], [`record`]). Each portion is all or nothing; where a later one fails, the answer is
//! `Unknown`, and repeating it changes nothing but what is missing.
//!
//! **Bounds.** The log keeps an account of its bytes ([`account`]). Beyond its limit, or where the server runs out of memory, the oldest
//! periods go ([`pressure`]).

mod account;
mod attempted;
mod by_endpoint;
mod directory;
mod draft;
mod expunge;
mod filter;
mod found;
#[cfg(test)]
mod golden;
mod kinds;
mod lists;
mod memory;
mod message;
mod period;
mod plain;
mod pressure;
mod read;
mod record;
mod retain;
mod scripts;
mod texts;
mod trail;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    AttemptFilter, AttemptScope, Attempted, AttemptedFilter, DeliveryLog, Destination, LogRecord,
    MessageFilter, MessageKey, MessageKind, PortError, Probe, Tally,
};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue};
use tokio::time::Instant;

use self::directory::Directory;
use self::scripts::Scripts;
use self::texts::Ref;
use super::counts::LogCounts;
use super::error::{Asked, told};
use super::script::Call;
use super::server::Server;

/// The port's name in messages.
const PART: &str = "the delivery log";

/// How much of the past is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// For how long records are kept: what `retain` will be asked for. Payloads that end earlier are watched.
    pub retention: Duration,
    /// The oldest periods go while the log is larger than this, by its own account.
    pub max_bytes: Option<u64>,
    /// The oldest periods go while a server uses more than this share of its `maxmemory`, where it has one.
    pub shed_at: f64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(72 * 3600),
            max_bytes: Some(4 * 1024 * 1024 * 1024),
            shed_at: 0.8,
        }
    }
}

/// The port [`DeliveryLog`] on Redis.
#[derive(Debug)]
pub struct RedisLog {
    server: Arc<Server>,
    options: LogOptions,
    scripts: Scripts,
    directory: Directory,
    counts: Arc<LogCounts>,
    /// When this process last looked how much room there is.
    looked: Mutex<Option<Instant>>,
}

/// What records refer to.
#[derive(Debug, Default)]
struct Known {
    texts: HashMap<Ref, Bytes>,
    /// By message or attempt.
    apart: HashMap<[u8; 20], Bytes>,
}

impl RedisLog {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(server: Arc<Server>, options: LogOptions) -> Self {
        Self {
            server,
            options,
            scripts: Scripts::default(),
            directory: Directory::default(),
            counts: Arc::default(),
            looked: Mutex::default(),
        }
    }

    /// What this process has seen of it.
    #[must_use]
    pub fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
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
}

/// What is shed is freed in the background, so that a server may be full for a moment longer.
const TRIES: u32 = 3;

fn corrupt(error: impl std::fmt::Display) -> PortError {
    PortError::Corrupt {
        part: PART,
        cause: error.to_string(),
    }
}

#[async_trait]
impl DeliveryLog for RedisLog {
    async fn record(&self, records: Vec<LogRecord>) -> Result<(), PortError> {
        let mut shed = 0;
        for _ in 0..TRIES {
            let stored = self.store(&records).await;
            if stored.is_ok() {
                self.watch_room().await;
            }
            if !matches!(stored, Err(PortError::Full { .. })) {
                return stored;
            }
            // Until somebody sheds as a matter of routine nobody could write anything.
            shed += self.relieve().await?;
            if shed == 0 {
                return stored;
            }
        }
        self.store(&records).await
    }

    async fn message(
        &self,
        app: AppId,
        key: &MessageKey,
    ) -> Result<Option<MessageRecord>, PortError> {
        match key {
            MessageKey::Id(id) => self.message_by_id(app, *id).await,
            MessageKey::EventId(event_id) => self.message_by_event_id(app, event_id).await,
        }
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageRecord>, PortError> {
        self.list_messages(app, filter, &page).await
    }

    async fn kinds(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
        page: Page<MessageId>,
    ) -> Result<Slice<MessageKind>, PortError> {
        self.list_kinds(app, (from, until), &page).await
    }

    async fn attempt(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<Option<AttemptRecord>, PortError> {
        self.attempt_of(app, message, attempt).await
    }

    async fn attempts(
        &self,
        app: AppId,
        scope: AttemptScope,
        filter: &AttemptFilter,
        page: Page<AttemptId>,
    ) -> Result<Slice<AttemptRecord>, PortError> {
        match scope {
            AttemptScope::Endpoint(endpoint) => {
                self.list_attempts(app, endpoint, filter, &page).await
            }
            AttemptScope::Message(message) => self.attempts_of(app, message, filter, &page).await,
        }
    }

    async fn destinations(
        &self,
        app: AppId,
        message: MessageId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Destination>, PortError> {
        self.destinations_of(app, message, &page).await
    }

    async fn attempted(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        page: Page<MessageId>,
    ) -> Result<Slice<Attempted>, PortError> {
        self.list_attempted(app, endpoint, filter, &page).await
    }

    async fn tally(
        &self,
        app: AppId,
        endpoint: EndpointId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Tally, PortError> {
        self.tally_of(app, endpoint, from, until).await
    }

    async fn expunge_response(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> Result<bool, PortError> {
        self.expunge(app, message, attempt).await
    }

    async fn retain(&self, now: Timestamp, keep_from: Timestamp) -> Result<u64, PortError> {
        self.forget(now, keep_from).await
    }
}

#[async_trait]
impl Probe for RedisLog {
    /// Writes something that goes by itself: a server that is full, or a replica, refuses it.
    async fn probe(&self) -> Result<(), PortError> {
        let key = self
            .server
            .space()
            .key(&super::keys::Tag::installation(), "hp", &[]);
        let mut command = redis::cmd("SET");
        command.arg(key).arg(1).arg("PX").arg(1000);
        self.ask(Asked::Write, &command).await
    }
}
