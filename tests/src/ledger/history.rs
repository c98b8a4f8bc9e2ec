//! What has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Received, Receiver};

/// A message at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub message: String,
    /// By name: the last segment of the endpoint's URL.
    pub endpoint: String,
}

impl Pair {
    #[must_use]
    pub fn new(message: &str, endpoint: &str) -> Self {
        Self {
            message: message.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }
}

/// An event that was answered 202.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub message: String,
    pub app: String,
    /// The names of those that it was for.
    pub endpoints: Vec<String>,
    pub at: Instant,
    /// The address of the ingest that answered.
    pub by: String,
}

/// A request as a receiver saw it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub message: String,
    pub endpoint: String,
    /// The port that it came from.
    pub peer: u16,
    pub at: Instant,
    /// The status; `None` where the client hung up before, or is still waiting.
    pub answered: Option<u16>,
    pub ended: Option<Instant>,
    /// Whether its signature is valid.
    pub verified: bool,
}

impl Arrival {
    pub(super) fn of(request: Received, receiver: &Receiver) -> Self {
        Self {
            verified: receiver.verifies(&request),
            message: request.id,
            endpoint: request.endpoint,
            peer: request.peer,
            at: request.at,
            answered: request.answered,
            ended: request.ended,
        }
    }

    #[must_use]
    pub fn pair(&self) -> Pair {
        Pair::new(&self.message, &self.endpoint)
    }

    #[must_use]
    pub(super) fn succeeded(&self) -> bool {
        self.answered
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// How a pair ended, as the API tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Delivered,
    Dead,
    Canceled,
    /// It has not ended.
    Pending,
}

/// Something that was done to Postrider, and that may have made it forget requests.
#[derive(Debug, Clone)]
pub struct Fault {
    /// When it was begun, and when it was over.
    pub at: (Instant, Instant),
    pub whose: Culprit,
}

/// Whose requests a fault may have touched.
#[derive(Debug, Clone)]
pub enum Culprit {
    /// Nobody's: a process that makes no requests.
    Nobody,
    /// Anybody's.
    Anybody,
    /// One process's, told by ports as they were when it was stopped.
    Process {
        own: BTreeSet<u16>,
        /// Of all the others. A request from a port of nobody's was made on a connection that had been closed by then,
        /// perhaps by this process.
        others: BTreeSet<u16>,
    },
}

impl Fault {
    /// Whether a request may be made again because of this fault: it was under way when the fault came, or was
    /// answered so shortly before that its outcome may not have been stored.
    #[must_use]
    pub fn covers(&self, arrival: &Arrival, flush: Duration) -> bool {
        let (begun, over) = self.at;
        let answered_before =
            arrival.answered.is_some() && arrival.ended.is_some_and(|ended| ended + flush <= begun);
        !answered_before && arrival.at <= over + flush && self.suspects(arrival)
    }

    fn suspects(&self, arrival: &Arrival) -> bool {
        match &self.whose {
            Culprit::Nobody => false,
            Culprit::Anybody => true,
            Culprit::Process { own, others } => {
                // What was sent before the process died may be read a moment later; by then others have new ports.
                let is_older = arrival.at <= self.at.0;
                own.contains(&arrival.peer) || is_older && !others.contains(&arrival.peer)
            }
        }
    }
}

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub accepted: Vec<Accepted>,
    /// In the order of their arrival.
    pub arrivals: Vec<Arrival>,
    /// `None`: nobody asked.
    pub ends: Option<BTreeMap<Pair, End>>,
    pub faults: Vec<Fault>,
}
