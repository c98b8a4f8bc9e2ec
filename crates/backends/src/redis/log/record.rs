//! Storing records: grouped by period and message, in portions that keep the server for a millisecond or so.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::ports::{Destination, LogRecord, PortError};
use postrider_core::time::Timestamp;

use super::directory::Youngest;
use super::period::{self, Hour, Keys, Period, endpoint_tag, event_tag};
use super::texts::{Common, Ref};
use super::trail::Entry;
use super::{PART, RedisLog, message, trail};
use crate::redis::error::Asked;
use crate::redis::script::Call;

/// Records and entries of one script call.
const PORTION: usize = 64;
/// Bytes of one script call; a larger record goes alone.
const PORTION_BYTES: usize = 128 * 1024;
/// Script calls under way at a time.
const AT_ONCE: usize = 8;
/// How much longer than asked for a period may be kept as a whole.
const SPARE: Duration = Duration::from_secs(24 * 3600);
/// How often a portion is adapted to what is there. Twice is enough unless somebody else interferes each time.
const TRIES: usize = 5;

/// All that a call says about one message.
#[derive(Debug, Default)]
struct Draft<'a> {
    message: Option<&'a MessageRecord>,
    pairs: BTreeMap<EndpointId, Pair<'a>>,
}

/// All that a call says about one message at one endpoint.
#[derive(Debug, Default)]
struct Pair<'a> {
    attempts: Vec<&'a AttemptRecord>,
    state: Option<&'a Destination>,
}

/// All that a call says about one period.
#[derive(Debug, Default)]
struct Drafts<'a> {
    messages: BTreeMap<MessageId, Draft<'a>>,
    attempts: Vec<[u8; 44]>,
    younger: Option<Timestamp>,
}

/// What one script call stores.
#[derive(Debug)]
struct Portion<'a> {
    period: Period,
    /// From when on nothing in the period is younger, as far as this call knows.
    younger: Timestamp,
    messages: Vec<(MessageId, Option<&'a MessageRecord>, Vec<Entry<'a>>)>,
    attempts: Vec<[u8; 44]>,
}

/// What a call stores, by period.
#[derive(Debug, Default)]
struct Sorted<'a>(BTreeMap<Period, Drafts<'a>>);

impl Drafts<'_> {
    fn younger(&self, period: Period) -> Timestamp {
        let end = period.hour.end();
        self.younger.map_or(end, |younger| younger.max(end))
    }
}

impl<'a> Sorted<'a> {
    fn new(records: &'a [LogRecord]) -> Self {
        let mut sorted = Self::default();
        for record in records {
            match record {
                LogRecord::Message(message) => sorted.add_message(message),
                LogRecord::Attempt(attempt) => sorted.add_attempt(attempt),
                LogRecord::Destination(state) => sorted.add_state(state),
            }
        }
        sorted
    }

    fn drafts(&mut self, period: Period, at: Option<Timestamp>) -> &mut Drafts<'a> {
        let drafts = self.0.entry(period).or_default();
        let younger = at.map(|at| at + Duration::from_millis(1));
        drafts.younger = drafts.younger.max(younger);
        drafts
    }

    fn draft(&mut self, app: AppId, message: MessageId) -> &mut Draft<'a> {
        let drafts = self.drafts(Period::of_message(app, message), None);
        drafts.messages.entry(message).or_default()
    }

    fn add_message(&mut self, message: &'a MessageRecord) {
        let event = &message.event;
        let period = Period::of_message(event.app, event.message);
        let drafts = self.drafts(period, Some(event.accepted_at));
        let draft = drafts.messages.entry(event.message).or_default();
        // One that takes the payload away counts, whichever comes first.
        if draft.message.is_none() || !message.has_payload {
            draft.message = Some(message);
        }
    }

    fn add_attempt(&mut self, attempt: &'a AttemptRecord) {
        let period = Period::of_attempt(attempt.app, attempt.id);
        let mut member = [0; 44];
        member[..4].copy_from_slice(&endpoint_tag(attempt.endpoint));
        member[4..24].copy_from_slice(attempt.id.as_bytes());
        member[24..].copy_from_slice(attempt.message.as_bytes());
        let drafts = self.drafts(period, Some(attempt.at));
        drafts.attempts.push(member);
        let draft = self.draft(attempt.app, attempt.message);
        let pair = draft.pairs.entry(attempt.endpoint).or_default();
        if pair.attempts.iter().all(|there| there.id != attempt.id) {
            pair.attempts.push(attempt);
        }
    }

    /// Only the latest counts.
    fn add_state(&mut self, state: &'a Destination) {
        let draft = self.draft(state.app, state.message);
        let pair = draft.pairs.entry(state.endpoint).or_default();
        if pair.state.is_none_or(|there| there.at <= state.at) {
            pair.state = Some(state);
        }
    }

    fn youngest(&self) -> Youngest {
        let younger = |(period, drafts): (&Period, &Drafts<'_>)| (*period, drafts.younger(*period));
        self.0.iter().map(younger).collect()
    }

    fn portions(self) -> Vec<Portion<'a>> {
        let mut portions = Vec::new();
        for (period, drafts) in self.0 {
            let mut packing = Packing::new(period, drafts.younger(period));
            for (id, draft) in drafts.messages {
                packing.add(id, draft);
            }
            packing.index(drafts.attempts);
            portions.append(&mut packing.portions);
        }
        portions
    }
}

/// Fills portions of one period.
#[derive(Debug)]
struct Packing<'a> {
    period: Period,
    younger: Timestamp,
    portions: Vec<Portion<'a>>,
    /// Room in the last of them.
    items: usize,
    bytes: usize,
}

impl<'a> Packing<'a> {
    const fn new(period: Period, younger: Timestamp) -> Self {
        Self {
            period,
            younger,
            portions: Vec::new(),
            items: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, id: MessageId, draft: Draft<'a>) {
        let mut entries: Vec<Entry<'a>> = draft.pairs.into_values().flat_map(entries).collect();
        let mut message = draft.message;
        loop {
            let rest = entries.split_off(entries.len().min(PORTION));
            let payload = message.map_or(0, |message| message.event.payload.len());
            let bytes = payload + entries.iter().map(size).sum::<usize>();
            let items = entries.len() + usize::from(message.is_some());
            let portion = self.with_room(items, bytes);
            portion.messages.push((id, message.take(), entries));
            if rest.is_empty() {
                return;
            }
            entries = rest;
        }
    }

    fn with_room(&mut self, items: usize, bytes: usize) -> &mut Portion<'a> {
        let fits = self.items + items <= PORTION && self.bytes + bytes <= PORTION_BYTES;
        if !fits || self.portions.is_empty() {
            (self.items, self.bytes) = (0, 0);
            self.begin();
        }
        self.items += items;
        self.bytes += bytes;
        let last = self.portions.len() - 1;
        &mut self.portions[last]
    }

    fn begin(&mut self) {
        self.portions.push(Portion {
            period: self.period,
            younger: self.younger,
            messages: Vec::new(),
            attempts: Vec::new(),
        });
    }

    /// Spreads the list by endpoint over the portions.
    fn index(&mut self, attempts: Vec<[u8; 44]>) {
        for (number, some) in attempts.chunks(PORTION).enumerate() {
            if number == self.portions.len() {
                self.begin();
            }
            self.portions[number].attempts = some.to_vec();
        }
    }
}

/// The state goes with the last attempt: usually it came about by it.
fn entries(pair: Pair<'_>) -> Vec<Entry<'_>> {
    let Some((last, earlier)) = pair.attempts.split_last() else {
        return pair.state.map(Entry::State).into_iter().collect();
    };
    let earlier = earlier.iter().map(|attempt| Entry::Attempt(attempt, None));
    earlier.chain([Entry::Attempt(last, pair.state)]).collect()
}

fn size(entry: &Entry<'_>) -> usize {
    match entry {
        Entry::Attempt(attempt, _) => attempt.response.len() + attempt.url.len() + 64,
        Entry::State(_) => 64,
    }
}

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
        // Once more: retention may have forgotten a period between its naming and its first record.
        self.name(&unnamed).await.and(stored)
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
        let mut named = named;
        for _ in 0..TRIES {
            let call = self.call(portion, &keys, &mut taken, named)?;
            let (result, grown, refused): (u8, i64, Vec<Ref>) =
                self.run(Asked::Write, &call).await?;
            match result {
                0 => return Ok((portion.period.hour, grown)),
                1 => {
                    let younger = Youngest::from([(portion.period, portion.younger)]);
                    self.name(&younger).await?;
                    named = true;
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

fn with_list<'a>(mut call: Call<'a>, members: &[impl AsRef<[u8]>]) -> Call<'a> {
    call = call.arg(members.len());
    for member in members {
        call = call.arg(member.as_ref());
    }
    call
}

impl Portion<'_> {
    fn messages(&self) -> impl Iterator<Item = &MessageRecord> {
        self.messages.iter().filter_map(|(_, message, _)| *message)
    }

    fn event_ids(&self) -> Vec<[u8; 28]> {
        let member = |message: &MessageRecord| {
            let event_id = message.event.event_id.as_ref()?;
            let mut member = [0; 28];
            member[..8].copy_from_slice(&event_tag(event_id));
            member[8..].copy_from_slice(message.event.message.as_bytes());
            Some(member)
        };
        self.messages().filter_map(member).collect()
    }

    /// Payloads that end before their record may have gone.
    fn ends(&self, retention: Duration) -> Vec<(Timestamp, MessageId)> {
        let gone = self.period.hour.end() + retention + SPARE;
        self.messages()
            .filter(|message| message.has_payload && message.event.payload_until < gone)
            .map(|message| (message.event.payload_until, message.event.message))
            .collect()
    }
}

/// A portion as bytes.
#[derive(Debug)]
struct PackedPortion {
    messages: Vec<(MessageId, Option<message::Packed>, Vec<Vec<u8>>)>,
    responses: Vec<(Vec<u8>, Vec<u8>)>,
}

impl PackedPortion {
    fn new(portion: &Portion<'_>, common: &mut Common) -> Result<Self, PortError> {
        let mut packed = Self {
            messages: Vec::new(),
            responses: Vec::new(),
        };
        for (id, message, entries) in &portion.messages {
            let message = message.map(|message| message::pack(message, common));
            let mut list = Vec::new();
            for entry in entries {
                let entry = trail::pack(entry, common);
                list.push(entry.entry);
                let response = entry.apart;
                let response = response.map(|(id, bytes)| (id.as_bytes().to_vec(), bytes));
                packed.responses.extend(response);
            }
            packed.messages.push((*id, message.transpose()?, list));
        }
        Ok(packed)
    }

    fn added_to(self, mut call: Call<'_>) -> Call<'_> {
        call = call.arg(self.responses.len());
        for (attempt, bytes) in self.responses {
            call = call.arg(attempt).arg(bytes);
        }
        call = call.arg(self.messages.len());
        for (id, message, entries) in self.messages {
            let (record, large) = match message {
                Some(packed) => (packed.record, packed.apart.unwrap_or_default()),
                None => Default::default(),
            };
            call = call.arg(id.as_bytes().as_slice()).arg(record).arg(large);
            call = with_list(call, &entries);
        }
        call
    }
}
