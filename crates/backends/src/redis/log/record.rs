//! Storing what a call records.

use std::collections::{BTreeMap, HashSet};

use futures_util::StreamExt as _;
use futures_util::stream;
use postrider_core::ports::{LogRecord, PortError};

use super::directory::Youngest;
use super::draft::{PackedPortion, Portion, Sorted, with_list};
use super::period::{self, Hour, Keys};
use super::texts::{Common, Ref};
use super::{PART, RedisLog};
use crate::redis::error::Asked;
use crate::redis::script::Call;

/// Script calls under way at a time.
const AT_ONCE: usize = 8;
/// How often a portion is adapted to what is there. Twice is enough unless somebody else interferes each time.
const TRIES: usize = 5;

impl RedisLog {
    pub(super) async fn store(&self, records: &[LogRecord]) -> Result<(), PortError> {
        if records.is_empty() {
            return Ok(());
        }
        let sorted = Sorted::new(records);
        let unnamed = self.directory.unnamed(&sorted.youngest());
        self.name(&unnamed).await?;
        let portions = sorted.portions();
        self.announce_ends(&portions).await?;
        let stored = self.store_all(&portions, &unnamed).await;
        let named = self.name_again(&unnamed, &portions).await;
        stored.and(named.map_err(|error| in_part(&error)))
    }

    /// Retention may have forgotten a period between its naming and its first record.
    async fn name_again(
        &self,
        just_named: &Youngest,
        portions: &[Portion<'_>],
    ) -> Result<(), PortError> {
        if just_named.is_empty() {
            return Ok(());
        }
        self.name(just_named).await?;
        self.announce_ends(portions).await
    }

    async fn store_all(
        &self,
        portions: &[Portion<'_>],
        just_named: &Youngest,
    ) -> Result<(), PortError> {
        let calls: Vec<_> = portions
            .iter()
            .map(|portion| self.store_portion(portion, just_named.contains_key(&portion.period)))
            .collect();
        let mut results = stream::iter(calls).buffer_unordered(AT_ONCE);
        let mut grown: BTreeMap<Hour, i64> = BTreeMap::new();
        let mut failure = None;
        while let Some(result) = results.next().await {
            match result {
                Ok((hour, bytes)) => *grown.entry(hour).or_default() += bytes,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if !grown.is_empty() {
            self.book(&grown).await;
        }
        match failure {
            // Some of it is stored.
            Some(error) if error.changed_nothing() && !grown.is_empty() => Err(in_part(&error)),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Returns by how much the period grew.
    async fn store_portion(
        &self,
        portion: &Portion<'_>,
        named: bool,
    ) -> Result<(Hour, i64), PortError> {
        let keys = portion.period.keys(self.server.space());
        let mut taken = HashSet::new();
        let younger = Youngest::from([(portion.period, portion.younger)]);
        let mut renamed = false;
        for _ in 0..TRIES {
            let call = self.call(portion, &keys, &mut taken, named || renamed)?;
            let (result, grown, refused): (u8, i64, Vec<Ref>) =
                self.run(Asked::Write, &call).await?;
            match result {
                0 if renamed => {
                    let named = self.name(&younger).await;
                    let looked_at = named.and(self.look_soon(portion.period).await);
                    looked_at.map_err(|error| in_part(&error))?;
                    return Ok((portion.period.hour, grown));
                }
                0 => return Ok((portion.period.hour, grown)),
                1 => {
                    self.name(&younger).await?;
                    renamed = true;
                }
                _ => taken.extend(refused),
            }
        }
        Err(PortError::Unavailable {
            part: PART,
            cause: "what a period holds keeps changing".to_owned(),
        })
    }

    fn call(
        &self,
        portion: &Portion<'_>,
        keys: &Keys,
        taken: &mut HashSet<Ref>,
        named: bool,
    ) -> Result<Call<'_>, PortError> {
        let mut common = Common::avoiding(std::mem::take(taken));
        let packed = PackedPortion::new(portion, &mut common)?;
        let mut call = self.scripts.record.call(&keys.all());
        call = call.arg(u8::from(named)).arg(common.texts().len());
        for (name, text) in common.texts() {
            call = call.arg(name.as_slice()).arg(text.as_slice());
        }
        *taken = common.taken;
        call = with_list(call, &portion.attempts);
        call = with_list(call, &portion.event_ids());
        let ends = portion.ends(self.options.retention);
        call = call.arg(ends.len());
        for (until, id) in ends {
            call = call.arg(until.as_millis()).arg(id.as_bytes().as_slice());
        }
        Ok(packed.added_to(call))
    }

    /// Tells retention where payloads end before their records, before they are stored.
    async fn announce_ends(&self, portions: &[Portion<'_>]) -> Result<(), PortError> {
        let mut command = redis::cmd("ZADD");
        command.arg(period::ends(self.server.space())).arg("LT");
        let mut any = false;
        for portion in portions {
            let ends = portion.ends(self.options.retention);
            if let Some(first) = ends.iter().map(|(until, _)| until).min() {
                command.arg(first.as_millis()).arg(&portion.period.name());
                any = true;
            }
        }
        if !any {
            return Ok(());
        }
        self.ask(Asked::Write, &command).await
    }
}

fn in_part(error: &PortError) -> PortError {
    PortError::Unknown {
        part: PART,
        cause: format!("some records were stored before: {error}"),
    }
}
