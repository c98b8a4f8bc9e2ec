//! A dead letter as bytes.
//!
//! The event is kept as the pack that it travelled in, so that it goes back to work as the same bytes. In front of it
//! stand a version byte and what it is; it is compressed where that helps. The list has a member for each letter that
//! tells enough to leave most letters unread that a filter does not want.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::dead_letter::{DeadLetter, DeadNote, DeadReason};
use postrider_core::envelope;
use postrider_core::id::{AppId, DeadLetterId, EndpointId};
use postrider_core::message::{Event, Item, Work};
use postrider_core::ports::DeadLetterFilter;
use postrider_core::time::Timestamp;

use crate::redis::pack::{
    Result, Source, Unreadable, compressed, decompressed, put_bytes, put_time,
};

/// Version 1.
const VERSION: u8 = 0x10;
const UNREADABLE: u8 = 1;
const COMPRESSED: u8 = 1 << 1;

/// What the script that files a letter takes.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) id: DeadLetterId,
    pub(super) died_at: Timestamp,
    /// Of the list: letter, reason, time of death, and of a delivery its endpoint and message.
    pub(super) member: Vec<u8>,
    /// Empty for what could not be read.
    pub(super) chain: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Work that could not be read belongs to no application.
pub(super) fn owner(letter: &DeadLetter) -> Option<AppId> {
    match letter {
        DeadLetter::Delivery { event, .. } => Some(event.app),
        DeadLetter::Unreadable { .. } => None,
    }
}

pub(super) fn pack(letter: &DeadLetter) -> Packed {
    match letter {
        DeadLetter::Delivery { event, note } => pack_delivery(event, note),
        DeadLetter::Unreadable {
            id,
            died_at,
            cause,
            raw,
        } => {
            let mut content = Vec::with_capacity(raw.len() + cause.len() + 16);
            put_time(&mut content, *died_at, Timestamp::EPOCH);
            put_bytes(&mut content, cause.as_bytes());
            content.extend_from_slice(raw);
            Packed {
                id: *id,
                died_at: *died_at,
                member: member(*id, DeadReason::Poison, *died_at),
                chain: Vec::new(),
                body: body(UNREADABLE, content),
            }
        }
    }
}

fn pack_delivery(event: &Arc<Event>, note: &DeadNote) -> Packed {
    let item = Item {
        event: Arc::clone(event),
        work: Work::Dead(note.clone()),
        maybe_dup: false,
    };
    let mut member = member(note.id, note.reason, note.died_at);
    member.extend_from_slice(note.endpoint.as_bytes());
    member.extend_from_slice(event.message.as_bytes());
    Packed {
        id: note.id,
        died_at: note.died_at,
        member,
        chain: note.chain.0.to_be_bytes().to_vec(),
        body: body(0, envelope::encode(&[item]).into()),
    }
}

fn member(id: DeadLetterId, reason: DeadReason, died_at: Timestamp) -> Vec<u8> {
    let reason = match reason {
        DeadReason::Exhausted => 0,
        DeadReason::Gone => 1,
        DeadReason::Poison => 2,
    };
    let mut member = id.as_bytes().to_vec();
    member.push(reason);
    member.extend_from_slice(&died_at.as_millis().to_be_bytes());
    member
}

fn body(flags: u8, content: Vec<u8>) -> Vec<u8> {
    let (flags, content) = match compressed(&content) {
        Some(content) => (flags | COMPRESSED, content),
        None => (flags, content),
    };
    [&[VERSION, flags], content.as_slice()].concat()
}

pub(super) fn read(id: DeadLetterId, body: Bytes) -> Result<DeadLetter> {
    let mut source = Source(body);
    match source.byte()? {
        VERSION => {}
        other => return Err(Unreadable::Version(other)),
    }
    let flags = source.byte()?;
    if flags & COMPRESSED != 0 {
        source = Source(decompressed(source.0)?);
    }
    if flags & UNREADABLE != 0 {
        return Ok(DeadLetter::Unreadable {
            id,
            died_at: source.time(Timestamp::EPOCH)?,
            cause: source.text()?,
            raw: source.0,
        });
    }
    let items = envelope::decode(&source.0).map_err(|_| Unreadable::Field("a dead letter"))?;
    let letter = items.into_iter().next().and_then(|item| match item.work {
        Work::Dead(note) => Some(DeadLetter::Delivery {
            event: item.event,
            note,
        }),
        Work::Match | Work::Targets(_) => None,
    });
    letter.ok_or(Unreadable::Field("a dead letter"))
}

/// The letter of a member of the list, and whether a filter may want it.
pub(super) fn listed(member: &[u8], filter: &DeadLetterFilter) -> Result<(DeadLetterId, bool)> {
    let mut source = Source(Bytes::copy_from_slice(member));
    let id = DeadLetterId::from_bytes(source.array()?);
    let reason = match source.byte()? {
        0 => DeadReason::Exhausted,
        1 => DeadReason::Gone,
        2 => DeadReason::Poison,
        _ => return Err(Unreadable::Field("a reason")),
    };
    let died_at = Timestamp::from_millis(i64::from_be_bytes(source.array()?));
    let endpoint = match source.is_empty() {
        true => None,
        false => Some(EndpointId::from_bytes(source.array()?)),
    };
    Ok((id, wants(filter, reason, died_at, endpoint)))
}

fn wants(
    filter: &DeadLetterFilter,
    its_reason: DeadReason,
    died_at: Timestamp,
    at: Option<EndpointId>,
) -> bool {
    let DeadLetterFilter {
        endpoint,
        reason,
        before,
        after,
    } = filter;
    after.is_none_or(|after| died_at > after)
        && before.is_none_or(|before| died_at < before)
        && reason.is_none_or(|reason| its_reason == reason)
        && endpoint.is_none_or(|endpoint| at == Some(endpoint))
}

pub(super) fn wants_letter(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    match letter {
        DeadLetter::Delivery { note, .. } => {
            wants(filter, note.reason, note.died_at, Some(note.endpoint))
        }
        DeadLetter::Unreadable { died_at, .. } => wants(filter, DeadReason::Poison, *died_at, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::pair::ChainId;
    use postrider_core::samples::{self, NOW};

    fn delivery() -> DeadLetter {
        DeadLetter::Delivery {
            event: Arc::new(samples::event()),
            note: DeadNote {
                id: DeadLetterId::from_bytes([5; 20]),
                endpoint: EndpointId::from_bytes([4; 20]),
                chain: ChainId(7),
                reason: DeadReason::Gone,
                attempts: 8,
                last_status: 410,
                last_response: "gone ".repeat(50),
                died_at: NOW,
            },
        }
    }

    fn unreadable(raw: &[u8]) -> DeadLetter {
        DeadLetter::Unreadable {
            id: DeadLetterId::from_bytes([6; 20]),
            died_at: NOW,
            cause: "nonsense".to_owned(),
            raw: Bytes::copy_from_slice(raw),
        }
    }

    #[test]
    fn a_letter_comes_back_whole() {
        for letter in [delivery(), unreadable(b"\xff\x00"), unreadable(b"")] {
            let packed = pack(&letter);
            assert_eq!(read(packed.id, packed.body.into()), Ok(letter));
        }
    }

    #[test]
    fn a_letter_that_could_not_be_read_is_these_bytes() {
        let packed = pack(&unreadable(b"\xff\x00"));
        let body = b"\x10\x01\x80\xa0\xab\xfe\xf9\x62\x08nonsense\xff\x00";
        assert_eq!(packed.body, body);
        let member = [[6; 20].as_slice(), b"\x02\x00\x00\x01\x8b\xcf\xe5\x68\x00"].concat();
        assert_eq!(packed.member, member);
    }

    #[test]
    fn the_list_tells_what_a_filter_does_not_want() {
        let packed = pack(&delivery());
        let of = |reason| DeadLetterFilter {
            reason: Some(reason),
            ..DeadLetterFilter::default()
        };
        let listed = |filter: &DeadLetterFilter| listed(&packed.member, filter);
        assert_eq!(listed(&of(DeadReason::Gone)), Ok((packed.id, true)));
        assert_eq!(listed(&of(DeadReason::Poison)), Ok((packed.id, false)));
    }

    #[test]
    fn letters_of_a_later_version_are_refused_by_name() {
        let refused = read(DeadLetterId::MIN, Bytes::from_static(&[0x20, 0]));
        assert_eq!(refused, Err(Unreadable::Version(0x20)));
    }
}
