//! Trials of what may end the process, counted.

use postrider_core::ports::{TrialEnd, TrialKey};
use postrider_core::time::Timestamp;

use super::millis;
use crate::redis::keys::{Space, Tag};
use crate::redis::script::{Atomic, Call};

#[derive(Debug)]
pub(super) struct Trials {
    space: Space,
    begin: Atomic,
    end: Atomic,
}

impl Trials {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            begin: Atomic::new(include_str!("lua/begin_trial.lua")),
            end: Atomic::new(include_str!("lua/end_trial.lua")),
        }
    }

    fn key(&self, key: TrialKey) -> Vec<u8> {
        self.space.key(&Tag::digest(&key.0), "lt", b"")
    }

    pub(super) fn begin(&self, now: Timestamp, key: TrialKey, keep_until: Timestamp) -> Call<'_> {
        self.begin
            .call(&[&self.key(key)])
            .arg(millis(now))
            .arg(millis(keep_until))
    }

    pub(super) fn end(&self, key: TrialKey, end: TrialEnd) -> Call<'_> {
        let stays = match end {
            TrialEnd::Acquitted => 0,
            TrialEnd::Withdrawn => 1,
        };
        self.end.call(&[&self.key(key)]).arg(stays)
    }
}
