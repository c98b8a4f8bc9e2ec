//! Storing what a call records.

use std::collections::{BTreeMap, HashSet};

use futures_util::StreamExt as _;
use futures_util::stream;
use postrider_core::ports::{LogRecord, PortError};

use super::directory::Youngest;
use super::draft::{List, PORTION, PackedPortion, Portion, Sorted};
use super::period::{self, Hour};
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
        let is_named = |portion: &Portion<'_>| just_named.contains_key(&portion.period);
        let mut grown: BTreeMap<Hour, i64> = BTreeMap::new();
        let (left, failure) = self.store_plainly(portions, just_named, &mut grown).await;
        let (left, mut failure) = match failure {
            None => self.store_together(left, is_named, &mut grown).await,
            failed => (Vec::new(), failed),
        };
        let calls: Vec<_> = left
            .into_iter()
            .map(|portion| self.store_portion(portion, is_named(portion)))
            .collect();
        let mut results = stream::iter(calls).buffer_unordered(AT_ONCE);
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

    /// On a single server portions of several periods go in one call: with many applications there is little of each. Returns
    /// those that are left to be stored one by one, which are few.
    async fn store_together<'a, 'b>(
        &self,
        portions: Vec<&'a Portion<'b>>,
        is_named: impl Fn(&Portion<'_>) -> bool,
        grown: &mut BTreeMap<Hour, i64>,
    ) -> (Vec<&'a Portion<'b>>, Option<PortError>) {
        if portions.len() < 2 {
            return (portions, None);
        }
        match self.server.link(PART).await {
            Ok(link) if !link.is_cluster() => {}
            Ok(_) => return (portions, None),
            Err(error) => return (Vec::new(), Some(error)),
        }
        let mut left = Vec::new();
        for some in together(&portions) {
            let named = some.iter().map(|portion| (*portion, is_named(portion)));
            let call = match self.call_for(named) {
                Ok(call) => call,
                Err(error) => return (left, Some(error)),
            };
            let results: Result<Vec<(u8, i64, Vec<Ref>)>, _> = self.run(Asked::Write, &call).await;
            let results = match results {
                Ok(results) => results,
                Err(error) => return (left, Some(error)),
            };
            for (portion, (result, bytes, _)) in some.iter().copied().zip(results) {
                match result {
                    0 => *grown.entry(portion.period.hour).or_default() += bytes,
                    _ => left.push(portion),
                }
            }
        }
        (left, None)
    }

    fn call_for<'a, 'b: 'a>(
        &self,
        portions: impl Iterator<Item = (&'a Portion<'b>, bool)>,
    ) -> Result<Call<'_>, PortError> {
        let (mut keys, mut arguments) = (Vec::new(), Vec::new());
        for (portion, named) in portions {
            keys.extend(portion.period.keys(self.server.space()).into_all());
            let own = self.arguments(portion, &mut HashSet::new(), named)?;
            arguments.push(own.len().to_string().into_bytes());
            arguments.extend(own);
        }
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        Ok(self.scripts.record.call(&keys).all_args(arguments))
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
            let arguments = self.arguments(portion, &mut taken, named || renamed)?;
            let call = self.scripts.record.call(&keys.all());
            let call = call.arg(arguments.len()).all_args(arguments);
            let [(result, grown, refused)]: [(u8, i64, Vec<Ref>); 1] =
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

    fn arguments(
        &self,
        portion: &Portion<'_>,
        taken: &mut HashSet<Ref>,
        named: bool,
    ) -> Result<Vec<Vec<u8>>, PortError> {
        let mut common = Common::avoiding(std::mem::take(taken));
        let mut packed = PackedPortion::new(portion, &mut common)?;
        let mut list = List::default();
        list.add(if named { b"1" } else { b"0" });
        list.count(common.texts().len());
        for (name, text) in common.texts() {
            list.add(name);
            list.add(text);
        }
        *taken = common.taken;
        list.add_members(portion.attempts.iter().copied());
        list.add_members(portion.event_ids());
        list.add_members(packed.take_new());
        let ends: Vec<_> = portion.ending(self.options.retention).collect();
        list.count(ends.len());
        for (until, id) in ends {
            list.add(until.as_millis().to_string().as_bytes());
            list.add(id.as_bytes());
        }
        packed.add_rest_to(&mut list);
        Ok(list.0)
    }

    /// Tells retention where payloads end before their records, before they are stored.
    async fn announce_ends(&self, portions: &[Portion<'_>]) -> Result<(), PortError> {
        let mut command = redis::cmd("ZADD");
        command.arg(period::ends(self.server.space())).arg("LT");
        let mut any = false;
        for portion in portions {
            let ends = portion.ending(self.options.retention);
            if let Some(first) = ends.map(|(until, _)| until).min() {
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

/// Rows of portions that one call takes.
fn together<'c, 'a, 'b>(
    portions: &'c [&'a Portion<'b>],
) -> impl Iterator<Item = &'c [&'a Portion<'b>]> {
    let mut rest = portions;
    std::iter::from_fn(move || {
        let mut items = 0;
        let fits = |portion: &&&Portion<'_>| {
            items += portion.items();
            items <= PORTION
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (some, behind) = rest.split_at_checked(count)?;
        rest = behind;
        (!some.is_empty()).then_some(some)
    })
}

fn in_part(error: &PortError) -> PortError {
    PortError::Unknown {
        part: PART,
        cause: format!("some records were stored before: {error}"),
    }
}
