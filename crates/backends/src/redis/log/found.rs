//! What is stored of a message, taken apart: its record, its trail, and what has to be looked up to understand them.

use std::collections::{BTreeMap, BTreeSet};

use postrider_core::id::{AttemptId, MessageId};

use super::texts::{Ref, Text};
use super::trail::FoundAttempt;
use super::{message, trail};
use crate::redis::pack::{Result, Source, Unreadable};

/// What is stored of one message.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: MessageId,
    pub(super) message: Option<message::Found>,
    pub(super) trail: Vec<trail::Found>,
}

/// What has to be looked up before records can be understood.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) texts: BTreeSet<Ref>,
    pub(super) apart: BTreeSet<[u8; 20]>,
}

impl Wanted {
    fn text(&mut self, text: &Text) {
        if let Text::Named(name) = text {
            self.texts.insert(*name);
        }
    }

    pub(super) fn message(&mut self, found: &message::Found) {
        self.text(&found.org);
        self.text(&found.kind);
        self.apart.extend(found.apart());
    }

    /// What it takes to know all of a message but what is kept apart.
    pub(super) fn texts_of(&mut self, found: &message::Found) {
        self.text(&found.org);
        self.text(&found.kind);
    }

    pub(super) fn attempt(&mut self, found: &FoundAttempt) {
        self.text(&found.place);
        self.text(&found.kind);
        self.apart.extend(found.apart());
    }
}

impl Found {
    pub(super) fn read(id: MessageId, members: Vec<Vec<u8>>) -> Result<Self> {
        let mut found = Self {
            id,
            message: None,
            trail: Vec::new(),
        };
        for member in members {
            found.add(Source(member.into()))?;
        }
        Ok(found)
    }

    fn add(&mut self, mut source: Source) -> Result<()> {
        source.take(self.id.as_bytes().len())?;
        match source.byte()? {
            message::VERSION => {
                let message = message::read(self.id, &mut source)?;
                // Of two, the first has no payload any more: its flags sort lower.
                self.message.get_or_insert(message);
            }
            // Their numbers.
            trail::VERSION => drop(source.take(2)?),
            other => return Err(Unreadable::Version(other)),
        }
        self.trail.append(&mut trail::read(self.id, source)?);
        Ok(())
    }

    /// Each once, in the order of their identifiers. Of several, the first, unless a later one has no response any more: one
    /// that was recorded again after it had been taken away.
    pub(super) fn attempts(&self) -> BTreeMap<AttemptId, &FoundAttempt> {
        let mut attempts = BTreeMap::new();
        for entry in &self.trail {
            if let trail::Found::Attempt(attempt) = entry {
                let first = attempts.entry(attempt.id).or_insert(&**attempt);
                if attempt.is_expunged() {
                    *first = attempt;
                }
            }
        }
        attempts
    }

    pub(super) fn attempt(&self, id: AttemptId) -> Option<&FoundAttempt> {
        self.attempts().get(&id).copied()
    }

    /// What has to be looked up to know where a message went, and what it is, but for what is kept apart.
    pub(super) fn texts(&self, wanted: &mut Wanted) {
        self.message
            .iter()
            .for_each(|message| wanted.texts_of(message));
        for entry in &self.trail {
            if let trail::Found::Attempt(attempt) = entry {
                wanted.text(&attempt.place);
            }
        }
    }

    pub(super) fn wanted_of_trail(&self) -> Wanted {
        let mut wanted = Wanted::default();
        self.attempts()
            .values()
            .for_each(|attempt| wanted.attempt(attempt));
        wanted
    }
}

/// Splits a member of the records' set into its message and whether a message's record is in it.
pub(super) fn message_in(member: &[u8]) -> Result<(MessageId, bool)> {
    let (id, rest) = member.split_first_chunk().ok_or(Unreadable::Short)?;
    let version = rest.first().ok_or(Unreadable::Short)?;
    Ok((MessageId::from_bytes(*id), *version == message::VERSION))
}
