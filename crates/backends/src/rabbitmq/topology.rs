//! Every exchange and queue on RabbitMQ.
//!
//! Names and arguments are for ever: RabbitMQ does not change the arguments of a queue that exists, and a queue under
//! another name would leave behind what is in this one. What may have to be tuned (lengths, bytes) is therefore no
//! argument: it is set by policy. A change of the layout is another prefix beside `pr.v1.`.
//!
//! | exchange (kind) | routing key | queue | messages leave it by |
//! |---|---|---|---|
//! | `pr.v1.events` (direct) | `0`–`7`, `l0`–`l3` | `pr.v1.events.{key}` | ack; reject → `pr.v1.returned` |
//! | `pr.v1.retry` (direct) | `0`–`7`, `l0`–`l3` | `pr.v1.retry.{key}` | ack; reject → `pr.v1.returned` |
//! | `pr.v1.retry` (direct) | `dead` | `pr.v1.dead` | ack; reject → `pr.v1.returned` |
//! | `pr.v1.dead` (fanout) | `dead` | `pr.v1.dead` | the same |
//! | `pr.v1.delay.{0–77}` (fanout) | any | `pr.v1.delay.{0–77}` | the step's time → `pr.v1.retry` |
//! | `pr.v1.returned` (fanout) | any | `pr.v1.returned` | 30 s → `pr.v1.retry` |
//! | `pr.v1.quarantine` (fanout) | any | `pr.v1.quarantine` | ack; reject → `pr.v1.quarantine.returned` |
//! | `pr.v1.quarantine.returned` (fanout) | any | `pr.v1.quarantine.returned` | 30 s → `pr.v1.quarantine` |
//!
//! A message keeps its routing key on every way, so what is returned or waits comes back to the shard it belongs to, and
//! what is dead to `pr.v1.dead`. What somebody publishes to a queue by hand has that queue's name for a key: `pr.v1.retry` knows
//! these names, too, because at-least-once dead-lettering keeps what it cannot route, and holds up what comes behind it.
//! All of it is durable; all queues are quorum queues.
//!
//! | argument | why |
//! |---|---|
//! | `x-overflow: reject-publish`, `x-dead-letter-strategy: at-least-once` | a message changes queues without being lost; one needs the other |
//! | `x-delivery-limit`: out of reach | the broker never drops what is delivered often (from 4.0 on it would, after 20): workers count, and set it apart |
//! | `x-single-active-consumer` on quarantine | with a prefetch of one, one pack is out over the whole fleet |
//! | no lengths | a target that is full holds up dead-lettering for all its sources |
//!
//! What backends publish to, where that is switched on, is declared apart: see `intake`.
//!
//! Lanes (a queue for one endpoint) will be `pr.v1.lane.{endpoint}` on the exchange `pr.v1.lane` (direct), with the
//! arguments of `pr.v1.retry.{key}`; nothing here has to change for them.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use postrider_core::ladder;
use postrider_core::ports::RETURN_DELAY;

use super::routing::{Destination, Exchange, Key};

const RETURNED: &str = "pr.v1.returned";
const QUARANTINE: &str = "pr.v1.quarantine";
const QUARANTINE_RETURNED: &str = "pr.v1.quarantine.returned";
const RETRY: &str = "pr.v1.retry";
pub(super) const DEAD: &str = "pr.v1.dead";
/// Out of reach, and a number that every version takes.
const DELIVERY_LIMIT: i32 = i32::MAX;

/// A header, of a message whose queue was deleted and that was published again: somebody may have worked on it.
pub(super) const HELD_BEFORE: &str = "postrider-held-before";

/// Whoever has this queue to himself (it is exclusive) declares what is missing; the others wait.
pub(super) const TURN: &str = "pr.v1.turn";

/// Exists if and only if somebody has declared the topology before.
pub(super) const FIRST_QUEUE: &str = "pr.v1.events.0";

/// What is declared last.
pub(super) const LAST_QUEUE: &str = QUARANTINE_RETURNED;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: FieldTable,
    /// Exchange and routing key.
    pub(super) bindings: Vec<(String, String)>,
}

/// What is consumed, and how it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Events(Key),
    Retry(Key),
    Dead,
    Quarantine,
}

impl Source {
    /// In the order in which receipts number them.
    pub(super) fn all() -> Vec<Self> {
        let events = Key::of_events().map(Self::Events);
        let retry = Key::of_events().map(Self::Retry);
        let others = [Self::Dead, Self::Quarantine];
        events.chain(retry).chain(others).collect()
    }

    /// Where what was in the queue belongs, when that was deleted.
    pub(super) fn destination(self) -> Destination {
        let (exchange, key) = match self {
            Self::Events(key) => (Exchange::Events, key),
            Self::Retry(key) => (Exchange::Retry, key),
            Self::Dead => (Exchange::Dead, Key::Dead),
            Self::Quarantine => (Exchange::Quarantine, Key::Dead),
        };
        Destination { exchange, key }
    }

    /// The same for what is to come again later.
    pub(super) fn returned(self) -> Destination {
        let exchange = match self {
            Self::Quarantine => Exchange::QuarantineReturned,
            _ => Exchange::Returned,
        };
        let key = self.destination().key;
        Destination { exchange, key }
    }

    pub(super) fn queue(self) -> String {
        match self {
            Self::Events(key) => format!("pr.v1.events.{key}"),
            Self::Retry(key) => format!("pr.v1.retry.{key}"),
            Self::Dead => DEAD.to_owned(),
            Self::Quarantine => QUARANTINE.to_owned(),
        }
    }
}

pub(super) const KINDS: [&str; 6] = ["events", "retry", "delay", "returned", "dead", "quarantine"];

/// What kind of queue that is, by its name.
pub(super) fn kind(queue: &str) -> &'static str {
    let rest = queue.strip_prefix("pr.v1.").unwrap_or(queue);
    let of = |kind: &&&str| rest.starts_with(**kind);
    KINDS.iter().find(of).copied().unwrap_or("other")
}

/// Where packs wait for time to pass.
pub(super) fn waiting_queues() -> Vec<String> {
    let steps = (0..ladder::STEPS).map(|step| Exchange::Delay(step).to_string());
    let returned = [RETURNED, QUARANTINE_RETURNED].map(str::to_owned);
    steps.chain(returned).collect()
}

pub(super) fn exchanges() -> Vec<(String, ExchangeKind)> {
    let mut all = vec![
        (Exchange::Events.to_string(), ExchangeKind::Direct),
        (RETRY.to_owned(), ExchangeKind::Direct),
    ];
    let fanouts = [DEAD, RETURNED, QUARANTINE, QUARANTINE_RETURNED];
    all.extend(fanouts.map(|name| (name.to_owned(), ExchangeKind::Fanout)));
    let steps = (0..ladder::STEPS).map(|step| Exchange::Delay(step).to_string());
    all.extend(steps.map(|name| (name, ExchangeKind::Fanout)));
    all
}

pub(super) fn queues() -> Vec<Queue> {
    let mut all = Vec::new();
    for key in Key::of_events() {
        let events = Exchange::Events.to_string();
        all.push(of_work(Source::Events(key), &[(&events, key)]));
        let mut retry = of_work(Source::Retry(key), &[(RETRY, key)]);
        let by_hand = [Source::Events(key), Source::Retry(key)].map(Source::queue);
        retry.bindings.extend(by_hand.map(from_retry));
        all.push(retry);
    }
    let mut dead = of_work(Source::Dead, &[(DEAD, Key::Dead), (RETRY, Key::Dead)]);
    dead.bindings.push(from_retry(DEAD.to_owned()));
    let waited_by_hand = waiting_queues().into_iter().map(from_retry);
    dead.bindings.extend(waited_by_hand);
    all.push(dead);
    all.push(quarantine());
    for step in 0..ladder::STEPS {
        let name = Exchange::Delay(step).to_string();
        all.push(waiting(&name, ladder::step(step), RETRY));
    }
    all.push(waiting(RETURNED, RETURN_DELAY, RETRY));
    all.push(waiting(QUARANTINE_RETURNED, RETURN_DELAY, QUARANTINE));
    all
}

/// The binding for what comes back with the name of a queue for its key.
fn from_retry(name: String) -> (String, String) {
    (RETRY.to_owned(), name)
}

/// A queue of work: what is rejected comes back later.
fn of_work(source: Source, bindings: &[(&str, Key)]) -> Queue {
    let bindings = bindings
        .iter()
        .map(|(exchange, key)| ((*exchange).to_owned(), key.to_string()));
    Queue {
        name: source.queue(),
        arguments: arguments(RETURNED),
        bindings: bindings.collect(),
    }
}

fn quarantine() -> Queue {
    let mut arguments = arguments(QUARANTINE_RETURNED);
    insert(
        &mut arguments,
        "x-single-active-consumer",
        AMQPValue::Boolean(true),
    );
    Queue {
        name: QUARANTINE.to_owned(),
        arguments,
        bindings: vec![(QUARANTINE.to_owned(), String::new())],
    }
}

/// A queue behind an exchange of the same name; what is rejected goes `elsewhere`.
pub(super) fn worked_off(name: &str, elsewhere: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        arguments: arguments(elsewhere),
        bindings: vec![(name.to_owned(), String::new())],
    }
}

/// The same for what somebody else reads.
pub(super) fn kept(name: &str) -> Queue {
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    insert(&mut arguments, "x-queue-type", quorum);
    let limit = AMQPValue::LongInt(DELIVERY_LIMIT);
    insert(&mut arguments, "x-delivery-limit", limit);
    Queue {
        name: name.to_owned(),
        arguments,
        bindings: vec![(name.to_owned(), String::new())],
    }
}

/// A queue in which time passes, behind an exchange of the same name.
pub(super) fn waiting(name: &str, time: std::time::Duration, then: &str) -> Queue {
    let mut arguments = arguments(then);
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    insert(
        &mut arguments,
        "x-message-ttl",
        AMQPValue::LongLongInt(millis),
    );
    Queue {
        name: name.to_owned(),
        arguments,
        bindings: vec![(name.to_owned(), String::new())],
    }
}

/// What all queues have in common.
fn arguments(dead_letters_to: &str) -> FieldTable {
    let mut table = FieldTable::default();
    let texts = [
        ("x-queue-type", "quorum"),
        ("x-overflow", "reject-publish"),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-dead-letter-exchange", dead_letters_to),
    ];
    for (name, text) in texts {
        insert(&mut table, name, AMQPValue::LongString(text.into()));
    }
    insert(
        &mut table,
        "x-delivery-limit",
        AMQPValue::LongInt(DELIVERY_LIMIT),
    );
    table
}

fn insert(table: &mut FieldTable, name: &str, value: AMQPValue) {
    table.insert(name.into(), value);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everything_that_is_bound_or_dead_lettered_to_exists() {
        let exchanges: HashSet<String> = exchanges().into_iter().map(|(name, _)| name).collect();
        for queue in queues() {
            for (exchange, _) in &queue.bindings {
                assert!(exchanges.contains(exchange), "{exchange} of {}", queue.name);
            }
            let target = &queue.arguments.inner()["x-dead-letter-exchange"];
            let target = target.as_long_string().unwrap().to_string();
            assert!(exchanges.contains(&target), "{target} of {}", queue.name);
        }
    }

    #[test]
    fn what_was_published_to_a_queue_by_hand_comes_back_from_where_it_is_dead_lettered_to() {
        let all = queues();
        let kept: HashSet<&str> = all
            .iter()
            .flat_map(|queue| &queue.bindings)
            .filter(|(exchange, _)| exchange == RETRY)
            .map(|(_, key)| key.as_str())
            .collect();
        for queue in all
            .iter()
            .filter(|queue| !queue.name.starts_with(QUARANTINE))
        {
            assert!(kept.contains(&*queue.name), "{}", queue.name);
        }
    }

    #[test]
    fn each_name_occurs_once_and_all_are_consumed_or_wait() {
        let names: Vec<String> = queues().into_iter().map(|queue| queue.name).collect();
        let different: HashSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        let consumed = Source::all().into_iter().map(Source::queue);
        let known: HashSet<String> = consumed.chain(waiting_queues()).collect();
        assert_eq!(names.into_iter().collect::<HashSet<_>>(), known);
        assert_eq!(known.len(), 12 + 12 + 2 + 78 + 2);
        assert!(known.contains(FIRST_QUEUE));
        assert!(known.iter().all(|name| kind(name) != "other"));
    }
}
