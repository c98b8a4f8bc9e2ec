//! Headers that an endpoint adds to its requests.

use std::collections::BTreeMap;

use postrider_core::secret::SecretText;
use serde::Serialize;

use super::fields::Fields;
use crate::error::ApiError;
use crate::validate;

/// A map of headers, checked; `None` where the field is absent.
pub(super) fn read(
    fields: &mut Fields,
    name: &str,
) -> Result<Option<BTreeMap<String, SecretText>>, ApiError> {
    let Some(headers) = fields.string_map(name)?.value() else {
        return Ok(None);
    };
    validate::headers(&headers).map_err(|message| fields.wrong(name, message))?;
    Ok(Some(keep(headers)))
}

fn keep(headers: BTreeMap<String, String>) -> BTreeMap<String, SecretText> {
    let secret = |(name, value)| (name, SecretText::new(value));
    headers.into_iter().map(secret).collect()
}

/// All headers, for PUT.
pub(crate) fn read_all(mut fields: Fields) -> Result<BTreeMap<String, SecretText>, ApiError> {
    read(&mut fields, "headers")?.ok_or_else(|| fields.missing("headers"))
}

/// Some headers, for PATCH: `null` and `deleteHeaders` take headers away, the rest is set.
#[derive(Debug, Clone)]
pub(crate) struct HeadersPatch {
    set: BTreeMap<String, String>,
    removed: Vec<String>,
}

impl HeadersPatch {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let given = fields.nullable_string_map("headers")?.value();
        let removed = fields.set("deleteHeaders", |name| Ok(name.to_owned()))?;
        let Some(given) = given.or_else(|| removed.clone().value().map(|_| BTreeMap::new())) else {
            return Err(fields.missing("headers"));
        };
        let mut patch = Self {
            set: BTreeMap::new(),
            removed: removed.value().unwrap_or_default(),
        };
        for (name, value) in given {
            match value {
                Some(value) => drop(patch.set.insert(name, value)),
                None => patch.removed.push(name),
            }
        }
        validate::headers(&patch.set).map_err(|message| fields.wrong("headers", message))?;
        Ok(patch)
    }

    /// What is there after the patch. A header that is set replaces one that is written in another case.
    pub(crate) fn apply(
        &self,
        current: &BTreeMap<String, SecretText>,
    ) -> Result<BTreeMap<String, SecretText>, ApiError> {
        let same = |a: &str, b: &String| a.eq_ignore_ascii_case(b);
        let touched = |name: &str| {
            self.removed.iter().any(|gone| same(name, gone))
                || self.set.keys().any(|set| same(name, set))
        };
        let kept = current.iter().filter(|(name, _)| !touched(name));
        let mut merged: BTreeMap<String, String> = kept
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect();
        merged.extend(self.set.clone());
        validate::headers(&merged).map_err(|message| ApiError::body_value("headers", message))?;
        Ok(keep(merged))
    }
}

/// Headers as they are shown: values of those that look like credentials are not, only that they are set.
#[derive(Debug, Serialize)]
pub(crate) struct HeadersOut<'a> {
    headers: BTreeMap<&'a str, &'a str>,
    sensitive: Vec<&'a str>,
}

impl<'a> From<&'a BTreeMap<String, SecretText>> for HeadersOut<'a> {
    fn from(all: &'a BTreeMap<String, SecretText>) -> Self {
        let mut shown = Self {
            headers: BTreeMap::new(),
            sensitive: Vec::new(),
        };
        for (name, value) in all {
            if validate::is_sensitive_header(name) {
                shown.sensitive.push(name);
            } else {
                shown.headers.insert(name, value.expose());
            }
        }
        shown
    }
}
