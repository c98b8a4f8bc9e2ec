//! Where backends publish to, and where what was refused is found.
//!
//! | exchange (fanout) and queue of the same name | messages come by | and leave by |
//! |---|---|---|
//! | `postrider.publish` | backends; time, from the next one | ack; reject → `postrider.publish.waiting` |
//! | `postrider.publish.waiting` | rejection: what cannot be decided yet | 5 s → `postrider.publish` |
//! | `postrider.publish.refused` | us, with the reason | whoever reads it |
//!
//! These names are for users, and for ever as all others are. Fanout, so that a routing key means nothing and can be what
//! the publisher likes; everything else is as in `topology`.

use std::time::Duration;

use lapin::ExchangeKind;

use super::super::topology::{Queue, kept, waiting, worked_off};

pub(in super::super) const PUBLISH: &str = "postrider.publish";
const WAITING: &str = "postrider.publish.waiting";
pub(super) const REFUSED: &str = "postrider.publish.refused";
/// How long a message waits before it is looked at again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(in super::super) fn exchanges() -> Vec<(String, ExchangeKind)> {
    let names = [PUBLISH, WAITING, REFUSED];
    let fanout = |name: &str| (name.to_owned(), ExchangeKind::Fanout);
    names.into_iter().map(fanout).collect()
}

pub(in super::super) fn queues() -> Vec<Queue> {
    vec![
        // First what is dead-lettered to.
        waiting(WAITING, AGAIN_AFTER, PUBLISH),
        kept(REFUSED),
        worked_off(PUBLISH, WAITING),
    ]
}
