//! What became of a message: its attempts and how far it has come at each endpoint, in the order in which they were
//! recorded. Each entry stands behind its length; scripts append entries and know nothing of what is in them.
//!
//! An attempt and the state that its endpoint came to by it are one entry, because they are recorded together. A state
//! without an attempt (canceled, for instance) is an entry of its own. An entry may be there twice: readers take the
//! first of an attempt, and the latest state of an endpoint.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::Trigger;
use postrider_core::pair::ChainId;
use postrider_core::ports::{Destination, DestinationStatus, EXPUNGED};
use postrider_core::time::Timestamp;

use super::Known;
use super::texts::{self, Common, Text};
use crate::redis::pack::{
    Result, Source, Unreadable, compressed, decompressed, put_bytes, put_number, put_time, text,
};

/// Version 1, for a trail without its message, or what does not fit behind it. Sorts after the message.
pub(super) const VERSION: u8 = 0x11;

const ATTEMPT: u8 = 1;
const STATE: u8 = 1 << 1;
const SUCCEEDED: u8 = 1 << 2;
const MANUAL: u8 = 1 << 3;
/// Not the first chain.
const CHAIN: u8 = 1 << 4;
const RESPONSE: u8 = 1 << 5;
const COMPRESSED: u8 = 1 << 6;
/// The response is under a key of its own.
const APART: u8 = 1 << 7;

/// Larger responses are kept apart.
pub(super) const LARGEST_INLINE: usize = 512;

const STATUS: u8 = 0b0111;
const NEXT_ATTEMPT: u8 = 0b1000;

/// Something to be appended to a trail.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Attempt(&'a AttemptRecord, Option<&'a Destination>),
    State(&'a Destination),
}

/// What is stored of an entry.
#[derive(Debug)]
pub(super) struct Packed {
    /// With its length in front.
    pub(super) entry: Vec<u8>,
    pub(super) apart: Option<(AttemptId, Vec<u8>)>,
}

pub(super) fn pack(entry: &Entry<'_>, common: &mut Common) -> Packed {
    let mut out = Vec::with_capacity(48);
    let mut apart = None;
    match entry {
        Entry::Attempt(attempt, state) => {
            apart = put_attempt(&mut out, attempt, state.is_some(), common);
            if let Some(state) = state {
                put_state(&mut out, state, attempt.at);
            }
        }
        Entry::State(state) => {
            out.push(STATE);
            out.extend_from_slice(state.endpoint.as_bytes());
            put_state(&mut out, state, state.message.created_at());
        }
    }
    let mut entry = Vec::with_capacity(out.len() + 2);
    put_bytes(&mut entry, &out);
    Packed { entry, apart }
}

/// A member of the records' set for entries of which nothing is there yet.
pub(super) fn member(message: MessageId, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut member = message.as_bytes().to_vec();
    member.extend([VERSION, 0, 0]);
    entries.iter().for_each(|entry| member.extend(entry));
    member
}

/// Returns the response where it is to be kept apart.
fn put_attempt(
    out: &mut Vec<u8>,
    attempt: &AttemptRecord,
    with_state: bool,
    common: &mut Common,
) -> Option<(AttemptId, Vec<u8>)> {
    let (response_flags, response) = response(&attempt.response);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        ATTEMPT
            | flag(with_state, STATE)
            | flag(attempt.succeeded, SUCCEEDED)
            | flag(attempt.trigger == Trigger::Manual, MANUAL)
            | flag(attempt.chain != ChainId::FIRST, CHAIN)
            | response_flags,
    );
    out.extend_from_slice(attempt.id.as_bytes());
    common.put(out, texts::place(attempt.endpoint, &attempt.url));
    common.put(out, texts::kind(&attempt.event_type, &attempt.channels));
    put_time(out, attempt.at, attempt.id.created_at());
    put_number(out, attempt.attempt.into());
    put_number(out, attempt.status_code.into());
    put_number(out, attempt.duration_ms.into());
    if attempt.chain != ChainId::FIRST {
        out.extend_from_slice(&attempt.chain.0.to_be_bytes());
    }
    if response_flags & APART != 0 {
        return Some((attempt.id, response));
    }
    if response_flags & RESPONSE != 0 {
        put_bytes(out, &response);
    }
    None
}

fn response(response: &str) -> (u8, Vec<u8>) {
    if response.is_empty() {
        return (0, Vec::new());
    }
    let (flags, bytes) = match compressed(response.as_bytes()) {
        Some(bytes) => (RESPONSE | COMPRESSED, bytes),
        None => (RESPONSE, response.as_bytes().to_vec()),
    };
    if bytes.len() > LARGEST_INLINE {
        (flags | APART, bytes)
    } else {
        (flags, bytes)
    }
}

fn put_state(out: &mut Vec<u8>, state: &Destination, known: Timestamp) {
    let waits = if state.next_attempt.is_some() {
        NEXT_ATTEMPT
    } else {
        0
    };
    out.push(state.status as u8 | waits);
    put_time(out, state.at, known);
    if let Some(next) = state.next_attempt {
        put_time(out, next, state.at);
    }
}

/// An entry that was taken apart, but for what it shares with others.
#[derive(Debug)]
pub(super) enum Found {
    Attempt(Box<FoundAttempt>),
    State(EndpointId, State),
}

#[derive(Debug)]
pub(super) struct FoundAttempt {
    pub(super) id: AttemptId,
    pub(super) place: Text,
    pub(super) kind: Text,
    flags: u8,
    at: Timestamp,
    attempt: u16,
    status_code: u16,
    duration_ms: u32,
    chain: ChainId,
    response: Bytes,
    state: Option<State>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    status: DestinationStatus,
    next_attempt: Option<Timestamp>,
    at: Timestamp,
}

/// Reads all entries there are.
pub(super) fn read(message: MessageId, mut source: Source) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    while !source.is_empty() {
        let entry = Source(source.bytes()?);
        found.push(read_entry(message, entry)?);
    }
    Ok(found)
}

fn read_entry(message: MessageId, mut source: Source) -> Result<Found> {
    let flags = source.byte()?;
    if flags & ATTEMPT != 0 {
        return Ok(Found::Attempt(Box::new(read_attempt(flags, source)?)));
    }
    let endpoint = EndpointId::from_bytes(source.array()?);
    let state = read_state(&mut source, message.created_at())?;
    Ok(Found::State(endpoint, state))
}

fn read_attempt(flags: u8, mut source: Source) -> Result<FoundAttempt> {
    let id = AttemptId::from_bytes(source.array()?);
    let place = Text::read(&mut source)?;
    let kind = Text::read(&mut source)?;
    let at = source.time(id.created_at())?;
    let (attempt, status_code, duration_ms) = (source.small()?, source.small()?, source.small()?);
    let chain = match flags & CHAIN {
        0 => ChainId::FIRST,
        _ => ChainId(u64::from_be_bytes(source.array()?)),
    };
    let response = match flags & (RESPONSE | APART) {
        RESPONSE => source.bytes()?,
        _ => Bytes::new(),
    };
    let state = match flags & STATE {
        0 => None,
        _ => Some(read_state(&mut source, at)?),
    };
    Ok(FoundAttempt {
        id,
        place,
        kind,
        flags,
        at,
        attempt,
        status_code,
        duration_ms,
        chain,
        response,
        state,
    })
}

fn read_state(source: &mut Source, known: Timestamp) -> Result<State> {
    let flags = source.byte()?;
    let status = DestinationStatus::from_u8(flags & STATUS);
    let at = source.time(known)?;
    let next_attempt = match flags & NEXT_ATTEMPT {
        0 => None,
        _ => Some(source.time(at)?),
    };
    Ok(State {
        status: status.ok_or(Unreadable::Field("the state of a destination"))?,
        next_attempt,
        at,
    })
}

impl FoundAttempt {
    /// The key of what is kept apart.
    pub(super) fn apart(&self) -> Option<[u8; 20]> {
        (self.flags & APART != 0).then_some(*self.id.as_bytes())
    }

    /// Whether the response was taken away.
    pub(super) fn is_expunged(&self) -> bool {
        self.flags & (RESPONSE | COMPRESSED | APART) == RESPONSE
            && self.response == EXPUNGED.as_bytes()
    }

    pub(super) fn endpoint(&self, known: &Known) -> Result<EndpointId> {
        let place = self.place.resolve(&known.texts)?;
        Ok(texts::read_place(place)?.0)
    }

    pub(super) fn resolve(
        &self,
        app: AppId,
        message: MessageId,
        known: &Known,
    ) -> Result<AttemptRecord> {
        let (endpoint, url) = texts::read_place(self.place.resolve(&known.texts)?)?;
        let (event_type, channels) = texts::read_kind(self.kind.resolve(&known.texts)?)?;
        let has = |flag: u8| self.flags & flag != 0;
        Ok(AttemptRecord {
            id: self.id,
            app,
            message,
            endpoint,
            chain: self.chain,
            attempt: self.attempt,
            trigger: if has(MANUAL) {
                Trigger::Manual
            } else {
                Trigger::Scheduled
            },
            at: self.at,
            url,
            succeeded: has(SUCCEEDED),
            status_code: self.status_code,
            response: self.response(known)?,
            duration_ms: self.duration_ms,
            event_type,
            channels,
        })
    }

    fn response(&self, known: &Known) -> Result<String> {
        let bytes = match self.apart() {
            None => self.response.clone(),
            Some(key) => {
                let apart = known.apart.get(&key).cloned();
                apart.ok_or(Unreadable::Field("a response that is kept apart"))?
            }
        };
        if self.flags & COMPRESSED == 0 {
            return text(&bytes);
        }
        text(&decompressed(bytes)?)
    }
}

/// Bytes from which something was taken away.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// The attempt is in them.
    pub(super) found: bool,
    /// Its response was, too.
    pub(super) changed: bool,
}

/// Entries as they are, but for the response of one attempt, in whose place [`EXPUNGED`] stands.
pub(super) fn without_response(attempt: AttemptId, mut source: Source) -> Result<Rewritten> {
    let mut all = Rewritten {
        bytes: Vec::with_capacity(source.0.len()),
        found: false,
        changed: false,
    };
    while !source.is_empty() {
        let entry = source.bytes()?;
        match entry_without_response(attempt, &entry)? {
            Some(other) => {
                all.found = true;
                all.changed |= other != entry;
                put_bytes(&mut all.bytes, &other);
            }
            None => put_bytes(&mut all.bytes, &entry),
        }
    }
    Ok(all)
}

/// `None` where it is another entry.
fn entry_without_response(attempt: AttemptId, entry: &Bytes) -> Result<Option<Vec<u8>>> {
    let mut source = Source(entry.clone());
    let flags = source.byte()?;
    if flags & ATTEMPT == 0 || source.array()? != *attempt.as_bytes() {
        return Ok(None);
    }
    Text::read(&mut source)?;
    Text::read(&mut source)?;
    // When, which, its status, how long it took.
    for _ in 0..4 {
        source.number()?;
    }
    if flags & CHAIN != 0 {
        source.take(8)?;
    }
    let before = &entry[1..entry.len() - source.0.len()];
    if flags & (RESPONSE | APART) == RESPONSE {
        source.bytes()?;
    }
    let mut out = vec![flags & !(COMPRESSED | APART) | RESPONSE];
    out.extend_from_slice(before);
    put_bytes(&mut out, EXPUNGED.as_bytes());
    out.extend_from_slice(&source.0);
    Ok(Some(out))
}

/// The latest state at each endpoint.
pub(super) fn destinations(
    app: AppId,
    message: MessageId,
    trail: &[Found],
    known: &Known,
) -> Result<Vec<Destination>> {
    let mut latest: BTreeMap<EndpointId, State> = BTreeMap::new();
    for entry in trail {
        let (endpoint, state) = match entry {
            Found::State(endpoint, state) => (*endpoint, *state),
            Found::Attempt(attempt) => match attempt.state {
                Some(state) => (attempt.endpoint(known)?, state),
                None => continue,
            },
        };
        let known = latest.entry(endpoint).or_insert(state);
        if state.at >= known.at {
            *known = state;
        }
    }
    let destination = |(endpoint, state): (EndpointId, State)| Destination {
        app,
        message,
        endpoint,
        status: state.status,
        next_attempt: state.next_attempt,
        at: state.at,
    };
    Ok(latest.into_iter().map(destination).collect())
}
