//! What this process has seen of the queues, so that it can say what was lost with one that somebody deleted.
//!
//! Queues are counted every few seconds for the gauges anyway; that reading is what is known. RabbitMQ itself says nothing
//! about what was in a queue that is gone.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::topology::{KINDS, kind};

/// A cause that stays the same is repeated this often.
const REMIND: Duration = Duration::from_secs(60);
/// Names in one line of the log.
const NAMED: usize = 12;

/// What was found missing and made anew since this process was started, by the kind of the queues: `events`, `retry`, `delay`,
/// `returned`, `dead` or `quarantine`, each of which is there. Of several processes one makes a queue anew, and counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// Queues.
    pub queues: BTreeMap<&'static str, u64>,
    /// Packs that were ready in them when this process last counted, where it ever did.
    pub packs: BTreeMap<&'static str, u64>,
}

impl Default for Losses {
    fn default() -> Self {
        let none = || KINDS.map(|kind| (kind, 0)).into();
        Self {
            queues: none(),
            packs: none(),
        }
    }
}

/// What does not exist on the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Absent {
    pub(super) queues: Vec<String>,
    pub(super) exchanges: Vec<String>,
}

impl Absent {
    pub(super) const fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.exchanges.is_empty()
    }

    fn names(&self) -> String {
        let exchanges = self.exchanges.iter();
        let exchanges = exchanges.map(|name| format!("exchange {name}"));
        listed(self.queues.iter().cloned().chain(exchanges))
    }
}

#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Packs that were ready when a queue was last counted.
    ready: HashMap<String, u64>,
    /// What is missing right now.
    missing: Option<String>,
    said: Option<(String, Instant)>,
    losses: Losses,
}

impl Sight {
    pub(super) fn counted(&self, queue: &str, ready: u64) {
        let mut seen = self.0.lock();
        match seen.ready.get_mut(queue) {
            Some(known) => *known = ready,
            None => {
                seen.ready.insert(queue.to_owned(), ready);
            }
        }
    }

    /// Whether this process has ever seen a queue.
    pub(super) fn has_seen_any(&self) -> bool {
        !self.0.lock().ready.is_empty()
    }

    /// For `/health`: what is missing.
    pub(super) fn missing(&self) -> Option<String> {
        self.0.lock().missing.clone()
    }

    pub(super) fn losses(&self) -> Losses {
        self.0.lock().losses.clone()
    }

    pub(super) fn misses(&self, absent: &Absent) {
        self.0.lock().missing = Some(absent.names());
    }

    pub(super) fn misses_nothing(&self) {
        let mut seen = self.0.lock();
        seen.missing = None;
        if seen.said.take().is_some() {
            info!("queues and exchanges on RabbitMQ are complete again");
        }
    }

    /// They cannot be made anew.
    pub(super) fn complain(&self, cause: &str) {
        let mut seen = self.0.lock();
        let known = seen.said.as_ref();
        if known.is_some_and(|(said, when)| said == cause && when.elapsed() < REMIND) {
            return;
        }
        warn!(
            cause,
            "queues and exchanges on RabbitMQ cannot be examined or made anew; trying until it is possible"
        );
        seen.said = Some((cause.to_owned(), Instant::now()));
    }

    /// They were missing, and this process has made them anew: what was in them is lost.
    pub(super) fn made_anew(&self, absent: &Absent) {
        let mut seen = self.0.lock();
        let (mut packs, mut unknown) = (0, false);
        let mut texts = Vec::new();
        for queue in &absent.queues {
            let ready = seen.ready.insert(queue.clone(), 0);
            *seen.losses.queues.entry(kind(queue)).or_default() += 1;
            *seen.losses.packs.entry(kind(queue)).or_default() += ready.unwrap_or_default();
            packs += ready.unwrap_or_default();
            unknown |= ready.is_none();
            texts.push(match ready {
                Some(ready) => format!("{queue} ({ready} packs)"),
                None => format!("{queue} (unknown)"),
            });
        }
        drop(seen);
        let exchanges = listed(absent.exchanges.iter().cloned());
        // Those that held most are named before those that held nothing.
        texts.sort_by_key(|text| text.ends_with("(0 packs)"));
        let queues = listed(texts.into_iter());
        if packs > 0 || unknown {
            error!(
                queues,
                packs,
                exchanges,
                "queues were missing on RabbitMQ and were made anew; the packs that waited in them, each of 1 to 64 events or retries, are lost"
            );
        } else {
            warn!(
                queues,
                exchanges,
                "queues or exchanges were missing on RabbitMQ and were made anew; nothing waited in them when they were last counted"
            );
        }
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let mut text = names[..names.len().min(NAMED)].join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(NAMED) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(queues: &[&str]) -> Absent {
        Absent {
            queues: queues.iter().map(|name| (*name).to_owned()).collect(),
            exchanges: Vec::new(),
        }
    }

    #[test]
    fn what_was_counted_last_is_what_was_lost() {
        let sight = Sight::default();
        sight.counted("pr.v1.events.3", 7);
        sight.counted("pr.v1.events.3", 5);
        sight.counted("pr.v1.quarantine.returned", 1);
        let gone = absent(&[
            "pr.v1.events.3",
            "pr.v1.delay.4",
            "pr.v1.quarantine.returned",
        ]);
        sight.misses(&gone);
        assert!(sight.missing().unwrap().contains("pr.v1.delay.4"));
        sight.made_anew(&gone);
        sight.misses_nothing();
        assert_eq!(sight.missing(), None);
        let Losses { queues, packs } = sight.losses();
        assert_eq!(KINDS.map(|kind| queues[kind]), [1, 0, 1, 0, 0, 1]);
        assert_eq!(KINDS.map(|kind| packs[kind]), [5, 0, 0, 0, 0, 1]);
        sight.made_anew(&absent(&["pr.v1.events.3"]));
        assert_eq!(sight.losses().packs["events"], 5, "it was new and empty");
    }

    #[test]
    fn a_line_names_a_few() {
        let names = |count: usize| listed((0..count).map(|number| number.to_string()));
        assert_eq!(names(2), "0, 1");
        assert!(names(20).ends_with("11 and 8 more"));
    }
}
