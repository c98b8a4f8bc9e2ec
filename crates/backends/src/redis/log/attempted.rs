//! Messages of an endpoint. A message's trail tells where it went, and lies beside its record: the list reads the
//! application's messages in their order, hour by hour, and leaves out what did not go there. What is kept apart is read
//! of those alone that are wanted.

use std::time::Duration;

use postrider_core::id::{AppId, EndpointId, MessageId};
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{Attempted, AttemptedFilter, Destination, PortError, Tally};
use postrider_core::time::Timestamp;

use super::filter::wants_message;
use super::found::{Found, Wanted, message_in};
use super::lists::{Looked, ROWS, ceiling, on_the_way};
use super::period::Period;
use super::read::Depth;
use super::{RedisLog, corrupt, message, trail};
use crate::redis::error::Asked;
use crate::redis::pack::Result;
use crate::redis::walk::{Walk, members};

/// As many rows at a time as are ever read.
const WHOLE_HOUR: usize = *ROWS.end();

/// All members of a message.
type Group = (MessageId, Vec<Vec<u8>>);

impl RedisLog {
    pub(super) async fn list_attempted(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        page: &Page<MessageId>,
    ) -> std::result::Result<Slice<Attempted>, PortError> {
        let walk = Walk::new(page).below(ceiling(filter.messages.before, MessageId::new));
        let from = walk.from.map(|id| id.created_at());
        let (after, before) = (filter.messages.after, filter.messages.before);
        let hours = on_the_way(self.hours(app).await?, from, walk.descending, after, before);
        let look =
            |hour, enough| self.attempted_in(Period { app, hour }, endpoint, filter, walk, enough);
        let (rows, left) = self.search(hours, walk.wanted(), look).await?;
        Ok(match left {
            Some(at) => walk.left(rows, at),
            None => walk.slice(rows),
        })
    }

    async fn attempted_in(
        &self,
        period: Period,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        walk: Walk<MessageId>,
        enough: usize,
    ) -> std::result::Result<Looked<Attempted>, PortError> {
        let mut from = walk.from;
        let mut looked = Looked::default();
        loop {
            let groups = self.groups(period, from, walk.wanted(), walk.descending);
            let (groups, more) = groups.await?;
            from = groups.last().map(|(id, _)| *id);
            looked.last = from.map(|id| *id.as_bytes()).or(looked.last);
            looked.cost += groups.len();
            let wanted = self.wanted(period, endpoint, filter, groups).await?;
            looked.keep(wanted, 1);
            let is_whole = !more || from.is_some_and(|row| walk.has_passed(row));
            if is_whole || looked.rows.len() >= walk.wanted() {
                return Ok(looked);
            }
            if looked.cost >= enough {
                looked.is_left = true;
                return Ok(looked);
            }
        }
    }

    /// Some messages, each whole, and whether more follow.
    async fn groups(
        &self,
        period: Period,
        from: Option<MessageId>,
        rows: usize,
        descending: bool,
    ) -> std::result::Result<(Vec<Group>, bool), PortError> {
        let keys = period.keys(self.server.space());
        // A message and its trail.
        let portion = rows.saturating_mul(2).clamp(*ROWS.start(), *ROWS.end());
        let from = from.as_ref().map(|id| id.as_bytes().as_slice());
        let command = members(keys.records(), b"", from, descending, portion);
        let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        let more = found.len() == portion;
        let mut groups = grouped(found, descending).map_err(corrupt)?;
        if more && groups.len() > 1 {
            // It may have members that were not read.
            groups.pop();
        } else if more && let Some((id, all)) = groups.first_mut() {
            let id = [*id];
            let read = self.members_of(keys.records(), &id, Depth::Whole);
            *all = read.await?.into_iter().flatten().collect();
        }
        Ok((groups, more))
    }

    async fn wanted(
        &self,
        period: Period,
        endpoint: EndpointId,
        filter: &AttemptedFilter,
        groups: Vec<Group>,
    ) -> std::result::Result<Vec<Attempted>, PortError> {
        let mut sent = self.sent(period, endpoint, groups).await?;
        let statuses = &filter.statuses;
        sent.retain(|(_, state)| statuses.is_empty() || statuses.contains(&state.status));
        let (messages, destinations): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let messages = self.resolve_messages(period, messages).await?;
        let rows = messages.into_iter().zip(destinations);
        let rows = rows.map(|(message, destination)| Attempted {
            message,
            destination,
        });
        Ok(rows
            .filter(|row| wants_message(&filter.messages, &row.message.event))
            .collect())
    }

    /// Those that went to the endpoint, and how far they have come there.
    async fn sent(
        &self,
        period: Period,
        endpoint: EndpointId,
        groups: Vec<Group>,
    ) -> std::result::Result<Vec<(message::Found, Destination)>, PortError> {
        let found: Result<Vec<Found>> = groups
            .into_iter()
            .map(|(id, members)| Found::read(id, members))
            .collect();
        let mut found = found.map_err(corrupt)?;
        found.retain(|found| found.message.is_some() && !found.trail.is_empty());
        let mut texts = Wanted::default();
        found.iter().for_each(|found| found.texts(&mut texts));
        let Some(known) = self.known(period, texts).await? else {
            return Ok(Vec::new());
        };
        let mut sent = Vec::new();
        for found in found {
            let all = trail::destinations(period.app, found.id, &found.trail, &known);
            let mut all = all.map_err(corrupt)?.into_iter();
            let here = all.find(|destination| destination.endpoint == endpoint);
            sent.extend(found.message.zip(here));
        }
        Ok(sent)
    }

    pub(super) async fn tally_of(
        &self,
        app: AppId,
        endpoint: EndpointId,
        from: Timestamp,
        until: Timestamp,
    ) -> std::result::Result<Tally, PortError> {
        let after = from - Duration::from_millis(1);
        let hours = self.hours(app).await?;
        let mut tally = Tally::default();
        for hour in on_the_way(hours, None, false, Some(after), Some(until)) {
            let period = Period { app, hour };
            let mut last = None;
            loop {
                let (groups, more) = self.groups(period, last, WHOLE_HOUR, false).await?;
                last = groups.last().map(|(id, _)| *id);
                for (message, destination) in self.sent(period, endpoint, groups).await? {
                    let at = message.accepted_at().map_err(corrupt)?;
                    if (from..until).contains(&at) {
                        tally.count(destination.status);
                    }
                }
                if !more {
                    break;
                }
            }
        }
        Ok(tally)
    }
}

/// Members by message, those of each in ascending order.
fn grouped(found: Vec<Vec<u8>>, descending: bool) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for member in found {
        let (id, _) = message_in(&member)?;
        match groups.last_mut().filter(|(last, _)| *last == id) {
            Some((_, members)) => members.push(member),
            None => groups.push((id, vec![member])),
        }
    }
    if descending {
        groups.iter_mut().for_each(|(_, members)| members.reverse());
    }
    Ok(groups)
}
