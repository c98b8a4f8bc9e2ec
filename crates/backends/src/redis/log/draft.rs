//! What a call records, sorted: by period and message, in portions that keep the server for a millisecond or so.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, EndpointId, MessageId};
use postrider_core::message::MessageRecord;
use postrider_core::pair::ChainId;
use postrider_core::ports::{Destination, LogRecord, PortError};
use postrider_core::time::Timestamp;

use super::directory::Youngest;
use super::period::{Period, event_tag};
use super::texts::Common;
use super::trail::Entry;
use super::{by_endpoint, message, trail};

/// Records and entries of one script call.
pub(super) const PORTION: usize = 64;
/// Bytes of one script call; a larger record goes alone.
const PORTION_BYTES: usize = 128 * 1024;
/// So many bytes count as one more item of a call.
const LARGE: usize = PORTION_BYTES / PORTION;
/// How much longer than asked for a period may be kept as a whole.
const SPARE: Duration = Duration::from_secs(24 * 3600);

/// All that a call says about one message.
#[derive(Debug, Default)]
struct Draft<'a> {
    message: Option<&'a MessageRecord>,
    /// It was just accepted, so that nothing of it is to be compared.
    accepted: bool,
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
    attempts: Vec<by_endpoint::Member>,
    younger: Option<Timestamp>,
}

/// What one script call stores.
#[derive(Debug)]
pub(super) struct Portion<'a> {
    pub(super) period: Period,
    /// From when on nothing in the period is younger, as far as this call knows.
    pub(super) younger: Timestamp,
    messages: Vec<Whole<'a>>,
    pub(super) attempts: Vec<by_endpoint::Member>,
}

/// What a script call stores of one message.
#[derive(Debug)]
struct Whole<'a> {
    id: MessageId,
    record: Option<&'a MessageRecord>,
    accepted: bool,
    entries: Vec<Entry<'a>>,
}

/// What a call stores, by period.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a>(BTreeMap<Period, Drafts<'a>>);

impl Drafts<'_> {
    fn younger(&self, period: Period) -> Timestamp {
        let end = period.hour.end();
        self.younger.map_or(end, |younger| younger.max(end))
    }
}

impl<'a> Sorted<'a> {
    pub(super) fn new(records: &'a [LogRecord]) -> Self {
        let mut sorted = Self::default();
        for record in records {
            match record {
                LogRecord::Accepted(message) => sorted.add_message(message, true),
                LogRecord::Message(message) => sorted.add_message(message, false),
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

    fn add_message(&mut self, message: &'a MessageRecord, accepted: bool) {
        let event = &message.event;
        let period = Period::of_message(event.app, event.message);
        let drafts = self.drafts(period, Some(event.accepted_at));
        let draft = drafts.messages.entry(event.message).or_default();
        // One that takes the payload away counts, whichever comes first.
        if draft.message.is_none() || !message.has_payload {
            draft.message = Some(message);
            draft.accepted = accepted && message.has_payload;
        }
    }

    fn add_attempt(&mut self, attempt: &'a AttemptRecord) {
        let period = Period::of_attempt(attempt.app, attempt.id);
        let drafts = self.drafts(period, Some(attempt.at));
        drafts.attempts.push(by_endpoint::member(attempt));
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

    pub(super) fn youngest(&self) -> Youngest {
        let younger = |(period, drafts): (&Period, &Drafts<'_>)| (*period, drafts.younger(*period));
        self.0.iter().map(younger).collect()
    }

    pub(super) fn portions(self) -> Vec<Portion<'a>> {
        let mut portions = Vec::new();
        for (period, drafts) in self.0 {
            let mut packing = Packing::new(period, drafts.younger(period));
            for (id, draft) in drafts.messages {
                packing.add(id, &draft);
            }
            packing.index(&drafts.attempts);
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

    fn add(&mut self, id: MessageId, draft: &Draft<'a>) {
        let mut entries: Vec<Entry<'a>> = draft.pairs.values().flat_map(entries).collect();
        let mut message = draft.message;
        loop {
            let rest = entries.split_off(entries.len().min(PORTION));
            let payload = message.map_or(0, |message| message.event.payload.len());
            let bytes = payload + entries.iter().map(size).sum::<usize>();
            let items = entries.len() + usize::from(message.is_some());
            let portion = self.with_room(items, bytes);
            portion.messages.push(Whole {
                id,
                record: message.take(),
                accepted: draft.accepted,
                entries,
            });
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
    fn index(&mut self, attempts: &[by_endpoint::Member]) {
        for (number, some) in attempts.chunks(PORTION).enumerate() {
            if number == self.portions.len() {
                self.begin();
            }
            self.portions[number].attempts = some.to_vec();
        }
    }
}

/// The state goes with the last attempt: usually it came about by it.
fn entries<'a>(pair: &Pair<'a>) -> Vec<Entry<'a>> {
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

impl Portion<'_> {
    /// How much it takes of a call.
    pub(super) fn items(&self) -> usize {
        let entries = self.messages.iter().map(|whole| {
            let payload = whole.record.map(|message| message.event.payload.len());
            1 + whole.entries.len() + payload.unwrap_or_default() / LARGE
        });
        entries.sum::<usize>().max(self.attempts.len())
    }

    fn messages(&self) -> impl Iterator<Item = &MessageRecord> {
        self.messages.iter().filter_map(|whole| whole.record)
    }

    /// Whether it can be stored without looking at what is there.
    pub(super) fn is_simple(&self, retention: Duration) -> bool {
        self.messages.iter().all(Whole::is_simple) && self.ending(retention).next().is_none()
    }

    pub(super) fn event_ids(&self) -> Vec<[u8; 28]> {
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
    pub(super) fn ending(
        &self,
        retention: Duration,
    ) -> impl Iterator<Item = (Timestamp, MessageId)> {
        let gone = self.period.hour.end() + retention + SPARE;
        self.messages()
            .filter(move |message| message.has_payload && message.event.payload_until < gone)
            .map(|message| (message.event.payload_until, message.event.message))
    }
}

/// A portion as bytes.
#[derive(Debug, Default)]
pub(super) struct PackedPortion {
    /// Members of which nothing has to be looked up.
    new: Vec<Vec<u8>>,
    /// What is kept apart of them, and large responses.
    large: Vec<(Vec<u8>, Vec<u8>)>,
    /// What has to be compared with what is there.
    compared: Vec<(MessageId, message::Packed, Vec<Vec<u8>>)>,
}

impl PackedPortion {
    pub(super) fn new(portion: &Portion<'_>, common: &mut Common) -> Result<Self, PortError> {
        let mut packed = Self::default();
        for whole in &portion.messages {
            packed.add(whole, common)?;
        }
        Ok(packed)
    }

    fn add(&mut self, whole: &Whole<'_>, common: &mut Common) -> Result<(), PortError> {
        let record = whole.record.map(|message| message::pack(message, common));
        let record = record.transpose()?.unwrap_or_default();
        let entries = self.entries(whole, common);
        let id = whole.id.as_bytes();
        let (mut rest, mut left) = (message::Packed::default(), Vec::new());
        if !whole.accepted {
            rest = record;
        } else if !record.record.is_empty() {
            self.new.push([id, record.record.as_slice()].concat());
            let apart = record.apart.map(|bytes| (id.to_vec(), bytes));
            self.large.extend(apart);
        }
        if !whole.entries.iter().all(is_first) {
            left = entries;
        } else if !entries.is_empty() {
            self.new.push(trail::member(whole.id, &entries));
        }
        if !rest.record.is_empty() || !left.is_empty() {
            self.compared.push((whole.id, rest, left));
        }
        Ok(())
    }

    fn entries(&mut self, whole: &Whole<'_>, common: &mut Common) -> Vec<Vec<u8>> {
        let mut entries = Vec::with_capacity(whole.entries.len());
        for entry in &whole.entries {
            let packed = trail::pack(entry, common);
            entries.push(packed.entry);
            let apart = packed.apart;
            self.large
                .extend(apart.map(|(id, bytes)| (id.as_bytes().to_vec(), bytes)));
        }
        entries
    }

    /// Members of which nothing has to be looked up.
    pub(super) fn take_new(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.new)
    }

    /// What is kept apart, by field.
    pub(super) fn take_apart(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        std::mem::take(&mut self.large)
    }

    pub(super) fn add_rest_to(self, list: &mut List) {
        list.count(self.large.len());
        for (field, bytes) in self.large {
            list.0.extend([field, bytes]);
        }
        list.count(self.compared.len());
        for (id, packed, entries) in self.compared {
            let large = packed.apart.unwrap_or_default();
            list.0
                .extend([id.as_bytes().to_vec(), packed.record, large]);
            list.count(entries.len());
            list.0.extend(entries);
        }
    }
}

impl Whole<'_> {
    /// Whether all of it is new, so that nothing of it is to be compared.
    fn is_simple(&self) -> bool {
        (self.record.is_none() || self.accepted) && self.entries.iter().all(is_first)
    }
}

/// Later attempts are put behind this one, which costs more work, but less room than a member for each.
fn is_first(entry: &Entry<'_>) -> bool {
    match entry {
        Entry::Attempt(attempt, _) => attempt.attempt == 1 && attempt.chain == ChainId::FIRST,
        Entry::State(_) => false,
    }
}

/// Arguments of the script.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Vec<u8>>);

impl List {
    pub(super) fn add(&mut self, argument: &[u8]) {
        self.0.push(argument.to_vec());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.0.push(count.to_string().into_bytes());
    }

    /// Members of a sorted set, in which only their bytes count.
    pub(super) fn add_members(&mut self, members: impl IntoIterator<Item = impl Into<Vec<u8>>>) {
        let members: Vec<Vec<u8>> = members.into_iter().map(Into::into).collect();
        self.count(members.len());
        self.count(members.iter().map(Vec::len).sum());
        self.0.extend(
            members
                .into_iter()
                .flat_map(|member| [b"0".to_vec(), member]),
        );
    }
}
