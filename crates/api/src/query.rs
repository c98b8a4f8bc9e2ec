//! The query string. What cannot be read (a number that is none, say) is a 400; what can be read and is out of
//! bounds is a 422 that names the parameter. An empty value counts as absent, as some clients send it for "none".

use std::collections::HashSet;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use postrider_core::{Channel, EventTypeName, Timestamp};

use crate::error::{ApiError, kind};
use crate::validate;
use crate::wire::fields::Check;

/// The parameters, decoded, in order.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The last value that was given and is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().rev();
        let found = values.find(|(key, value)| key == name && !value.is_empty())?;
        Some(&found.1)
    }

    fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some(value) => Ok(Some(value)),
                None => Err(ApiError::bad_query(name, expected)),
            },
        }
    }

    fn checked<T>(
        &self,
        name: &str,
        check: impl FnOnce(&str) -> Check<T>,
    ) -> Result<Option<T>, ApiError> {
        self.text(name)
            .map(check)
            .transpose()
            .map_err(|message| ApiError::invalid(&["query", name], kind::VALUE, message))
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.parsed(name, "a non-negative integer", |text| text.parse().ok())
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        Ok(self
            .parsed(name, "true or false", parse)?
            .unwrap_or(default))
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        // A plus sign that was not escaped has become a space by now.
        let parse = |text: &str| Timestamp::parse_rfc3339(&text.replace(' ', "+"));
        self.parsed(name, "a time as of RFC 3339", parse)
    }

    /// One of the given words.
    pub(crate) fn word<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.parsed(name, expected, parse)
    }

    pub(crate) fn channel(&self) -> Result<Option<Channel>, ApiError> {
        self.checked("channel", validate::channel)
    }

    pub(crate) fn tag(&self) -> Result<Option<String>, ApiError> {
        self.checked("tag", validate::tag)
    }

    /// `event_types`, in any of the forms that clients use: a list with commas, the parameter repeated, or the
    /// parameter followed by `[]` or `[n]`.
    pub(crate) fn event_types(&self) -> Result<Vec<EventTypeName>, ApiError> {
        let mut types = Vec::new();
        let mut seen = HashSet::new();
        let named = self
            .0
            .iter()
            .filter(|(key, _)| names_list(key, "event_types"));
        let values = named.flat_map(|(_, value)| value.split(','));
        for text in values.map(str::trim).filter(|text| !text.is_empty()) {
            if !seen.insert(text) {
                continue;
            }
            let name = validate::event_type(text).map_err(|message| {
                ApiError::invalid(&["query", "event_types"], kind::VALUE, message)
            })?;
            types.push(name);
        }
        Ok(types)
    }
}

fn names_list(key: &str, name: &str) -> bool {
    let Some(rest) = key.strip_prefix(name) else {
        return false;
    };
    let index = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    rest.is_empty() || index.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn event_types_come_in_many_forms() {
        for query in [
            "event_types=a.b,c",
            "event_types=a.b&event_types=c",
            "event_types[]=a.b&event_types[]=c",
            "event_types%5B0%5D=a.b&event_types%5B1%5D=c,a.b,",
        ] {
            let types = Query::parse(query).event_types().unwrap();
            let names: Vec<&str> = types.iter().map(EventTypeName::as_str).collect();
            assert_eq!(names, ["a.b", "c"], "{query}");
        }
        assert!(Query::parse("event_types=a b").event_types().is_err());
        assert!(
            Query::parse("event_typesx=a")
                .event_types()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn unreadable_is_400_and_out_of_bounds_is_422() {
        let bad = |query: &str| Query::parse(query);
        assert!(matches!(
            bad("with_content=maybe").flag("with_content", true),
            Err(ApiError::BadRequest { .. })
        ));
        assert!(matches!(
            bad("before=yesterday").time("before"),
            Err(ApiError::BadRequest { .. })
        ));
        assert!(matches!(
            bad("channel=a%20b").channel(),
            Err(ApiError::Invalid(_))
        ));
    }

    #[test]
    fn empty_values_are_absent_and_the_last_one_counts() {
        let query = Query::parse("a=&b=1&b=2&flag=False&before=2024-01-01T00:00:00+01:00");
        assert_eq!(query.text("a"), None);
        assert_eq!(query.text("b"), Some("2"));
        assert!(!query.flag("flag", true).unwrap());
        assert!(query.time("before").unwrap().is_some());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let query = Query::parse(&text);
            let _ = (query.event_types(), query.channel(), query.time("before"), query.integer("limit"));
        }
    }
}
