//! Storing by plain commands, which take a third of what a script takes for the same: on a single server, where nothing
//! has to be compared with what is there.
//!
//! A period may be forgotten by somebody else while it is written to. So the last command of each period asks for the texts that
//! its new members refer to: where one is missing, the script stores the same once more and names the period again,
//! and what is there twice is there once. Only a process that dies in between leaves members that nobody names.

use std::collections::BTreeMap;

use postrider_core::ports::PortError;
use redis::aio::ConnectionLike as _;
use redis::{Pipeline, Value};

use super::directory::Youngest;
use super::draft::{PackedPortion, Portion};
use super::period::Hour;
use super::texts::Common;
use super::{PART, RedisLog};
use crate::redis::error::{Asked, told};

/// What was asked for one portion.
struct Row<'a, 'b> {
    portion: &'a Portion<'b>,
    /// What a new member takes, by command.
    costs: Vec<i64>,
    texts: Vec<Vec<u8>>,
}

impl RedisLog {
    /// Returns what is left for scripts.
    pub(super) async fn store_plainly<'a, 'b>(
        &self,
        portions: &'a [Portion<'b>],
        just_named: &Youngest,
        grown: &mut BTreeMap<Hour, i64>,
    ) -> (Vec<&'a Portion<'b>>, Option<PortError>) {
        let mut link = match self.server.link(PART).await {
            Ok(link) if link.is_cluster() => return (portions.iter().collect(), None),
            Ok(link) => link,
            Err(error) => return (Vec::new(), Some(error)),
        };
        // A period that was just named may not be there yet.
        let (simple, mut left): (Vec<_>, Vec<_>) = portions.iter().partition(|portion| {
            !just_named.contains_key(&portion.period) && portion.is_simple(self.options.retention)
        });
        let (mut pipeline, mut rows, mut count) = (redis::pipe(), Vec::new(), 0);
        for portion in simple {
            match self.ask_plainly(portion, &mut pipeline) {
                Ok(row) => {
                    count += row.costs.len() + 1;
                    rows.push(row);
                }
                Err(error) => return (left, Some(error)),
            }
        }
        if rows.is_empty() {
            return (left, None);
        }
        let answers = match link.req_packed_commands(&pipeline, 0, count).await {
            Ok(answers) => answers,
            Err(error) => return (left, Some(told(PART, Asked::Write, &error))),
        };
        let mut answers = answers.into_iter();
        for row in rows {
            let own: Vec<Value> = answers.by_ref().take(row.costs.len() + 1).collect();
            // Where nothing was written, what is told of the rest holds for all.
            if own.iter().any(|answer| matches!(answer, Value::Int(_))) {
                *grown.entry(row.portion.period.hour).or_default() += row.grown(&own);
            }
            if !row.is_stored(&own) {
                left.push(row.portion);
            }
        }
        (left, None)
    }

    fn ask_plainly<'a, 'b>(
        &self,
        portion: &'a Portion<'b>,
        pipeline: &mut Pipeline,
    ) -> Result<Row<'a, 'b>, PortError> {
        let keys = portion.period.keys(self.server.space());
        let mut common = Common::default();
        let mut packed = PackedPortion::new(portion, &mut common)?;
        let mut costs = Vec::new();
        for (field, bytes) in packed.take_apart() {
            costs.push(cost(bytes.len()));
            let command = pipeline.cmd("HSETNX").arg(keys.apart());
            command.arg(field).arg(bytes);
        }
        let mut add = |key: &[u8], members: Vec<&[u8]>| {
            if members.is_empty() {
                return;
            }
            let bytes: usize = members.iter().map(|member| member.len()).sum();
            costs.push(cost(bytes / members.len()));
            let command = pipeline.cmd("ZADD").arg(key);
            members.into_iter().for_each(|member| {
                command.arg(0).arg(member);
            });
        };
        let listed = portion.attempts.iter().map(<[u8; _]>::as_slice);
        add(keys.by_endpoint(), listed.collect());
        let event_ids = portion.event_ids();
        add(
            keys.by_event_id(),
            event_ids.iter().map(<[u8; _]>::as_slice).collect(),
        );
        let new = packed.take_new();
        add(keys.records(), new.iter().map(Vec::as_slice).collect());
        let asked = pipeline.cmd("HMGET").arg(keys.texts());
        let mut texts = Vec::with_capacity(common.texts().len());
        for (name, text) in common.texts() {
            asked.arg(name);
            texts.push(text.clone());
        }
        // There as long as the period is, where nothing refers to a text.
        if texts.is_empty() {
            asked.arg("");
        }
        Ok(Row {
            portion,
            costs,
            texts,
        })
    }
}

impl Row<'_, '_> {
    fn grown(&self, answers: &[Value]) -> i64 {
        let added = answers
            .iter()
            .zip(&self.costs)
            .map(|(answer, cost)| match answer {
                Value::Int(added) => added * cost,
                _ => 0,
            });
        added.sum()
    }

    fn is_stored(&self, answers: &[Value]) -> bool {
        let Some((Value::Array(texts), added)) = answers.split_last() else {
            return false;
        };
        let is_this = |(there, wanted): (&Value, &Vec<u8>)| matches!(there, Value::BulkString(text) if text == wanted);
        added.iter().all(|answer| matches!(answer, Value::Int(_)))
            && texts.iter().all(|text| *text != Value::Nil)
            && texts.iter().zip(&self.texts).all(is_this)
    }
}

/// As the scripts reckon.
fn cost(bytes: usize) -> i64 {
    i64::try_from(bytes * 17 / 16 + 104).unwrap_or(i64::MAX)
}
