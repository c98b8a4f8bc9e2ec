//! Everything accepted against everything received, after Jepsen's total-queue model: what was lost, what came twice,
//! what nobody sent, what came too early, and what never came to an end.
//!
//! ```text
//!  Load ── 202 ──▶ accepted ─┐
//!  Receiver ─────▶ arrivals ─┼─▶ History ── judge ──▶ Verdict
//!  the API ──────▶ ends ─────┤
//!  the test ─────▶ faults ───┘
//! ```
//!
//! [`judge()`] is a function of the history alone, so that wrong histories can be shown to it.

mod ends;
mod history;
mod judge;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Api, Received, Receiver, Tenant};

pub use ends::read_ends;
pub use history::{Accepted, Arrival, Culprit, End, Fault, History, Pair};
pub use judge::{Rules, judge};
pub use verdict::{Duplicate, Verdict};

/// What has been accepted so far, and which faults there were. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    accepted: BTreeMap<String, Accepted>,
    faults: Vec<Fault>,
}

impl Ledger {
    /// An event was answered 202.
    pub fn accept(&self, event: Accepted) {
        let before = self.0.lock().accepted.insert(event.message.clone(), event);
        assert!(before.is_none(), "two events were given one identifier");
    }

    /// The same for an event of an application with one endpoint.
    pub fn accept_for(&self, message: String, endpoint: &str) {
        self.accept(Accepted {
            message,
            app: String::new(),
            endpoints: vec![endpoint.to_owned()],
            at: Instant::now(),
            by: String::new(),
        });
    }

    pub fn fault(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().accepted.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were accepted by each of those who answered.
    #[must_use]
    pub fn accepted_by(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.0.lock().accepted.values() {
            *counts.entry(event.by.clone()).or_default() += 1;
        }
        counts
    }

    /// Whether each accepted event has arrived at each endpoint that it was for.
    #[must_use]
    pub fn is_complete(&self, requests: &[Received]) -> bool {
        let pairs = requests
            .iter()
            .map(|request| (request.id.as_str(), request.endpoint.as_str()));
        let arrived: std::collections::HashSet<(&str, &str)> = pairs.collect();
        let all = |event: &Accepted| {
            let mut endpoints = event.endpoints.iter();
            endpoints.all(|endpoint| arrived.contains(&(event.message.as_str(), endpoint.as_str())))
        };
        self.0.lock().accepted.values().all(all)
    }

    /// The events that were accepted, by the oldest first.
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        self.0.lock().accepted.values().cloned().collect()
    }

    /// What has happened, as far as the receiver can tell.
    #[must_use]
    pub fn history(&self, receiver: &Receiver) -> History {
        let arrivals = receiver.requests().into_iter();
        let book = self.0.lock();
        History {
            accepted: book.accepted.values().cloned().collect(),
            arrivals: arrivals
                .map(|request| Arrival::of(request, receiver))
                .collect(),
            ends: None,
            faults: book.faults.clone(),
        }
    }

    /// The same with the ends of all pairs, once there is nothing pending any more.
    pub async fn full_history(
        &self,
        receiver: &Receiver,
        api: &Api,
        tenants: &[Tenant],
    ) -> History {
        let ends = read_ends(api, tenants, &self.accepted()).await;
        History {
            ends: Some(ends),
            ..self.history(receiver)
        }
    }
}
