//! What is done to connections.

use std::time::Duration;

use super::{Mark, Method, Way, Who};

/// What is known of a connection.
#[derive(Debug, Default, Clone)]
pub(super) struct Face {
    /// What an AMQP client calls itself.
    pub(super) name: Option<String>,
    pub(super) subscribed: bool,
}

impl Face {
    pub(super) fn is(&self, who: &Who) -> bool {
        match who {
            Who::All => true,
            Who::Named(end) => self.name.as_ref().is_some_and(|name| name.ends_with(end)),
            Who::Subscriber => self.subscribed,
            Who::NoSubscriber => !self.subscribed,
        }
    }
}

/// What a method sets off.
#[derive(Debug, Clone)]
struct Trap {
    who: Who,
    seen: (Way, Method),
    then_hold: Way,
}

/// An end in the middle of something.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    who: Who,
    way: Way,
    mark: Mark,
    /// How many bytes behind the mark are passed on.
    pub(super) more: usize,
}

/// Something that is said in the name of one side, before a method of its own.
#[derive(Debug, Clone)]
pub(super) struct Insertion {
    pub(super) who: Who,
    pub(super) before: (Way, Method),
    pub(super) what: Inserted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// An acknowledgement of what was never delivered.
    WrongAck,
    /// The end of the consumer that the delivery behind it is for.
    Cancel,
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    traps: Vec<Trap>,
    held: Vec<(Who, Way)>,
    delayed: Vec<(Who, Way, Duration)>,
    pub(super) cuts: Vec<Cut>,
    pub(super) insertions: Vec<Insertion>,
    pub(super) barred: Vec<Who>,
    pub(super) refusing: bool,
}

impl Rules {
    pub(super) fn hold(&mut self, who: Who, way: Way) {
        self.held.push((who, way));
    }

    pub(super) fn hold_from(&mut self, who: Who, seen: (Way, Method), then_hold: Way) {
        self.traps.push(Trap {
            who,
            seen,
            then_hold,
        });
    }

    /// Whether a method that was seen on a connection sets something off.
    pub(super) fn has_trap(&self, face: &Face, seen: (Way, Method)) -> bool {
        let mut traps = self.traps.iter();
        traps.any(|trap| trap.seen == seen && face.is(&trap.who))
    }

    pub(super) fn spring(&mut self, face: &Face, seen: (Way, Method)) {
        let springs = |trap: &mut Trap| trap.seen == seen && face.is(&trap.who);
        for trap in self.traps.extract_if(.., springs) {
            self.held.push((trap.who, trap.then_hold));
        }
    }

    pub(super) fn cut_within(&mut self, who: Who, way: Way, mark: Mark, more: usize) {
        self.cuts.push(Cut {
            who,
            way,
            mark,
            more,
        });
    }

    /// The words that cuts wait for on a connection.
    pub(super) fn cut_words(&self, face: &Face, way: Way) -> Vec<&'static str> {
        let cuts = self.cuts.iter();
        let cuts = cuts.filter(|cut| cut.way == way && face.is(&cut.who));
        cuts.filter_map(|cut| match cut.mark {
            Mark::Word(word) => Some(word),
            Mark::Method(_) => None,
        })
        .collect()
    }

    /// The cut that a mark sets off.
    pub(super) fn take_cut(&mut self, face: &Face, way: Way, mark: Mark) -> Option<Cut> {
        let cuts = &self.cuts;
        let at = cuts
            .iter()
            .position(|cut| cut.way == way && cut.mark == mark && face.is(&cut.who))?;
        Some(self.cuts.remove(at))
    }

    /// What is to be said before this method.
    pub(super) fn take_insertion(
        &mut self,
        face: &Face,
        before: (Way, Method),
    ) -> Option<Inserted> {
        let is_due = |insertion: &Insertion| insertion.before == before && face.is(&insertion.who);
        let at = self.insertions.iter().position(is_due)?;
        Some(self.insertions.remove(at).what)
    }

    pub(super) fn release(&mut self, who: &Who, way: Way) {
        self.held.retain(|held| (&held.0, held.1) != (who, way));
        // What has not sprung would hold later what nobody releases.
        self.traps
            .retain(|trap| (&trap.who, trap.then_hold) != (who, way));
    }

    pub(super) fn delay(&mut self, who: Who, way: Way, by: Duration) {
        self.delayed
            .retain(|delayed| (&delayed.0, delayed.1) != (&who, way));
        if !by.is_zero() {
            self.delayed.push((who, way, by));
        }
    }

    pub(super) fn holds(&self, face: &Face, way: Way) -> bool {
        self.held
            .iter()
            .any(|(who, held)| *held == way && face.is(who))
    }

    pub(super) fn bars(&self, face: &Face) -> bool {
        self.barred.iter().any(|who| face.is(who))
    }

    /// Of several delays the longest.
    pub(super) fn delays(&self, face: &Face, way: Way) -> Duration {
        let own = self
            .delayed
            .iter()
            .filter(|(who, delayed, _)| *delayed == way && face.is(who));
        own.map(|(_, _, by)| *by).max().unwrap_or_default()
    }
}
