//! What the API accepts.

use super::parse;
use super::setting::{ConfigError, DefaultValue, Setting, Shown};
use super::sources::Sources;

pub(super) static MAX_BODY: Setting = Setting {
    key: "max_body",
    placeholder: "BYTES",
    form: "a number of bytes, or of KiB or MiB, from 1KiB to 16MiB",
    default: DefaultValue::Text("1MiB"),
    shown: Shown::Whole,
    help: "The longest request body that the API reads; longer ones are answered with 413.",
};

#[derive(Debug, Clone)]
pub struct Ingest {
    /// Bytes.
    pub max_body: usize,
}

impl Ingest {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let size = |text: &str| parse::bytes_within(text, 1 << 10, 16 << 20);
        Ok(Self {
            max_body: sources.read(&MAX_BODY, size)?.value,
        })
    }
}
