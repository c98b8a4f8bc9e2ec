//! A message's record as bytes.
//!
//! ```text
//! ┌─────────┬───────┬─────────────┬────────────────┬──────┬─────────┐
//! │ version │ flags │ length meta │ length payload │ meta │ payload │
//! │ 1 byte  │ 1     │ 3           │ 2              │      │         │
//! └─────────┴───────┴─────────────┴────────────────┴──────┴─────────┘
//! ```
//!
//! In the sorted set the message's identifier comes before it; earlier releases put its trail ([`super::trail`]) behind it. The scripts
//! know this head, and nothing of what lies behind it: they take the payload out, and put a record in front of a trail.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::id::{AppId, MessageId};
use postrider_core::message::{Event, MessageRecord};
use postrider_core::name::Uid;
use postrider_core::ports::{MessageKind, PortError};
use postrider_core::time::Timestamp;

use super::texts::{self, Common, Text};
use super::{Known, PART};
use crate::redis::pack::{
    Result, Source, Unreadable, compressed, decompressed, put_bytes, put_number, put_time,
};

/// Version 1, for a message. Sorts before its trail.
pub(super) const VERSION: u8 = 0x10;

const HAS_PAYLOAD: u8 = 1;
const COMPRESSED: u8 = 1 << 1;
/// Under a key of its own: large payloads are not copied whenever a trail grows.
const APART: u8 = 1 << 2;

/// Larger payloads are kept apart.
pub(super) const LARGEST_INLINE: usize = 2048;

const EVENT_ID: u8 = 1;
const TAGS: u8 = 1 << 1;
const HEADERS: u8 = 1 << 2;
const DELIVER_AT: u8 = 1 << 3;

/// What is stored of a message.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) record: Vec<u8>,
    pub(super) apart: Option<Vec<u8>>,
}

pub(super) fn pack(
    message: &MessageRecord,
    common: &mut Common,
) -> std::result::Result<Packed, PortError> {
    let meta = meta(&message.event, common);
    let Ok(meta_len) = u32::try_from(meta.len()) else {
        return Err(too_large());
    };
    let [0, meta_len @ ..] = meta_len.to_be_bytes() else {
        return Err(too_large());
    };
    let (flags, payload, apart) = payload(message);
    let payload_len = u16::try_from(payload.len()).map_err(|_| too_large())?;
    let mut record = vec![VERSION, flags];
    record.extend_from_slice(&meta_len);
    record.extend_from_slice(&payload_len.to_be_bytes());
    record.extend_from_slice(&meta);
    record.extend_from_slice(&payload);
    Ok(Packed { record, apart })
}

fn too_large() -> PortError {
    PortError::Invalid(format!(
        "{PART}: tags and headers of a message are too large"
    ))
}

/// Flags, and the payload in its place or apart.
fn payload(message: &MessageRecord) -> (u8, Vec<u8>, Option<Vec<u8>>) {
    if !message.has_payload {
        return (0, Vec::new(), None);
    }
    let payload = &message.event.payload;
    let (flags, bytes) = match compressed(payload) {
        Some(bytes) => (HAS_PAYLOAD | COMPRESSED, bytes),
        None => (HAS_PAYLOAD, payload.to_vec()),
    };
    if bytes.len() > LARGEST_INLINE {
        (flags | APART, Vec::new(), Some(bytes))
    } else {
        (flags, bytes, None)
    }
}

fn meta(event: &Event, common: &mut Common) -> Vec<u8> {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let mut out = vec![
        flag(event.event_id.is_some(), EVENT_ID)
            | flag(!event.tags.is_empty(), TAGS)
            | flag(!event.headers.is_empty(), HEADERS)
            | flag(event.deliver_at.is_some(), DELIVER_AT),
    ];
    common.put(&mut out, texts::org(event.org));
    common.put(&mut out, texts::kind(&event.event_type, &event.channels));
    put_time(&mut out, event.accepted_at, event.message.created_at());
    put_time(&mut out, event.payload_until, event.accepted_at);
    put_number(&mut out, event.registry_version);
    if let Some(event_id) = &event.event_id {
        put_bytes(&mut out, event_id.as_str().as_bytes());
    }
    if !event.tags.is_empty() {
        put_number(&mut out, event.tags.len() as u64);
        event
            .tags
            .iter()
            .for_each(|tag| put_bytes(&mut out, tag.as_bytes()));
    }
    if !event.headers.is_empty() {
        put_number(&mut out, event.headers.len() as u64);
        for (name, value) in &event.headers {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
    }
    if let Some(deliver_at) = event.deliver_at {
        put_time(&mut out, deliver_at, event.accepted_at);
    }
    out
}

/// A record that was taken apart, but for what it shares with others.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: MessageId,
    pub(super) org: Text,
    pub(super) kind: Text,
    flags: u8,
    payload: Bytes,
    /// Everything but what [`Found::resolve`] fills in.
    rest: Source,
    optional: u8,
}

/// Takes the record off the front of `source`, whose version byte has been read.
pub(super) fn read(id: MessageId, source: &mut Source) -> Result<Found> {
    let flags = source.byte()?;
    let [high, middle, low] = source.array()?;
    let meta_len = u32::from_be_bytes([0, high, middle, low]);
    let payload_len = u16::from_be_bytes(source.array()?);
    let meta = usize::try_from(meta_len).map_err(|_| Unreadable::Short)?;
    let mut meta = Source(source.take(meta)?);
    let payload = source.take(payload_len.into())?;
    Ok(Found {
        id,
        optional: meta.byte()?,
        org: Text::read(&mut meta)?,
        kind: Text::read(&mut meta)?,
        flags,
        payload,
        rest: meta,
    })
}

impl Found {
    pub(super) const fn has_payload(&self) -> bool {
        self.flags & HAS_PAYLOAD != 0
    }

    pub(super) fn accepted_at(&self) -> Result<Timestamp> {
        self.rest.clone().time(self.id.created_at())
    }

    /// The key of what is kept apart.
    pub(super) fn apart(&self) -> Option<[u8; 20]> {
        (self.flags & APART != 0).then_some(*self.id.as_bytes())
    }

    pub(super) fn into_kind(self, known: &Known) -> Result<MessageKind> {
        let (event_type, _) = texts::read_kind(self.kind.resolve(&known.texts)?)?;
        Ok(MessageKind {
            message: self.id,
            event_type,
        })
    }

    pub(super) fn resolve(self, app: AppId, known: &Known) -> Result<MessageRecord> {
        let payload = self.payload(known)?;
        let (event_type, channels) = texts::read_kind(self.kind.resolve(&known.texts)?)?;
        let mut rest = self.rest;
        let has = |flag: u8| self.optional & flag != 0;
        let accepted_at = rest.time(self.id.created_at())?;
        let event = Event {
            org: texts::read_org(self.org.resolve(&known.texts)?)?,
            app,
            message: self.id,
            event_type,
            channels,
            accepted_at,
            payload_until: rest.time(accepted_at)?,
            registry_version: rest.number()?,
            event_id: has(EVENT_ID).then(|| event_id(&mut rest)).transpose()?,
            tags: list(has(TAGS), &mut rest, Source::text)?,
            headers: list(has(HEADERS), &mut rest, |source| {
                Ok((source.text()?, source.text()?))
            })?,
            deliver_at: has(DELIVER_AT)
                .then(|| rest.time(accepted_at))
                .transpose()?,
            payload: payload.clone().unwrap_or_default(),
        };
        Ok(MessageRecord {
            event: Arc::new(event),
            has_payload: payload.is_some(),
        })
    }

    /// One that is kept apart may have been taken away since the record was read.
    fn payload(&self, known: &Known) -> Result<Option<Bytes>> {
        let bytes = match self.apart() {
            _ if self.flags & HAS_PAYLOAD == 0 => None,
            Some(key) => known.apart.get(&key),
            None => Some(&self.payload),
        };
        match bytes.cloned() {
            Some(bytes) if self.flags & COMPRESSED != 0 => decompressed(bytes).map(Some),
            as_it_is => Ok(as_it_is),
        }
    }
}

fn event_id(source: &mut Source) -> Result<Uid> {
    Uid::new(&source.text()?).map_err(|_| Unreadable::Field("an event id"))
}

fn list<T, C: FromIterator<T> + Default>(
    there: bool,
    source: &mut Source,
    read: impl Fn(&mut Source) -> Result<T>,
) -> Result<C> {
    if !there {
        return Ok(C::default());
    }
    let count: usize = source.small()?;
    (0..count).map(|_| read(source)).collect()
}

/// Takes the record of a member of the records' set; its version has been looked at.
pub(super) fn read_member(id: MessageId, member: Vec<u8>) -> Result<Found> {
    let mut source = Source(member.into());
    source.take(id.as_bytes().len() + 1)?;
    read(id, &mut source)
}
