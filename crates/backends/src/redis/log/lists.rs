//! Lists that go over many periods.
//!
//! The directory tells which hours there are; they are read in the list's order, several at a time where the first
//! did not fill the page, so that an application with little in many hours costs few round trips. Within an hour rows
//! are read in portions; a filter is applied to what was read.
//!
//! A page whose filter wants few rows is left when much was looked at for it ([`ENOUGH`]): whoever asked can go on where it
//! ends.
//!
//! A list between two times leaves out hours that cannot have rows of that time. An hour's youngest row is known to the
//! directory. No row is older than its identifier ([`DeliveryLog`](postrider_core::ports::DeliveryLog)), so in the hour in which the
//! list is to begin, or to end, rows from there on are not looked at.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::try_join_all;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId, RANDOM_LEN};
use postrider_core::message::MessageRecord;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{AttemptFilter, MessageFilter, PortError};
use postrider_core::time::Timestamp;

use super::by_endpoint::Listed;
use super::filter::{wants_attempt, wants_message};
use super::found::message_in;
use super::period::{Hour, Period};
use super::{RedisLog, by_endpoint, corrupt, message};
use crate::redis::error::Asked;
use crate::redis::pack::Result;
use crate::redis::walk::{Walk, members};

/// Hours that are read at a time.
const HOURS: usize = 16;
/// Rows that are read at a time within an hour: as many as the page wants, but no fewer and no more than this.
pub(super) const ROWS: std::ops::RangeInclusive<usize> = 16..=256;
/// Members of a list by endpoint that are read at a time where their outcomes were not wanted.
const MEMBERS: usize = 2_048;
/// What may be looked at in vain for a page, about 10 ms' worth. A message counts as one.
const ENOUGH: usize = 1_000;
/// An attempt's record is behind its message's.
const RECORD_OF_ATTEMPT: usize = 4;
/// Members of a list by endpoint that take as long as a message.
const MEMBERS_FOR_ONE: usize = 12;
/// What identifiers tell of their time, to this.
const PRECISION: Duration = Duration::from_millis(4);

impl RedisLog {
    pub(super) async fn list_messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: &Page<MessageId>,
    ) -> std::result::Result<Slice<MessageRecord>, PortError> {
        let walk = Walk::new(page).below(ceiling(filter.before, MessageId::new));
        let from = walk.from.map(|id| id.created_at());
        let hours = self.hours(app).await?;
        let hours = on_the_way(hours, from, walk.descending, filter.after, filter.before);
        let look = |hour, enough| self.messages_in(Period { app, hour }, filter, walk, enough);
        let (rows, left) = self.search(hours, walk.wanted(), look).await?;
        Ok(match left {
            Some(at) => walk.left(rows, at),
            None => walk.slice(rows),
        })
    }

    async fn messages_in(
        &self,
        period: Period,
        filter: &MessageFilter,
        walk: Walk<MessageId>,
        enough: usize,
    ) -> std::result::Result<Looked<MessageRecord>, PortError> {
        let keys = period.keys(self.server.space());
        // A message and its trail.
        let portion = (2 * walk.wanted()).clamp(*ROWS.start(), *ROWS.end());
        let mut from = walk.from.map(|id| id.as_bytes().to_vec());
        let mut looked = Looked::default();
        loop {
            let command = members(
                keys.records(),
                b"",
                from.as_deref(),
                walk.descending,
                portion,
            );
            let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
            let count = found.len();
            let last = found.last().map(|last| behind(last, walk.descending));
            let last = last.transpose().map_err(corrupt)?;
            let has_passed = last.as_deref().is_some_and(|last| passed(&walk, last));
            let found = messages(found).map_err(corrupt)?;
            let found = self.resolve_messages(period, found).await?;
            looked.cost += found.len();
            let found = found.into_iter();
            let wanted = found.filter(|row| wants_message(filter, &row.event));
            looked.keep(wanted.collect(), 1);
            // In the middle of what a message has there is no row to go on behind; at the hour's end it is behind its last one.
            let is_whole = count < portion || has_passed;
            let row = last.as_deref().and_then(|last| row_of(last, is_whole));
            looked.last = row.or(looked.last);
            if is_whole || looked.rows.len() >= walk.wanted() {
                return Ok(looked);
            }
            if looked.cost >= enough && row.is_some() {
                looked.is_left = true;
                return Ok(looked);
            }
            from = last;
        }
    }

    pub(super) async fn list_attempts(
        &self,
        app: AppId,
        endpoint: EndpointId,
        filter: &AttemptFilter,
        page: &Page<AttemptId>,
    ) -> std::result::Result<Slice<AttemptRecord>, PortError> {
        let walk = Walk::new(page).below(ceiling(filter.before, AttemptId::new));
        let from = walk.from.map(|id| id.created_at());
        let hours = self.hours(app).await?;
        let hours = on_the_way(hours, from, walk.descending, filter.after, filter.before);
        let look =
            |hour, enough| self.attempts_at(Period { app, hour }, endpoint, filter, walk, enough);
        let (rows, left) = self.search(hours, walk.wanted(), look).await?;
        Ok(match left {
            Some(at) => walk.left(rows, at),
            None => walk.slice(rows),
        })
    }

    async fn attempts_at(
        &self,
        period: Period,
        endpoint: EndpointId,
        filter: &AttemptFilter,
        walk: Walk<AttemptId>,
        enough: usize,
    ) -> std::result::Result<Looked<AttemptRecord>, PortError> {
        let mut portion = walk.wanted().clamp(*ROWS.start(), *ROWS.end());
        let mut from = walk.from;
        let mut looked = Looked::default();
        loop {
            let listed = self.listed(period, endpoint, from, walk.descending, portion);
            let listed = listed.await?;
            let named = listed.iter().filter(|row| row.may_be_wanted(filter));
            let named: Vec<_> = named.map(|row| (row.attempt, row.message)).collect();
            looked.cost += (listed.len() - named.len()) / MEMBERS_FOR_ONE;
            for named in named.chunks(*ROWS.end()) {
                if looked.rows.len() < walk.wanted() {
                    looked.cost += RECORD_OF_ATTEMPT * named.len();
                    let found = self.attempts_named(period.app, named).await?;
                    let here = found.into_iter().filter(|row| row.endpoint == endpoint);
                    let wanted = here.filter(|row| wants_attempt(filter, row));
                    looked.keep(wanted.collect(), RECORD_OF_ATTEMPT);
                }
            }
            from = listed.last().map(|row| row.attempt);
            looked.last = from.map(|id| *id.as_bytes()).or(looked.last);
            let is_whole = listed.len() < portion || from.is_some_and(|row| walk.has_passed(row));
            if is_whole || looked.rows.len() >= walk.wanted() {
                return Ok(looked);
            }
            if looked.cost >= enough {
                looked.is_left = true;
                return Ok(looked);
            }
            if named.is_empty() {
                portion = MEMBERS;
            }
        }
    }

    async fn listed(
        &self,
        period: Period,
        endpoint: EndpointId,
        from: Option<AttemptId>,
        descending: bool,
        count: usize,
    ) -> std::result::Result<Vec<Listed>, PortError> {
        let keys = period.keys(self.server.space());
        let from = from.as_ref().map(|id| id.as_bytes().as_slice());
        let tag = by_endpoint::tag(endpoint);
        let command = members(keys.by_endpoint(), &tag, from, descending, count);
        let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
        let found: Result<Vec<_>> = found.into_iter().map(by_endpoint::read).collect();
        found.map_err(corrupt)
    }

    /// Looks into hours, in their order, until there are `wanted` rows or enough was looked at: then behind which row to go on.
    pub(super) async fn search<T, F>(
        &self,
        hours: Vec<Hour>,
        wanted: usize,
        look: impl Fn(Hour, usize) -> F,
    ) -> std::result::Result<(Vec<T>, Option<[u8; 20]>), PortError>
    where
        F: Future<Output = std::result::Result<Looked<T>, PortError>>,
    {
        let mut hours = VecDeque::from(hours);
        let mut all = Looked::default();
        let mut some = 1;
        while all.rows.len() < wanted && !all.is_left && !hours.is_empty() {
            if all.cost >= ENOUGH && all.last.is_some() {
                all.is_left = true;
                break;
            }
            let next: Vec<Hour> = hours.drain(..some.min(hours.len())).collect();
            let enough = ENOUGH.saturating_sub(all.cost).div_ceil(next.len());
            let looks = next.into_iter().map(|hour| look(hour, enough));
            let found = try_join_all(looks).await?;
            found.into_iter().for_each(|hour| all.go_on(hour, wanted));
            some = (some * 2).min(HOURS);
        }
        let left = all.last.filter(|_| all.is_left);
        all.rows.truncate(wanted);
        Ok((all.rows, left))
    }

    /// Looks into hours, in their order, until there are `wanted` rows: into one, then into several at a time.
    pub(super) async fn in_hours<T, F>(
        &self,
        hours: Vec<Hour>,
        wanted: usize,
        look: impl Fn(Hour) -> F,
    ) -> std::result::Result<Vec<T>, PortError>
    where
        F: Future<Output = std::result::Result<Vec<T>, PortError>>,
    {
        let mut hours = VecDeque::from(hours);
        let mut rows = Vec::new();
        let mut some = 1;
        while rows.len() < wanted && !hours.is_empty() {
            let next = hours.drain(..some.min(hours.len()));
            let found = try_join_all(next.map(&look)).await?;
            rows.extend(found.into_iter().flatten());
            some = (some * 2).min(HOURS);
        }
        rows.truncate(wanted);
        Ok(rows)
    }
}

/// What was looked at, and what of it is wanted.
pub(super) struct Looked<T> {
    pub(super) rows: Vec<T>,
    /// Of what was not wanted, in messages.
    pub(super) cost: usize,
    /// The last row that was looked at.
    pub(super) last: Option<[u8; 20]>,
    /// More may follow, and the page is not full.
    pub(super) is_left: bool,
}

impl<T> Default for Looked<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            cost: 0,
            last: None,
            is_left: false,
        }
    }
}

impl<T> Looked<T> {
    /// These were wanted, each of which counted for `cost`.
    pub(super) fn keep(&mut self, wanted: Vec<T>, cost: usize) {
        self.cost -= cost * wanted.len();
        self.rows.extend(wanted);
    }

    /// What comes behind in the list's order. Behind a place where it was left, nothing does.
    fn go_on(&mut self, behind: Self, wanted: usize) {
        self.cost += behind.cost;
        if self.is_left || self.rows.len() >= wanted {
            return;
        }
        self.rows.extend(behind.rows);
        self.last = behind.last.or(self.last);
        self.is_left = behind.is_left && self.rows.len() < wanted;
    }
}

/// Hours that may have rows which are wanted, in the order of the list.
pub(super) fn on_the_way(
    hours: Vec<(Hour, Timestamp)>,
    from: Option<Timestamp>,
    descending: bool,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
) -> Vec<Hour> {
    let from = from.map(Hour::of);
    let ahead = |hour: Hour| match from {
        Some(from) if descending => hour <= from,
        Some(from) => hour >= from,
        None => true,
    };
    let hours = hours.into_iter().filter(|(hour, younger)| {
        ahead(*hour)
            && after.is_none_or(|after| *younger > after)
            && before.is_none_or(|before| hour.start() < before)
    });
    let mut hours: Vec<Hour> = hours.map(|(hour, _)| hour).collect();
    if descending {
        hours.reverse();
    }
    hours
}

/// The first identifier that no row older than `before` has.
pub(super) fn ceiling<K>(
    before: Option<Timestamp>,
    first: impl Fn(Timestamp, [u8; RANDOM_LEN]) -> K,
) -> Option<K> {
    let above = before? + PRECISION;
    // Identifiers of later times do not exist: those of all rows are below.
    let exists = above <= MessageId::MAX.created_at();
    exists.then(|| first(above, [0; RANDOM_LEN]))
}

/// Whether a walk has come to its end with what [`behind`] returned.
pub(super) fn passed(walk: &Walk<MessageId>, behind: &[u8]) -> bool {
    let id = behind.first_chunk().copied().map(MessageId::from_bytes);
    id.is_some_and(|id| walk.has_passed(id))
}

/// The records among members.
pub(super) fn messages(found: Vec<Vec<u8>>) -> Result<Vec<message::Found>> {
    let mut messages = Vec::with_capacity(found.len());
    for member in found {
        let (id, has_record) = message_in(&member)?;
        if has_record {
            messages.push(message::read_member(id, member)?);
        }
    }
    // A record that was repeated after its payload had gone is there twice.
    messages.dedup_by(|later, earlier| {
        let repeated = later.id == earlier.id;
        if repeated && earlier.has_payload() {
            std::mem::swap(later, earlier);
        }
        repeated
    });
    Ok(messages)
}

/// What a list goes on behind after this member: its message. Backwards, what a message has beyond one member comes
/// before its record, and behind it the record is still to be read.
pub(super) fn behind(member: &[u8], descending: bool) -> Result<Vec<u8>> {
    let (id, has_record) = message_in(member)?;
    Ok(if descending && !has_record {
        member.to_vec()
    } else {
        id.as_bytes().to_vec()
    })
}

/// The message of what [`behind`] returned, where all of it was looked at.
fn row_of(behind: &[u8], is_whole: bool) -> Option<[u8; 20]> {
    match is_whole {
        true => behind.first_chunk().copied(),
        false => behind.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours() -> Vec<(Hour, Timestamp)> {
        (10..15)
            .map(|hour| (Hour(hour), Hour(hour).end()))
            .collect()
    }

    fn numbers(hours: Vec<Hour>) -> Vec<u32> {
        hours.into_iter().map(|hour| hour.0).collect()
    }

    fn looked(rows: &[u8], last: u8, is_left: bool) -> Looked<u8> {
        Looked {
            rows: rows.to_vec(),
            cost: 10,
            last: Some([last; 20]),
            is_left,
        }
    }

    #[test]
    fn what_lies_behind_a_place_where_a_list_was_left_is_not_part_of_the_page() {
        let mut all = Looked::default();
        for hour in [
            looked(&[1], 2, false),
            looked(&[3], 4, true),
            looked(&[5], 6, false),
        ] {
            all.go_on(hour, 10);
        }
        assert_eq!((all.rows, all.last), (vec![1, 3], Some([4; 20])));
        assert!(all.is_left && all.cost == 30, "all of it took time");
    }

    #[test]
    fn a_full_page_was_not_left() {
        let mut all = Looked::default();
        all.go_on(looked(&[1, 2], 3, true), 2);
        all.go_on(looked(&[4], 5, true), 2);
        assert_eq!((all.rows, all.is_left), (vec![1, 2], false));
    }

    #[test]
    fn a_list_goes_on_from_the_hour_of_its_cursor() {
        let from = Some(Hour(12).start());
        let up = on_the_way(hours(), from, false, None, None);
        assert_eq!(numbers(up), [12, 13, 14]);
        let down = on_the_way(hours(), from, true, None, None);
        assert_eq!(numbers(down), [12, 11, 10]);
    }

    #[test]
    fn whatever_is_older_lies_below_the_ceiling() {
        for millis in [
            1_500_000_000_000,
            1_700_000_000_999,
            1_700_000_000_001,
            1_700_000_000_004,
        ] {
            let before = Timestamp::from_millis(millis);
            let ceiling = ceiling(Some(before), MessageId::new).unwrap();
            let older = before - Duration::from_millis(1);
            assert!(MessageId::new(older, [0xff; RANDOM_LEN]) < ceiling);
            let younger = before + 2 * PRECISION;
            assert!(MessageId::new(younger, [0; RANDOM_LEN]) >= ceiling);
        }
        let never = Timestamp::from_millis(i64::MAX / 2);
        assert_eq!(ceiling(Some(never), MessageId::new), None);
        assert_eq!(ceiling(None, MessageId::new), None);
    }

    #[test]
    fn hours_of_other_times_are_left_out() {
        let after = on_the_way(hours(), None, false, Some(Hour(12).end()), None);
        assert_eq!(numbers(after), [13, 14]);
        let before = on_the_way(hours(), None, false, None, Some(Hour(12).end()));
        assert_eq!(numbers(before), [10, 11, 12]);
        let mut late = hours();
        late[0].1 = Hour(14).end();
        let after = on_the_way(late, None, false, Some(Hour(13).end()), None);
        assert_eq!(numbers(after), [10, 14], "something in hour 10 is younger");
    }
}
