//! When all tokens of an application end, by when they were made.
//!
//! Each call ends the tokens of before it, at once or after a time of grace. A later call must not give back what an earlier
//! one has taken: of all that concern a token, the one that ends it first counts. So calls are kept until a later one takes
//! at least as much, as early.

use postrider_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Calls that are kept. Where there are more, two become one that ends tokens as early as the earlier of them.
const KEPT: usize = 64;

/// All tokens that were made before a time, as of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    made_before: Timestamp,
    from: Timestamp,
}

/// In the order of `made_before`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expired {
    ends: Vec<End>,
}

impl Expired {
    /// From when on a token that was made at `made` is good no more.
    pub(crate) fn end_of(&self, made: Timestamp) -> Option<Timestamp> {
        let concerned = self.ends.iter().filter(|end| made < end.made_before);
        concerned.map(|end| end.from).min()
    }

    /// All tokens that were made before `now` end as of `from`.
    pub(crate) fn add(&mut self, now: Timestamp, from: Timestamp) {
        let new = End {
            made_before: now,
            from,
        };
        // Whatever lies in the past has ended its tokens, whenever that was.
        let takes_less = |end: &End| {
            end.made_before <= new.made_before && end.from.max(now) >= new.from.max(now)
        };
        self.ends.retain(|end| !takes_less(end));
        self.ends.push(new);
        self.ends.sort_by_key(|end| end.made_before);
        self.drop_past(now);
        if self.ends.len() > KEPT {
            self.join_oldest();
        }
    }

    /// Of those whose time has come, the one that concerns most tokens is enough.
    fn drop_past(&mut self, now: Timestamp) {
        let past = self.ends.iter().rposition(|end| end.from <= now);
        let mut at = 0;
        self.ends.retain(|end| {
            let is_covered = end.from <= now && past.is_some_and(|past| at < past);
            at += 1;
            !is_covered
        });
    }

    fn join_oldest(&mut self) {
        let oldest = self.ends.remove(0);
        if let Some(next) = self.ends.first_mut() {
            next.from = next.from.min(oldest.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_later_call_gives_nothing_back() {
        let mut expired = Expired::default();
        expired.add(at(10), at(10));
        expired.add(at(20), at(80));
        assert_eq!(expired.end_of(at(5)), Some(at(10)));
        assert_eq!(expired.end_of(at(15)), Some(at(80)));
        assert_eq!(expired.end_of(at(20)), None);
        expired.add(at(30), at(30));
        assert_eq!(expired.ends.len(), 1, "the last takes all, at once");
        assert_eq!(expired.end_of(at(15)), Some(at(30)));
    }

    #[test]
    fn what_lies_in_the_past_becomes_one() {
        let mut expired = Expired::default();
        for second in 0..10 {
            expired.add(at(second), at(second + 60));
        }
        assert_eq!(expired.ends.len(), 10);
        expired.add(at(100), at(160));
        assert_eq!(expired.ends.len(), 2);
        assert!(expired.end_of(at(3)).is_some_and(|end| end <= at(100)));
        assert_eq!(expired.end_of(at(50)), Some(at(160)));
    }

    #[test]
    fn there_are_never_many_and_no_token_lives_longer_for_that() {
        let mut expired = Expired::default();
        for second in 0..200 {
            expired.add(at(second), at(second + 10_000));
            assert!(expired.ends.len() <= KEPT);
        }
        for made in 0..199 {
            let end = expired.end_of(at(made));
            assert!(end.is_some_and(|end| end <= at(made + 1 + 10_000)));
        }
    }
}
