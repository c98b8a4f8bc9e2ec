//! Import of event types.

use postrider_core::EventType;
use serde::Serialize;
use serde_json::Value;

use super::event_type::EventTypeOut;
use super::fields::{Fields, has_nul};
use super::json;
use crate::error::ApiError;

/// A document, and what to do with it.
#[derive(Debug)]
pub(crate) struct ImportIn {
    pub(crate) spec: Value,
    /// Only tell.
    pub(crate) dry_run: bool,
    /// Archive what the document does not know.
    pub(crate) replace_all: bool,
}

impl ImportIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let spec = fields.json_object("spec")?.value();
        let raw = fields.string("specRaw")?.value();
        let spec = match (spec, raw) {
            (Some(spec), _) => spec,
            (None, Some(raw)) => {
                // What is within a string was not looked at when the body was.
                let text = json::text(raw.as_bytes())
                    .map_err(|_| fields.wrong("specRaw", "is nested too deep"))?;
                let read = serde_json::from_str(text);
                let spec =
                    read.map_err(|error| fields.wrong("specRaw", format!("is not JSON: {error}")))?;
                if has_nul(&spec) {
                    return Err(fields.wrong("specRaw", "must not contain a NUL"));
                }
                spec
            }
            (None, None) => return Err(fields.missing("spec")),
        };
        Ok(Self {
            spec,
            dry_run: fields.flag("dryRun")?.value().unwrap_or(false),
            replace_all: fields.flag("replaceAll")?.value().unwrap_or(false),
        })
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ImportOut<'a> {
    data: Changes<'a>,
}

#[derive(Debug, Serialize)]
struct Changes<'a> {
    /// Names of what was changed.
    modified: Vec<&'a str>,
    /// What would be, where it was only asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_modify: Option<Vec<EventTypeOut<'a>>>,
}

impl<'a> ImportOut<'a> {
    pub(crate) fn new(changed: &'a [EventType], dry_run: bool) -> Self {
        let shown = || changed.iter().map(|kind| EventTypeOut::new(kind, true));
        let names = || changed.iter().map(|kind| kind.name.as_str());
        Self {
            data: Changes {
                modified: if dry_run {
                    Vec::new()
                } else {
                    names().collect()
                },
                to_modify: dry_run.then(|| shown().collect()),
            },
        }
    }
}
