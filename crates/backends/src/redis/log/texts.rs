//! What many records of a period have in common, kept once: organisations, event types, endpoints with their URLs.
//!
//! A record names such a text by four bytes, its hash. That needs no agreement between processes; the script that
//! stores records also stores their texts, or finds them there. Where a hash turns out to mean another text already,
//! or there are too many texts, it refuses, and the record carries the text itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use postrider_core::id::{EndpointId, OrgId};
use postrider_core::name::{Channel, EventTypeName};

use crate::redis::pack::{Result, Source, Unreadable, put_bytes, put_number, text};

/// The hash of a text.
pub(super) type Ref = [u8; 4];

/// In place of a hash: the text itself follows.
const INLINE: Ref = [0xff; 4];

/// FNV-1a.
pub(super) fn hash(text: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    text.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn reference(text: &[u8]) -> Ref {
    let hash = hash(text);
    let folded = ((hash >> 32) ^ hash) as u32;
    folded.to_be_bytes()
}

/// Texts of the records of one call.
#[derive(Debug, Default)]
pub(super) struct Common {
    texts: BTreeMap<Ref, Vec<u8>>,
    /// These mean something else where the records are to be stored.
    pub(super) taken: HashSet<Ref>,
}

impl Common {
    pub(super) fn avoiding(taken: HashSet<Ref>) -> Self {
        Self {
            texts: BTreeMap::new(),
            taken,
        }
    }

    pub(super) fn put(&mut self, out: &mut Vec<u8>, text: Vec<u8>) {
        let name = reference(&text);
        let ours = name != INLINE
            && !self.taken.contains(&name)
            && self.texts.get(&name).is_none_or(|there| *there == text);
        if ours {
            out.extend_from_slice(&name);
            self.texts.insert(name, text);
        } else {
            out.extend_from_slice(&INLINE);
            put_bytes(out, &text);
        }
    }

    pub(super) const fn texts(&self) -> &BTreeMap<Ref, Vec<u8>> {
        &self.texts
    }
}

/// A text as a record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Named(Ref),
    Whole(Bytes),
}

impl Text {
    pub(super) fn read(source: &mut Source) -> Result<Self> {
        match source.array()? {
            INLINE => source.bytes().map(Self::Whole),
            name => Ok(Self::Named(name)),
        }
    }

    pub(super) fn resolve(&self, known: &HashMap<Ref, Bytes>) -> Result<Source> {
        let bytes = match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Named(name) => known.get(name),
        };
        let bytes = bytes.ok_or(Unreadable::Field("a text that records share"))?;
        Ok(Source(bytes.clone()))
    }
}

/// The sort of a text, so that two of different sorts never are one.
const ORG: u8 = b'o';
const KIND: u8 = b'k';
const PLACE: u8 = b'p';

pub(super) fn org(org: OrgId) -> Vec<u8> {
    [&[ORG], org.as_bytes().as_slice()].concat()
}

/// What was sent.
pub(super) fn kind(event_type: &EventTypeName, channels: &[Channel]) -> Vec<u8> {
    let mut out = vec![KIND];
    put_bytes(&mut out, event_type.as_str().as_bytes());
    put_number(&mut out, channels.len() as u64);
    for channel in channels {
        put_bytes(&mut out, channel.as_str().as_bytes());
    }
    out
}

/// Where to.
pub(super) fn place(endpoint: EndpointId, url: &str) -> Vec<u8> {
    [&[PLACE], endpoint.as_bytes().as_slice(), url.as_bytes()].concat()
}

fn of_sort(mut source: Source, sort: u8) -> Result<Source> {
    match source.byte()? {
        found if found == sort => Ok(source),
        _ => Err(Unreadable::Field("the sort of a text")),
    }
}

pub(super) fn read_org(source: Source) -> Result<OrgId> {
    of_sort(source, ORG)?.array().map(OrgId::from_bytes)
}

pub(super) fn read_kind(source: Source) -> Result<(EventTypeName, Vec<Channel>)> {
    let mut source = of_sort(source, KIND)?;
    let event_type = EventTypeName::new(&source.text()?);
    let event_type = event_type.map_err(|_| Unreadable::Field("an event type"))?;
    let count: usize = source.small()?;
    let mut channels = Vec::new();
    for _ in 0..count {
        let channel = Channel::new(&source.text()?);
        channels.push(channel.map_err(|_| Unreadable::Field("a channel"))?);
    }
    Ok((event_type, channels))
}

pub(super) fn read_place(source: Source) -> Result<(EndpointId, String)> {
    let mut source = of_sort(source, PLACE)?;
    let endpoint = EndpointId::from_bytes(source.array()?);
    Ok((endpoint, text(&source.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two texts with one hash. Half of the hash's 32 bits in tries find a pair.
    fn twins() -> [Vec<u8>; 2] {
        let mut seen = HashMap::new();
        (0_u64..)
            .map(|number| number.to_be_bytes().to_vec())
            .find_map(|text| {
                let other = seen.insert(reference(&text), text.clone())?;
                Some([other, text])
            })
            .unwrap()
    }

    fn read_all(out: Vec<u8>, known: &HashMap<Ref, Bytes>) -> Vec<Bytes> {
        let mut source = Source(out.into());
        let mut found = Vec::new();
        while !source.is_empty() {
            let text = Text::read(&mut source).unwrap();
            found.push(text.resolve(known).unwrap().0);
        }
        found
    }

    #[test]
    fn texts_of_one_hash_are_told_apart() {
        let [one, other] = twins();
        let mut common = Common::default();
        let mut out = Vec::new();
        for text in [&one, &other, &one] {
            common.put(&mut out, text.clone());
        }
        assert_eq!(common.texts().len(), 1);
        let known = common.texts().iter();
        let known = known.map(|(name, text)| (*name, Bytes::from(text.clone())));
        assert_eq!(read_all(out, &known.collect()), [&one, &other, &one]);
    }

    #[test]
    fn a_text_whose_hash_is_taken_goes_with_its_record() {
        let text = org(OrgId::from_bytes([1; 20]));
        let mut common = Common::default();
        common.taken.insert(reference(&text));
        let mut out = Vec::new();
        common.put(&mut out, text.clone());
        assert!(common.texts().is_empty());
        assert_eq!(read_all(out, &HashMap::new()), [text]);
    }

    #[test]
    fn names_never_change() {
        let text = org(OrgId::from_bytes([1; 20]));
        assert_eq!(reference(&text), [0x85, 0x69, 0x41, 0xb1]);
    }
}
