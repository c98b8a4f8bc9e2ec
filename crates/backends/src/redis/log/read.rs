//! Reading what is stored of messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::name::Uid;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{AttemptFilter, Destination, PortError};

use super::filter::wants_attempt;
use super::found::{Found, Wanted};
use super::period::{Period, event_tag};
use super::trail::FoundAttempt;
use super::{Known, RedisLog, corrupt, message, trail};
use crate::redis::error::Asked;
use crate::redis::pack::{Result, Unreadable};
use crate::redis::walk::{Walk, members};

/// Messages of one script call.
const MESSAGES: usize = 64;
/// Fields of one look into a hash. Payloads are among them.
const FIELDS: usize = 64;
/// Messages with one event id that are looked at, at a time.
const NAMESAKES: usize = 4;

/// How much of a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Whole,
    /// Without payloads.
    Bare,
}

impl RedisLog {
    pub(super) async fn message_by_id(
        &self,
        app: AppId,
        id: MessageId,
    ) -> std::result::Result<Option<MessageRecord>, PortError> {
        let period = Period::of_message(app, id);
        let found = self.found(period, &[id], Depth::Whole).await?;
        let found = found.into_iter().find_map(|found| found.message);
        let messages = self.resolve_messages(period, Vec::from_iter(found)).await?;
        Ok(messages.into_iter().next())
    }

    /// The newest first: hours from the last to the first, and within each the identifiers.
    pub(super) async fn message_by_event_id(
        &self,
        app: AppId,
        event_id: &Uid,
    ) -> std::result::Result<Option<MessageRecord>, PortError> {
        let mut hours = self.hours(app).await?;
        hours.reverse();
        let hours = hours.into_iter().map(|(hour, _)| hour).collect();
        let look = |hour| self.newest_named(Period { app, hour }, event_id);
        let found = self.in_hours(hours, 1, look).await?;
        Ok(found.into_iter().next())
    }

    async fn newest_named(
        &self,
        period: Period,
        event_id: &Uid,
    ) -> std::result::Result<Vec<MessageRecord>, PortError> {
        let keys = period.keys(self.server.space());
        let tag = event_tag(event_id);
        let mut from: Option<MessageId> = None;
        loop {
            let from_bytes = from.as_ref().map(|id| id.as_bytes().as_slice());
            let command = members(keys.by_event_id(), &tag, from_bytes, true, NAMESAKES);
            let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
            for member in &found {
                let id = member.get(tag.len()..).and_then(|id| id.try_into().ok());
                let id = MessageId::from_bytes(id.ok_or_else(|| corrupt(Unreadable::Short))?);
                from = Some(id);
                let message = self.message_by_id(period.app, id).await?;
                let is_named =
                    |message: &MessageRecord| message.event.event_id.as_ref() == Some(event_id);
                if let Some(message) = message.filter(is_named) {
                    return Ok(vec![message]);
                }
            }
            if found.len() < NAMESAKES {
                return Ok(Vec::new());
            }
        }
    }

    pub(super) async fn attempt_of(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> std::result::Result<Option<AttemptRecord>, PortError> {
        let named = [(attempt, message)];
        let found = self.attempts_named(app, &named).await?;
        Ok(found.into_iter().next())
    }

    /// Attempts of messages, in the order in which they are asked for. Those that are not there are left out.
    pub(super) async fn attempts_named(
        &self,
        app: AppId,
        named: &[(AttemptId, MessageId)],
    ) -> std::result::Result<Vec<AttemptRecord>, PortError> {
        let mut periods: BTreeMap<Period, BTreeMap<MessageId, Vec<AttemptId>>> = BTreeMap::new();
        for (attempt, message) in named {
            let messages = periods
                .entry(Period::of_message(app, *message))
                .or_default();
            messages.entry(*message).or_default().push(*attempt);
        }
        let looks = periods
            .iter()
            .map(|(period, messages)| self.attempts_in(*period, messages));
        let found = try_join_all(looks).await?.into_iter().flatten();
        let mut found: BTreeMap<AttemptId, AttemptRecord> =
            found.map(|attempt| (attempt.id, attempt)).collect();
        Ok(named
            .iter()
            .filter_map(|(attempt, _)| found.remove(attempt))
            .collect())
    }

    async fn attempts_in(
        &self,
        period: Period,
        wanted: &BTreeMap<MessageId, Vec<AttemptId>>,
    ) -> std::result::Result<Vec<AttemptRecord>, PortError> {
        let messages: Vec<MessageId> = wanted.keys().copied().collect();
        let found = self.found(period, &messages, Depth::Bare).await?;
        let attempts = |found: &'_ Found| -> Vec<AttemptId> {
            wanted.get(&found.id).cloned().unwrap_or_default()
        };
        let mut rows = Vec::new();
        let mut lookup = Wanted::default();
        for found in &found {
            for id in attempts(found) {
                if let Some(attempt) = found.attempt(id) {
                    lookup.attempt(attempt);
                    rows.push((found.id, attempt));
                }
            }
        }
        let Some(known) = self.known(period, lookup).await? else {
            return Ok(Vec::new());
        };
        let resolve = |(message, attempt): (MessageId, &FoundAttempt)| {
            attempt.resolve(period.app, message, &known)
        };
        let rows: Result<Vec<_>> = rows.into_iter().map(resolve).collect();
        rows.map_err(corrupt)
    }

    pub(super) async fn attempts_of(
        &self,
        app: AppId,
        message: MessageId,
        filter: &AttemptFilter,
        page: &Page<AttemptId>,
    ) -> std::result::Result<Slice<AttemptRecord>, PortError> {
        let (found, known) = self.trail_of(app, message).await?;
        let resolve = |attempt: &FoundAttempt| attempt.resolve(app, message, &known);
        let attempts = found.attempts();
        let rows: Result<Vec<AttemptRecord>> = attempts.into_values().map(resolve).collect();
        let mut rows = rows.map_err(corrupt)?;
        rows.retain(|attempt| wants_attempt(filter, attempt));
        Ok(Walk::new(page).slice_of(rows, |attempt| attempt.id))
    }

    pub(super) async fn destinations_of(
        &self,
        app: AppId,
        message: MessageId,
        page: &Page<EndpointId>,
    ) -> std::result::Result<Slice<Destination>, PortError> {
        let (found, known) = self.trail_of(app, message).await?;
        let rows = trail::destinations(app, message, &found.trail, &known).map_err(corrupt)?;
        Ok(Walk::new(page).slice_of(rows, |destination| destination.endpoint))
    }

    /// What became of a message.
    async fn trail_of(
        &self,
        app: AppId,
        message: MessageId,
    ) -> std::result::Result<(Found, Known), PortError> {
        let period = Period::of_message(app, message);
        let found = self.found(period, &[message], Depth::Bare).await?;
        let nothing = || Found {
            id: message,
            message: None,
            trail: Vec::new(),
        };
        let found = found.into_iter().next().unwrap_or_else(nothing);
        match self.known(period, found.wanted_of_trail()).await? {
            Some(known) => Ok((found, known)),
            None => Ok((nothing(), Known::default())),
        }
    }

    /// What is stored of messages that lie in one period.
    pub(super) async fn found(
        &self,
        period: Period,
        messages: &[MessageId],
        depth: Depth,
    ) -> std::result::Result<Vec<Found>, PortError> {
        let keys = period.keys(self.server.space());
        let some = messages.chunks(MESSAGES);
        let looks = some.map(|some| self.members_of(keys.records(), some, depth));
        let found = try_join_all(looks).await?;
        let found = messages.iter().zip(found.into_iter().flatten());
        let found: Result<Vec<Found>> = found
            .map(|(id, members)| Found::read(*id, members))
            .collect();
        found.map_err(corrupt)
    }

    /// All members of each message. One call reads as much as it has time for.
    pub(super) async fn members_of(
        &self,
        records: &[u8],
        messages: &[MessageId],
        depth: Depth,
    ) -> std::result::Result<Vec<Vec<Vec<u8>>>, PortError> {
        let mut read: Vec<Vec<Vec<u8>>> = Vec::with_capacity(messages.len());
        let mut from = Vec::new();
        while read.len() < messages.len() || !from.is_empty() {
            // The last one is not whole where there is something to go on behind.
            let is_begun = !from.is_empty();
            let mut call = self.scripts.read.call(&[records]);
            call = call.arg(u8::from(depth == Depth::Bare)).arg(from);
            for id in &messages[read.len() - usize::from(is_begun)..] {
                call = call.arg(id.as_bytes().as_slice());
            }
            let (found, next): (Vec<Vec<Vec<u8>>>, Vec<u8>) = self.run(Asked::Read, &call).await?;
            let mut found = found.into_iter();
            if let Some(begun) = read.last_mut().filter(|_| is_begun) {
                begun.extend(found.next().into_iter().flatten());
            }
            read.extend(found);
            from = next;
        }
        Ok(read)
    }

    pub(super) async fn resolve_messages(
        &self,
        period: Period,
        found: Vec<message::Found>,
    ) -> std::result::Result<Vec<MessageRecord>, PortError> {
        let mut wanted = Wanted::default();
        found.iter().for_each(|message| wanted.message(message));
        let Some(known) = self.known(period, wanted).await? else {
            return Ok(Vec::new());
        };
        let messages = found
            .into_iter()
            .map(|message| message.resolve(period.app, &known));
        messages.collect::<Result<_>>().map_err(corrupt)
    }

    /// Looks up what records refer to. `None` where the period was forgotten since they were read.
    pub(super) async fn known(
        &self,
        period: Period,
        wanted: Wanted,
    ) -> std::result::Result<Option<Known>, PortError> {
        let keys = period.keys(self.server.space());
        let (texts, apart) = try_join(
            self.fields(keys.texts(), &Vec::from_iter(wanted.texts)),
            self.fields(keys.apart(), &Vec::from_iter(wanted.apart)),
        )
        .await?;
        if !texts.is_empty() && texts.iter().all(|(_, text)| text.is_none()) {
            return Ok(None);
        }
        let there = |(name, value): (_, Option<Bytes>)| Some((name, value?));
        Ok(Some(Known {
            texts: texts.into_iter().filter_map(there).collect(),
            apart: apart
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        }))
    }

    async fn fields<const N: usize>(
        &self,
        key: &[u8],
        names: &[[u8; N]],
    ) -> std::result::Result<Vec<([u8; N], Option<Bytes>)>, PortError> {
        let looks = names.chunks(FIELDS).map(|names| async move {
            let mut command = redis::cmd("HMGET");
            command.arg(key);
            for name in names {
                command.arg(name.as_slice());
            }
            self.ask::<Vec<Option<Bytes>>>(Asked::Read, &command).await
        });
        let values = try_join_all(looks).await?.into_iter().flatten();
        Ok(names.iter().copied().zip(values).collect())
    }
}
