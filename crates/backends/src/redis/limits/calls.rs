//! Lists of entries, cut into calls of scripts.

use std::collections::HashMap;

use futures_util::future::join_all;
use postrider_core::ports::PortError;
use redis::{FromRedisValue, RedisResult};

use super::{companion, failed};
use crate::redis::script::{Atomic, Call};
use crate::redis::server::Link;

/// Entries that one call handles at most: it keeps everybody else waiting for up to a millisecond.
const MOST: usize = 64;

/// Entries whose keys lie in one slot, in their order; on a single server, all.
#[derive(Debug, Default)]
struct Group {
    chunks: Vec<Chunk>,
}

/// What one call handles.
#[derive(Debug, Default)]
struct Chunk {
    keys: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, usize>,
    entries: Vec<Vec<u8>>,
    /// The place in the list of each entry.
    places: Vec<usize>,
}

/// A list that is being cut.
#[derive(Debug)]
pub(super) struct Groups {
    by_slot: bool,
    groups: Vec<Group>,
    /// The group of each slot.
    of_slot: HashMap<Vec<u8>, usize>,
    count: usize,
}

impl Groups {
    pub(super) fn new(link: &Link) -> Self {
        Self::by(link.is_cluster())
    }

    fn by(by_slot: bool) -> Self {
        Self {
            by_slot,
            groups: Vec::new(),
            of_slot: HashMap::new(),
            count: 0,
        }
    }

    /// Adds the next entry of the list. `argument` is given the numbers that `key` and `own`, a key in the same slot, have
    /// within its call, as scripts unpack them.
    pub(super) fn add(
        &mut self,
        key: Vec<u8>,
        own: Vec<u8>,
        argument: impl FnOnce(&[u8; 4]) -> Vec<u8>,
    ) {
        let place = self.count;
        self.count += 1;
        let chunk = self.group(&key).room();
        let numbers = [chunk.number(key), chunk.number(own)];
        let [[a, b], [c, d]] =
            numbers.map(|number| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
        chunk.entries.push(argument(&[a, b, c, d]));
        chunk.places.push(place);
    }

    /// Skips an entry that nothing is to be done for.
    pub(super) fn skip(&mut self) {
        self.count += 1;
    }

    fn group(&mut self, key: &[u8]) -> &mut Group {
        // One key is one slot; that two of them may share one is not worth finding out.
        let slot = if self.by_slot { key } else { &[] };
        let index = match self.of_slot.get(slot) {
            Some(index) => *index,
            None => {
                self.of_slot.insert(slot.to_vec(), self.groups.len());
                self.groups.push(Group::default());
                self.groups.len() - 1
            }
        };
        &mut self.groups[index]
    }

    /// Runs `script` for all of them. Returns the answers, each with the places of the entries it is for.
    ///
    /// # Errors
    /// The first. Where anything may have been done, it is [`PortError::Unknown`].
    pub(super) async fn run<T: FromRedisValue>(
        self,
        script: &Atomic,
        link: &Link,
        first: &[Vec<u8>],
    ) -> Result<Vec<(Vec<usize>, T)>, PortError> {
        match self.run_all(script, link, first).await {
            (answers, None) => Ok(answers),
            (answers, Some(error)) if answers.is_empty() => Err(error),
            (_, Some(error)) => Err(in_part(error)),
        }
    }

    /// The same for entries of which some may fail while others are answered; the error holds for all of those.
    pub(super) async fn run_all<T: FromRedisValue>(
        self,
        script: &Atomic,
        link: &Link,
        first: &[Vec<u8>],
    ) -> (Vec<(Vec<usize>, T)>, Option<PortError>) {
        let runs = self
            .groups
            .into_iter()
            .map(|group| group.run(script, link.clone(), first));
        let (mut answers, mut failure) = (Vec::new(), None);
        for (done, error) in join_all(runs).await {
            answers.extend(done);
            failure = graver(failure, error);
        }
        (answers, failure)
    }
}

impl Group {
    fn room(&mut self) -> &mut Chunk {
        let full = |chunk: &Chunk| chunk.entries.len() >= MOST;
        if self.chunks.last().is_none_or(full) {
            self.chunks.push(Chunk::default());
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// One call after the other, because entries are applied in their order; after a failure no more.
    async fn run<T: FromRedisValue>(
        self,
        script: &Atomic,
        mut link: Link,
        first: &[Vec<u8>],
    ) -> (Vec<(Vec<usize>, T)>, Option<PortError>) {
        let mut answers = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks {
            let answer: RedisResult<T> = chunk.call(script, first).run(&mut link).await;
            match answer {
                Ok(answer) => answers.push((chunk.places, answer)),
                Err(error) => return (answers, Some(failed(&error))),
            }
        }
        (answers, None)
    }
}

impl Chunk {
    /// Counted from 1, as scripts do.
    fn number(&mut self, key: Vec<u8>) -> usize {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        self.keys.push(key.clone());
        self.numbers.insert(key, self.keys.len());
        self.keys.len()
    }

    fn call<'a>(&self, script: &'a Atomic, first: &[Vec<u8>]) -> Call<'a> {
        let companion = self.keys.first().map(|key| companion(key));
        let keys: Vec<&[u8]> = self
            .keys
            .iter()
            .chain(&companion)
            .map(Vec::as_slice)
            .collect();
        let call = script.call(&keys);
        let arguments = first.iter().chain(&self.entries);
        arguments.fold(call, |call, argument| call.arg(argument))
    }
}

/// What holds for all that was not answered: where one of two may have changed something, that.
fn graver(one: Option<PortError>, other: Option<PortError>) -> Option<PortError> {
    match (one, other) {
        (Some(one), Some(other)) if one.changed_nothing() => Some(other),
        (one, other) => one.or(other),
    }
}

/// An error after which something was changed all the same.
pub(super) fn in_part(error: PortError) -> PortError {
    match error {
        PortError::Unavailable { part, cause } | PortError::Full { part, cause } => {
            PortError::Unknown { part, cause }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(by_slot: bool, keys: &[&str]) -> Vec<Vec<Vec<usize>>> {
        let mut groups = Groups::by(by_slot);
        for key in keys {
            groups.add((*key).into(), b"own".to_vec(), |numbers| numbers.to_vec());
        }
        let places = |group: &Group| {
            group
                .chunks
                .iter()
                .map(|chunk| chunk.places.clone())
                .collect()
        };
        groups.groups.iter().map(places).collect()
    }

    #[test]
    fn a_cluster_is_asked_by_slot_and_a_single_server_at_once() {
        let keys = ["a", "b", "a"];
        assert_eq!(cut(true, &keys), [[vec![0, 2]], [vec![1]]]);
        assert_eq!(cut(false, &keys), [[vec![0, 1, 2]]]);
    }

    #[test]
    fn a_call_is_bounded_and_goes_on_in_order() {
        let keys = vec!["a"; MOST + 1];
        let groups = cut(true, &keys);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0][0], (0..MOST).collect::<Vec<_>>());
        assert_eq!(groups[0][1], [MOST]);
    }
}
