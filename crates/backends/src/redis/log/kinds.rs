//! Messages and their event types: for counting, which needs nothing else of them. What is kept apart is not read.

use std::time::Duration;

use postrider_core::id::{AppId, MessageId};
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{MessageKind, PortError};
use postrider_core::time::Timestamp;

use super::found::Wanted;
use super::lists::{ROWS, behind, ceiling, messages, on_the_way, passed};
use super::period::Period;
use super::{RedisLog, corrupt, message};
use crate::redis::error::Asked;
use crate::redis::pack::Result;
use crate::redis::walk::{Walk, members};

/// Between these times, the first included.
type Times = (Timestamp, Timestamp);

impl RedisLog {
    pub(super) async fn list_kinds(
        &self,
        app: AppId,
        times: Times,
        page: &Page<MessageId>,
    ) -> std::result::Result<Slice<MessageKind>, PortError> {
        let walk = Walk::new(page).below(ceiling(Some(times.1), MessageId::new));
        let from = walk.from.map(|id| id.created_at());
        let (after, before) = (times.0 - Duration::from_millis(1), times.1);
        let hours = self.hours(app).await?;
        let hours = on_the_way(hours, from, walk.descending, Some(after), Some(before));
        let look = |hour| self.kinds_in(Period { app, hour }, times, walk);
        let rows = self.in_hours(hours, walk.wanted(), look).await?;
        Ok(walk.slice(rows))
    }

    async fn kinds_in(
        &self,
        period: Period,
        times: Times,
        walk: Walk<MessageId>,
    ) -> std::result::Result<Vec<MessageKind>, PortError> {
        let keys = period.keys(self.server.space());
        let portion = (2 * walk.wanted()).clamp(*ROWS.start(), *ROWS.end());
        let mut from = walk.from.map(|id| id.as_bytes().to_vec());
        let mut rows = Vec::new();
        loop {
            let from_key = from.as_deref();
            let command = members(keys.records(), b"", from_key, walk.descending, portion);
            let found: Vec<Vec<u8>> = self.ask(Asked::Read, &command).await?;
            let last = found.last().map(|last| behind(last, walk.descending));
            from = last.transpose().map_err(corrupt)?;
            let has_passed = from.as_deref().is_some_and(|last| passed(&walk, last));
            let is_whole = found.len() < portion || has_passed;
            let found = messages(found).map_err(corrupt)?;
            rows.extend(self.kinds_of(period, times, found).await?);
            if is_whole || rows.len() >= walk.wanted() {
                return Ok(rows);
            }
        }
    }

    async fn kinds_of(
        &self,
        period: Period,
        (from, until): Times,
        found: Vec<message::Found>,
    ) -> std::result::Result<Vec<MessageKind>, PortError> {
        let mut texts = Wanted::default();
        found.iter().for_each(|found| texts.texts_of(found));
        let Some(known) = self.known(period, texts).await? else {
            return Ok(Vec::new());
        };
        let mut kinds = Vec::with_capacity(found.len());
        for found in found {
            if (from..until).contains(&found.accepted_at().map_err(corrupt)?) {
                kinds.push(found.into_kind(&known));
            }
        }
        kinds.into_iter().collect::<Result<_>>().map_err(corrupt)
    }
}
