//! What an event of a type looks like: what its schema gives as an example.

use std::cmp::Ordering;

use postrider_core::Event;
use serde_json::{Map, Value};

use crate::schema;

/// The event type that exists everywhere, for trying an endpoint out.
pub(crate) const PING: &str = "svix.ping";
const PING_PAYLOAD: &str = r#"{"success":true}"#;

/// Marks messages that are examples: they were meant for one endpoint, and are missing nowhere else.
pub(crate) const TAG: &str = "postrider.example";

pub(crate) fn is_one(event: &Event) -> bool {
    event.tags.iter().any(|tag| tag == TAG)
}

/// The payload of the built-in event type of that name.
pub(crate) fn built_in(event_type: &str) -> Option<&'static str> {
    (event_type == PING).then_some(PING_PAYLOAD)
}

/// The example that the newest of an event type's schemas gives; `schemas` is JSON text. `None` where there is none that
/// could be sent.
pub(crate) fn of_schemas(schemas: &str) -> Option<String> {
    let schemas: Map<String, Value> = serde_json::from_str(schemas).ok()?;
    let (_, newest) = schema::newest(&schemas)?;
    let first = newest.get("examples").and_then(|examples| examples.get(0));
    let example = first
        .or_else(|| newest.get("example"))
        .or_else(|| newest.get("default"))?;
    example.is_object().then(|| example.to_string())
}

/// Versions are numbers by custom, and texts to us: what is no number is older than what is one.
pub(crate) fn versions(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.trim_start_matches('v').parse::<u64>().ok();
    (number(a), a).cmp(&(number(b), b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_schema_gives_the_example() {
        let schemas = r#"{"2":{"examples":[{"a":2}]},"10":{"examples":[{"a":10},{"a":11}]}}"#;
        assert_eq!(of_schemas(schemas).as_deref(), Some(r#"{"a":10}"#));
        let schemas = r#"{"v1":{"example":{"a":1}}}"#;
        assert_eq!(of_schemas(schemas).as_deref(), Some(r#"{"a":1}"#));
        for schemas in [r#"{}"#, r#"{"1":{}}"#, r#"{"1":{"examples":[7]}}"#, "7"] {
            assert_eq!(of_schemas(schemas), None, "{schemas}");
        }
    }
}
