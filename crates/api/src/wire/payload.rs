//! A payload on its way out: the bytes as they came in, or what stands for them.

use postrider_core::message::Event;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload<'a> {
    Bytes(&'a [u8]),
    /// Not asked for.
    Omitted,
    /// Not kept any more.
    Expired,
}

impl<'a> Payload<'a> {
    pub(crate) fn of(event: &'a Event, has_payload: bool, with_content: bool) -> Self {
        match (with_content, has_payload) {
            (false, _) => Self::Omitted,
            (true, false) => Self::Expired,
            (true, true) => Self::Bytes(&event.payload),
        }
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).unwrap_or("{}"),
            Self::Omitted => "{}",
            Self::Expired => r#"{"expired":true}"#,
        };
        let raw: Result<&RawValue, _> = serde_json::from_str(text);
        match raw {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => serializer.collect_map(std::iter::empty::<((), ())>()),
        }
    }
}
