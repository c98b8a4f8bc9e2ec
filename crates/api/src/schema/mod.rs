//! Payloads against the schema of their event type, where that is switched on.
//!
//! | question | module |
//! |---|---|
//! | what is a schema that can be used, and what does it cost? | [`checker`], [`graph`], [`weight`] |
//! | which event types validate, without asking the registry for each message? | [`views`] |
//!
//! The schema of the highest version counts ([`newest`]). It is looked at when it is stored and compiled once for each version
//! and process. Nothing is ever fetched: what a schema refers to has to be within it. Whoever may store one (an operator) does so for
//! messages of their own organisation; what it may cost is bounded all the same, because others share the process:
//!
//! | what | bound |
//! |---|---|
//! | schemas of an event type together | [`MAX_BYTES`] |
//! | patterns | an engine that takes time in proportion to the text; [`checker`] bounds their size |
//! | applying it to one place of a payload, and how deep that goes | [`weight`] |
//! | payload times weight | [`checker`]; what takes long runs outside of the runtime's threads, two at a time |

mod checker;
mod graph;
mod views;
mod weight;

use postrider_core::EventType;
use serde_json::{Map, Value};

pub(crate) use views::Schemas;

use self::checker::Checker;
use crate::error::{ApiError, kind};
use crate::example::versions;

/// Bytes of JSON that the schemas of an event type may have together.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// What is wrong with a schema, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flaw {
    path: Vec<String>,
    problem: String,
}

impl Flaw {
    fn new(path: Vec<String>, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { path, problem }
    }
}

/// The schema that counts, and what its version is called.
pub(crate) fn newest(schemas: &Map<String, Value>) -> Option<(&str, &Value)> {
    let newest = schemas.iter().max_by(|a, b| versions(a.0, b.0));
    newest.map(|(version, schema)| (version.as_str(), schema))
}

/// Whether an event type can be stored as it is. `within`: where its schemas stand in the request.
pub(crate) async fn storable(kind: &EventType, within: &[&str]) -> Result<(), ApiError> {
    let Some(schemas) = kind.schemas.clone() else {
        if kind.validate_payload {
            let problem = "needs a schema to hold payloads against: give `schemas`, too";
            return Err(ApiError::body_value("validatePayload", problem));
        }
        return Ok(());
    };
    if schemas.len() > MAX_BYTES {
        let problem = format!("must have at most {MAX_BYTES} bytes of JSON together");
        return Err(ApiError::invalid(within, kind::VALUE, problem));
    }
    if !kind.validate_payload {
        return Ok(());
    }
    let compiled = tokio::task::spawn_blocking(move || compile(&schemas)).await;
    let compiled = compiled.map_err(|_| ApiError::Internal("looking at a schema panicked"))?;
    compiled.map(drop).map_err(|flaw| {
        let path = flaw.path.iter().map(String::as_str);
        let loc: Vec<&str> = within.iter().copied().chain(path).collect();
        ApiError::invalid(&loc, kind::VALUE, flaw.problem)
    })
}

/// The newest of the schemas, ready to be used; the version leads the path of a flaw.
fn compile(schemas: &str) -> Result<Checker, Flaw> {
    let read = serde_json::from_str::<Map<String, Value>>(schemas);
    let schemas = read.map_err(|_| Flaw::new(Vec::new(), "must be nested less deep"))?;
    let Some((version, schema)) = newest(&schemas) else {
        let problem = "must hold a schema where payloads are validated";
        return Err(Flaw::new(Vec::new(), problem));
    };
    Checker::new(schema).map_err(|mut flaw| {
        flaw.path.insert(0, version.to_owned());
        flaw
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_highest_number_is_the_newest() {
        for (schemas, version) in [
            (json!({"1": {}, "2": {}, "10": {}}), Some("10")),
            (json!({"v2": {}, "1": {}}), Some("v2")),
            (json!({"3": {}, "2026-01-01": {}, "draft": {}}), Some("3")),
            (json!({"a": {}, "b": {}}), Some("b")),
            (json!({}), None),
        ] {
            let schemas = schemas.as_object().unwrap();
            assert_eq!(newest(schemas).map(|(version, _)| version), version);
        }
    }

    #[test]
    fn a_flaw_names_the_version_and_the_place() {
        let flaw = compile(r#"{"1":{},"2":{"properties":{"a":{"type":"strin"}}}}"#).unwrap_err();
        assert_eq!(flaw.path, ["2", "properties", "a", "type"]);
        assert!(
            compile(r#"{"1":{"type":"strin"},"2":{}}"#).is_ok(),
            "only the newest counts"
        );
        assert!(compile("{}").is_err());
    }
}
