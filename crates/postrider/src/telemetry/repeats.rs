//! What goes wrong for each of a thousand deliveries is said once a second, with how often it was not said.
//!
//! A line's cause is its place in the code: what differs in its fields (an endpoint, a queue) does not make it another
//! cause. So a part that is away cannot fill a disk with warnings, whoever warns.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(1);
/// The line that tells what was left out is never left out itself.
const OWN_TARGET: &str = "postrider::repeats";

/// Warnings and errors, one a second of each cause.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Identifier, Cause>>);

#[derive(Debug)]
struct Cause {
    said: Instant,
    left_out: u64,
}

impl Repeats {
    /// How many lines were left out before this one; `None`: it is left out, too.
    fn admit(&self, cause: Identifier, now: Instant) -> Option<u64> {
        let mut causes = self.0.lock();
        let Some(cause) = causes.get_mut(&cause) else {
            let first = Cause {
                said: now,
                left_out: 0,
            };
            causes.insert(cause, first);
            return Some(0);
        };
        if now.duration_since(cause.said) < PAUSE {
            cause.left_out += 1;
            return None;
        }
        cause.said = now;
        Some(std::mem::take(&mut cause.left_out))
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == OWN_TARGET {
            return true;
        }
        match self.admit(metadata.callsite(), Instant::now()) {
            None => false,
            Some(0) => true,
            Some(left_out) => {
                tracing::warn!(
                    target: OWN_TARGET,
                    left_out,
                    "lines like the next one were left out"
                );
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_cause_is_told_once_and_others_beside_it() {
        let written = Written::default();
        let format = tracing_subscriber::fmt::layer().with_writer(written.clone());
        let subscriber = tracing_subscriber::registry()
            .with(Repeats::default())
            .with(format.with_ansi(false));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..100 {
                tracing::warn!(number, "away");
                tracing::info!("heard");
            }
            tracing::error!("another");
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let count = |what: &str| text.matches(what).count();
        assert_eq!(
            (count("away"), count("heard"), count("another")),
            (1, 100, 1)
        );
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let repeats = Repeats::default();
        let cause = Identifier(&CALLSITE);
        let start = Instant::now();
        assert_eq!(repeats.admit(cause.clone(), start), Some(0));
        for _ in 0..7 {
            assert_eq!(repeats.admit(cause.clone(), start + PAUSE / 2), None);
        }
        assert_eq!(repeats.admit(cause.clone(), start + PAUSE), Some(7));
        assert_eq!(repeats.admit(cause, start + 2 * PAUSE), Some(0));
    }

    struct Place;
    static CALLSITE: Place = Place;

    impl tracing::Callsite for Place {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("only its identity is used")
        }
    }
}
