//! How long history is kept.

use std::time::Duration;

use super::parse;
use super::setting::{ConfigError, DefaultValue, Setting, Shown};
use super::sources::Sources;

const HOUR: Duration = Duration::from_secs(3_600);
const DECADES: Duration = Duration::from_secs(36_500 * 24 * 3_600);

pub(super) static RETENTION: Setting = Setting {
    key: "retention",
    placeholder: "TIME",
    form: "1h to 36500d, like 72h or 30d",
    default: DefaultValue::Absent("`30d` embedded, `72h` in Redis"),
    shown: Shown::Whole,
    help: "How long the log keeps messages, with their payloads, and attempts. Undelivered events do not depend on it.",
};

pub(super) static DEAD_LETTER_RETENTION: Setting = Setting {
    key: "dead_letter_retention",
    placeholder: "TIME",
    form: "1h to 36500d, like 72h or 90d",
    default: DefaultValue::Text("90d"),
    shown: Shown::Whole,
    help: "How long deliveries that were given up are kept, with their payloads.",
};

#[derive(Debug, Clone)]
pub struct Retention {
    /// `None`: what suits the store.
    log: Option<Duration>,
    pub dead_letters: Duration,
}

impl Retention {
    /// How long the log is kept.
    #[must_use]
    pub fn log(&self, embedded: bool) -> Duration {
        // Memory is dearer than a disk.
        let suitable = if embedded { HOUR * 24 * 30 } else { HOUR * 72 };
        self.log.unwrap_or(suitable)
    }

    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let time = |text: &str| parse::duration_within(text, HOUR, DECADES);
        Ok(Self {
            log: sources
                .read_optional(&RETENTION, time)?
                .map(|entry| entry.value),
            dead_letters: sources.read(&DEAD_LETTER_RETENTION, time)?.value,
        })
    }
}
