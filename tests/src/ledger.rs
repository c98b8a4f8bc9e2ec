//! Everything accepted against everything received: what was lost, what came twice, what nobody sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::Received;

/// The events that were answered 202.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    accepted: BTreeSet<String>,
}

/// What the comparison yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub accepted: usize,
    pub received: usize,
    /// Accepted and never received.
    pub lost: Vec<String>,
    /// Received more than once, with how often.
    pub duplicated: BTreeMap<String, usize>,
    /// Received and never accepted.
    pub unexpected: Vec<String>,
}

impl Ledger {
    pub fn accept(&mut self, message: String) {
        assert!(
            self.accepted.insert(message),
            "two events were given one identifier"
        );
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Whether each accepted event is among `requests`.
    #[must_use]
    pub fn is_complete(&self, requests: &[Received]) -> bool {
        let arrived: BTreeSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        self.accepted
            .iter()
            .all(|message| arrived.contains(message.as_str()))
    }

    #[must_use]
    pub fn compare(&self, requests: &[Received]) -> Tally {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for request in requests {
            *counts.entry(&request.id).or_default() += 1;
        }
        let missing = self
            .accepted
            .iter()
            .filter(|message| !counts.contains_key(message.as_str()));
        let twice = counts.iter().filter(|(_, count)| **count > 1);
        let strange = counts
            .keys()
            .filter(|message| !self.accepted.contains(**message));
        Tally {
            accepted: self.accepted.len(),
            received: requests.len(),
            lost: missing.cloned().collect(),
            duplicated: twice
                .map(|(message, count)| ((*message).to_owned(), *count))
                .collect(),
            unexpected: strange.map(|message| (*message).to_owned()).collect(),
        }
    }
}
