//! No message is logged more often than once a second.
//!
//! While a server is away, every request and every delivery has something to say about it, and all of them say the same.
//! A disk full of that helps nobody, and writing it costs more than what it is about. So a place in the code that warns
//! is heard once a second; what was left out is counted, and told now and then ([`take_left_out`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// By the place in the code, of which there are as many as were written.
static PLACES: LazyLock<Mutex<HashMap<Identifier, Place>>> = LazyLock::new(Mutex::default);

static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Place {
    said_at: Instant,
    message: String,
    left_out: u64,
}

/// Lets warnings and errors through once a second each, and everything else.
#[derive(Debug)]
pub(super) struct Sparing;

impl<S: Subscriber> Layer<S> for Sparing {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::WARN || is_due(event, Instant::now())
    }
}

fn is_due(event: &Event<'_>, now: Instant) -> bool {
    let mut places = PLACES.lock();
    let Some(place) = places.get_mut(&event.metadata().callsite()) else {
        let place = Place {
            said_at: now,
            message: message_of(event),
            left_out: 0,
        };
        places.insert(event.metadata().callsite(), place);
        return true;
    };
    if now.duration_since(place.said_at) < AGAIN_AFTER {
        place.left_out += 1;
        LEFT_OUT.fetch_add(1, Relaxed);
        return false;
    }
    place.said_at = now;
    true
}

/// How many lines were left out since the process began.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.load(Relaxed)
}

/// The messages that were left out since this was asked last, and how often.
pub fn take_left_out() -> Vec<(String, u64)> {
    let mut places = PLACES.lock();
    let some = places.values_mut().filter(|place| place.left_out > 0);
    some.map(|place| (place.message.clone(), std::mem::take(&mut place.left_out)))
        .collect()
}

fn message_of(event: &Event<'_>) -> String {
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().push(message_of(event));
        }
    }

    #[test]
    fn a_warning_is_heard_once_a_second_and_the_rest_is_counted() {
        let heard = Heard::default();
        let subscriber = tracing_subscriber::registry()
            .with(heard.clone())
            .with(Sparing);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5 {
                tracing::warn!(number, "the store is away");
                tracing::info!("something else");
            }
            tracing::error!("the broker is away");
        });
        let heard = heard.0.lock();
        let times = |message: &str| heard.iter().filter(|heard| *heard == message).count();
        assert_eq!(times("the store is away"), 1);
        assert_eq!(times("the broker is away"), 1);
        assert_eq!(times("something else"), 5);
        let left_out = take_left_out();
        assert!(left_out.contains(&("the store is away".to_owned(), 4)));
        assert_eq!(take_left_out(), []);
    }
}
