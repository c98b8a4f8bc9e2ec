//! Who waits for what: a call ends when all that it brought has ended, and says what became of it.

use std::collections::HashMap;

use postrider_core::ports::PortError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::error::{unavailable, unknown};

/// What became of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed,
    /// It is not there, for certain.
    NotPublished(String),
    /// It may be there.
    Unknown(String),
}

pub(super) type CallId = u64;

#[derive(Debug, Default)]
pub(super) struct Calls {
    open: HashMap<CallId, Call>,
    last: CallId,
}

#[derive(Debug)]
struct Call {
    answer: oneshot::Sender<Result<(), PortError>>,
    /// Pieces that have not ended.
    left: usize,
    fate: Fate,
    _room: OwnedSemaphorePermit,
}

impl Calls {
    pub(super) fn open(
        &mut self,
        pieces: usize,
        answer: oneshot::Sender<Result<(), PortError>>,
        room: OwnedSemaphorePermit,
    ) -> CallId {
        self.last += 1;
        let call = Call {
            answer,
            left: pieces,
            fate: Fate::default(),
            _room: room,
        };
        self.open.insert(self.last, call);
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// One piece of a call has ended.
    pub(super) fn ended(&mut self, id: CallId, outcome: &Outcome) {
        let Some(call) = self.open.get_mut(&id) else {
            return;
        };
        call.fate.add(outcome);
        call.left -= 1;
        if call.left == 0
            && let Some(call) = self.open.remove(&id)
        {
            let _ = call.answer.send(call.fate.result());
        }
    }

    /// Nothing more will be heard of what is under way.
    pub(super) fn abandon(&mut self, cause: &str) {
        for (_, mut call) in self.open.drain() {
            call.fate.add(&Outcome::Unknown(cause.to_owned()));
            let _ = call.answer.send(call.fate.result());
        }
    }
}

/// What is known about the pieces of a call that have ended.
///
/// | confirmed | not published | unknown | the call |
/// |---|---|---|---|
/// | all | – | – | `Ok` |
/// | none | all | – | `Unavailable` |
/// | some | some | – | `Unknown` |
/// | any | any | some | `Unknown` |
#[derive(Debug, Default)]
struct Fate {
    confirmed: bool,
    unknown: bool,
    cause: Option<String>,
}

impl Fate {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Confirmed => self.confirmed = true,
            Outcome::NotPublished(cause) => {
                self.cause.get_or_insert_with(|| cause.clone());
            }
            Outcome::Unknown(cause) => {
                self.unknown = true;
                self.cause.get_or_insert_with(|| cause.clone());
            }
        }
    }

    fn result(self) -> Result<(), PortError> {
        match self.cause {
            None => Ok(()),
            Some(cause) if self.unknown || self.confirmed => Err(unknown(cause)),
            Some(cause) => Err(unavailable(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcomes: &[Outcome]) -> Result<(), PortError> {
        let mut fate = Fate::default();
        outcomes.iter().for_each(|outcome| fate.add(outcome));
        fate.result()
    }

    #[test]
    fn a_call_says_what_is_certain_about_all_of_it() {
        let confirmed = || Outcome::Confirmed;
        let not = || Outcome::NotPublished("away".to_owned());
        let perhaps = || Outcome::Unknown("lost".to_owned());
        assert!(result(&[confirmed(), confirmed()]).is_ok());
        for certain in [vec![not()], vec![not(), not()]] {
            let error = result(&certain).unwrap_err();
            assert!(error.changed_nothing(), "{certain:?}");
        }
        for uncertain in [
            vec![perhaps()],
            vec![confirmed(), not()],
            vec![not(), confirmed()],
            vec![not(), perhaps()],
            vec![confirmed(), perhaps()],
        ] {
            let error = result(&uncertain).unwrap_err();
            assert!(!error.changed_nothing(), "{uncertain:?}");
        }
    }
}
