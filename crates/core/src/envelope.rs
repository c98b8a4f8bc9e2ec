//! How work is written down: a pack of 1 to 64 items in one broker message.
//!
//! ```text
//! ┌─────────┬──────────────────────────────────────────────┬───────────┬───────────┬───
//! │ version │ MessagePack array of items, all but payloads │ payload 1 │ payload 2 │ …
//! │ 1 byte  │ (arrays, not maps; identifiers as 20 bytes)  │ raw bytes │ raw bytes │
//! └─────────┴──────────────────────────────────────────────┴───────────┴───────────┴───
//! ```
//!
//! Payloads come last and raw: the bytes that are signed are the bytes that were received, and decoding
//! slices them out of the buffer without a copy. A pack outlives the process that wrote it by days, so this
//! layout never changes: a change is another version byte, and decoders go on reading the one before. Each
//! item ends with a list of numbered extensions, which a reader that does not know them ignores.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::dead_letter::DeadNote;
use crate::id::{AppId, MessageId, OrgId};
use crate::message::{Event, Item, Target, Work};
use crate::name::{Channel, EventTypeName, Uid};
use crate::time::Timestamp;

/// The version this code writes.
pub const VERSION: u8 = 1;
/// The most items in a pack.
pub const MAX_ITEMS: usize = 64;
/// The most payload bytes in a pack of more than one item.
pub const MAX_PACK_BYTES: usize = 64 * 1024;

/// Why bytes are not a pack.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the message is empty")]
    Empty,
    #[error(
        "version {0} of the envelope is not known to this release, which reads version {VERSION}"
    )]
    Version(u8),
    #[error("the head of the envelope cannot be read: {0}")]
    Head(#[from] rmp_serde::decode::Error),
    #[error("the envelope holds {0} items, not 1 to {MAX_ITEMS}")]
    Count(usize),
    #[error("payloads of {expected} bytes were announced, {found} bytes are there")]
    Length { expected: u64, found: usize },
    #[error("an item has work of kind {0}, which this release does not know, or lacks its data")]
    Work(u8),
}

const MATCH: u8 = 0;
const TARGETS: u8 = 1;
const DEAD: u8 = 2;

#[derive(Serialize, Deserialize)]
struct Head {
    org: OrgId,
    app: AppId,
    message: MessageId,
    event_id: Option<Uid>,
    event_type: EventTypeName,
    channels: Vec<Channel>,
    tags: Vec<String>,
    headers: BTreeMap<String, String>,
    accepted_at: Timestamp,
    deliver_at: Option<Timestamp>,
    payload_until: Timestamp,
    registry_version: u64,
    maybe_dup: bool,
    work: u8,
    targets: Vec<Target>,
    dead: Option<DeadNote>,
    payload_len: u32,
    extensions: Vec<(u8, ByteBuf)>,
}

/// Writes a pack.
///
/// # Panics
/// Never: every field of an item can be represented.
#[must_use]
pub fn encode(items: &[Item]) -> Bytes {
    let heads: Vec<Head> = items.iter().map(head).collect();
    let payloads: usize = items.iter().map(|item| item.event.payload.len()).sum();
    let mut out = Vec::with_capacity(1 + items.len() * 256 + payloads);
    out.push(VERSION);
    rmp_serde::encode::write(&mut out, &heads).expect("writing to memory cannot fail");
    for item in items {
        out.extend_from_slice(&item.event.payload);
    }
    out.into()
}

fn head(item: &Item) -> Head {
    let event = &*item.event;
    let (work, targets, dead) = match &item.work {
        Work::Match => (MATCH, Vec::new(), None),
        Work::Targets(targets) => (TARGETS, targets.clone(), None),
        Work::Dead(note) => (DEAD, Vec::new(), Some(note.clone())),
    };
    Head {
        org: event.org,
        app: event.app,
        message: event.message,
        event_id: event.event_id.clone(),
        event_type: event.event_type.clone(),
        channels: event.channels.clone(),
        tags: event.tags.clone(),
        headers: event.headers.clone(),
        accepted_at: event.accepted_at,
        deliver_at: event.deliver_at,
        payload_until: event.payload_until,
        registry_version: event.registry_version,
        maybe_dup: item.maybe_dup,
        work,
        targets,
        dead,
        payload_len: u32::try_from(event.payload.len())
            .expect("payloads are bounded far below 4 GiB"),
        extensions: Vec::new(),
    }
}

/// Reads a pack. Payloads are slices of `bytes`.
///
/// # Errors
/// Where the bytes are of an unknown version, are cut off, or are no pack at all.
pub fn decode(bytes: &Bytes) -> Result<Vec<Item>, EnvelopeError> {
    match bytes.first() {
        None => return Err(EnvelopeError::Empty),
        Some(&VERSION) => {}
        Some(&other) => return Err(EnvelopeError::Version(other)),
    }
    let mut cursor = Cursor::new(&bytes[1..]);
    let heads: Vec<Head> = rmp_serde::from_read(&mut cursor)?;
    if heads.is_empty() || heads.len() > MAX_ITEMS {
        return Err(EnvelopeError::Count(heads.len()));
    }
    let start = 1 + usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let found = bytes.len() - start;
    let expected: u64 = heads.iter().map(|head| u64::from(head.payload_len)).sum();
    if expected != found as u64 {
        return Err(EnvelopeError::Length { expected, found });
    }
    let mut from = start;
    let mut items = Vec::with_capacity(heads.len());
    for head in heads {
        let to = from + head.payload_len as usize;
        items.push(item(head, bytes.slice(from..to))?);
        from = to;
    }
    Ok(items)
}

fn item(head: Head, payload: Bytes) -> Result<Item, EnvelopeError> {
    let work = match (head.work, head.dead) {
        (MATCH, None) => Work::Match,
        (TARGETS, None) => Work::Targets(head.targets),
        (DEAD, Some(note)) => Work::Dead(note),
        (kind, _) => return Err(EnvelopeError::Work(kind)),
    };
    let event = Event {
        org: head.org,
        app: head.app,
        message: head.message,
        event_id: head.event_id,
        event_type: head.event_type,
        channels: head.channels,
        tags: head.tags,
        headers: head.headers,
        accepted_at: head.accepted_at,
        deliver_at: head.deliver_at,
        payload_until: head.payload_until,
        registry_version: head.registry_version,
        payload,
    };
    Ok(Item {
        event: Arc::new(event),
        work,
        maybe_dup: head.maybe_dup,
    })
}

/// Groups items into packs, in order: at most [`MAX_ITEMS`] and [`MAX_PACK_BYTES`] each; a larger item travels alone.
#[must_use]
pub fn group(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut packs: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.event.payload.len();
        match packs.last_mut() {
            Some(pack) if pack.len() < MAX_ITEMS && bytes + size <= MAX_PACK_BYTES => {
                bytes += size;
                pack.push(item);
            }
            _ => {
                bytes = size;
                packs.push(vec![item]);
            }
        }
    }
    packs
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
