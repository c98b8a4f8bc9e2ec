//! Reads the fields of a JSON object, one by one, so that an error can name the field. Unknown fields are ignored,
//! as clients of other versions send them.
//!
//! Serde's derive reads a whole struct and says where in the *text* it failed; a client wants to know which *field*
//! it got wrong. It also makes no difference between an absent field and `null`, on which PATCH depends.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::json;
use crate::error::{ApiError, kind};

/// The fields that have not been read yet.
#[derive(Debug)]
pub(crate) struct Fields {
    fields: Map<String, Value>,
    /// Where the object stands: `["body"]`, or deeper.
    loc: Vec<&'static str>,
}

/// Whether a field was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<T> {
    Absent,
    Null,
    Value(T),
}

impl<T> Given<T> {
    /// For requests in which an absent field and `null` mean the same.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// For PATCH: an absent field keeps, `null` clears.
    pub(crate) fn patch(self, current: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *current = None,
            Self::Value(value) => *current = Some(value),
        }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(change(value)),
        }
    }
}

/// Says in one line what is wrong with a value.
pub(crate) type Check<T> = Result<T, String>;

impl Fields {
    /// The fields of a request body, which has to be an object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let text = json::text(body)?;
        let value = serde_json::from_str(text).map_err(|error| json::syntax(&error))?;
        Self::of(value, vec!["body"])
    }

    /// As `parse`, where a body may be left out.
    pub(crate) fn parse_optional(body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Self::of(Value::Object(Map::new()), vec!["body"]);
        }
        Self::parse(body)
    }

    pub(crate) fn of(value: Value, loc: Vec<&'static str>) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self { fields, loc }),
            _ => Err(ApiError::invalid(&loc, kind::TYPE, "must be an object")),
        }
    }

    pub(crate) fn missing(&self, name: &str) -> ApiError {
        self.error(name, kind::MISSING, "is required")
    }

    pub(crate) fn wrong(&self, name: &str, message: impl Into<String>) -> ApiError {
        self.error(name, kind::VALUE, message)
    }

    fn error(&self, name: &str, kind: &'static str, message: impl Into<String>) -> ApiError {
        let mut loc = self.loc.clone();
        loc.push(name);
        ApiError::invalid(&loc, kind, message)
    }

    fn wrong_type(&self, name: &str, expected: &str) -> ApiError {
        self.error(name, kind::TYPE, format!("must be {expected}"))
    }

    fn take(&mut self, name: &str) -> Given<Value> {
        match self.fields.remove(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => Given::Value(value),
        }
    }

    /// Reads a field with `read`, which answers `None` where the type is not the `expected` one.
    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Given<T>, ApiError> {
        match self.take(name) {
            Given::Absent => Ok(Given::Absent),
            Given::Null => Ok(Given::Null),
            Given::Value(value) if has_nul(&value) => {
                Err(self.wrong(name, "must not contain the character U+0000"))
            }
            Given::Value(value) => match read(value) {
                Some(value) => Ok(Given::Value(value)),
                None => Err(self.wrong_type(name, expected)),
            },
        }
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Given<String>, ApiError> {
        self.typed(name, "a string", string)
    }

    pub(crate) fn required_string(&mut self, name: &str) -> Result<String, ApiError> {
        self.string(name)?.value().ok_or_else(|| self.missing(name))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Given<bool>, ApiError> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    pub(crate) fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Given<u64>, ApiError> {
        let given = self.typed(name, "an integer", |value| value.as_i64())?;
        let Given::Value(number) = given else {
            return Ok(given.map(|_| 0));
        };
        match u64::try_from(number).ok().filter(|n| range.contains(n)) {
            Some(number) => Ok(Given::Value(number)),
            None => {
                let message = format!("must be between {} and {}", range.start(), range.end());
                Err(self.wrong(name, message))
            }
        }
    }

    /// A string that is checked and turned into something narrower.
    pub(crate) fn checked<T>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Check<T>,
    ) -> Result<Given<T>, ApiError> {
        match self.string(name)? {
            Given::Absent => Ok(Given::Absent),
            Given::Null => Ok(Given::Null),
            Given::Value(text) => check(&text)
                .map(Given::Value)
                .map_err(|message| self.wrong(name, message)),
        }
    }

    /// A list of strings, each checked. Repetitions are dropped: such lists are sets.
    pub(crate) fn set<T>(
        &mut self,
        name: &str,
        check: impl Fn(&str) -> Check<T>,
    ) -> Result<Given<Vec<T>>, ApiError> {
        let given = self.typed(name, "a list of strings", strings)?;
        let Given::Value(texts) = given else {
            return Ok(given.map(|_| Vec::new()));
        };
        distinct(&texts)
            .map(check)
            .collect::<Result<_, _>>()
            .map(Given::Value)
            .map_err(|message| self.wrong(name, message))
    }

    pub(crate) fn string_map(
        &mut self,
        name: &str,
    ) -> Result<Given<BTreeMap<String, String>>, ApiError> {
        self.typed(name, "an object whose values are strings", |value| {
            object(value)?
                .into_iter()
                .map(|(key, value)| Some((key, string(value)?)))
                .collect()
        })
    }

    /// A map from strings to strings or `null`.
    pub(crate) fn nullable_string_map(
        &mut self,
        name: &str,
    ) -> Result<Given<BTreeMap<String, Option<String>>>, ApiError> {
        let read = |value| match value {
            Value::Null => Some(None),
            other => string(other).map(Some),
        };
        self.typed(
            name,
            "an object whose values are strings or null",
            |value| {
                object(value)?
                    .into_iter()
                    .map(|(key, value)| Some((key, read(value)?)))
                    .collect()
            },
        )
    }

    /// An object, to be read field by field.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Given<Self>, ApiError> {
        let mut loc = self.loc.clone();
        loc.push(name);
        let given = self.typed(name, "an object", object)?;
        Ok(given.map(|fields| Self { fields, loc }))
    }

    /// An object, whatever is in it.
    pub(crate) fn json_object(&mut self, name: &str) -> Result<Given<Value>, ApiError> {
        self.typed(name, "an object", |value| {
            value.is_object().then_some(value)
        })
    }

    /// An object whose values are objects, as JSON text.
    pub(crate) fn object_of_objects(&mut self, name: &str) -> Result<Given<String>, ApiError> {
        self.typed(name, "an object whose values are objects", |value| {
            let all_objects = value.as_object()?.values().all(Value::is_object);
            all_objects.then(|| value.to_string())
        })
    }

    /// What a field is called in this request: the alias where that was given and the proper name was not.
    pub(crate) fn either(&self, name: &'static str, alias: &'static str) -> &'static str {
        if !self.fields.contains_key(name) && self.fields.contains_key(alias) {
            alias
        } else {
            name
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
}

/// Each text once, in order. Takes time in proportion to their number, which only the size of a body bounds.
pub(crate) fn distinct(texts: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::with_capacity(texts.len());
    texts
        .iter()
        .map(String::as_str)
        .filter(move |text| seen.insert(*text))
}

/// U+0000 is valid in JSON, but not every store can hold it.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn strings(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.into_iter().map(string).collect(),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loc(error: ApiError) -> (Vec<String>, String) {
        match error {
            ApiError::Invalid(field) => (field.loc, field.msg),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_name_the_field_and_its_place() {
        let mut fields = Fields::parse(br#"{"name":1}"#).unwrap();
        let (place, message) = loc(fields.string("name").unwrap_err());
        assert_eq!(
            (place, message.as_str()),
            (
                vec!["body".to_owned(), "name".to_owned()],
                "must be a string"
            )
        );
        let inner = serde_json::json!({"rate": 0});
        let mut inner = Fields::of(inner, vec!["body", "inner"]).unwrap();
        let (place, _) = loc(inner.integer("rate", 1..=9).unwrap_err());
        assert_eq!(place, ["body", "inner", "rate"]);
        let (place, _) = loc(inner.required_string("gone").unwrap_err());
        assert_eq!(place, ["body", "inner", "gone"]);
    }

    #[test]
    fn absent_null_and_given_are_three_things() {
        let mut fields = Fields::parse(br#"{"a":null,"b":"x"}"#).unwrap();
        assert_eq!(fields.string("a").unwrap(), Given::Null);
        assert_eq!(fields.string("b").unwrap(), Given::Value("x".to_owned()));
        assert_eq!(fields.string("c").unwrap(), Given::Absent);
        let mut kept = Some(1);
        Given::Absent.patch(&mut kept);
        assert_eq!(kept, Some(1));
        Given::Null.patch(&mut kept);
        assert_eq!(kept, None);
        Given::Value(2).patch(&mut kept);
        assert_eq!(kept, Some(2));
    }

    #[test]
    fn sets_drop_repetitions() {
        let mut fields = Fields::parse(br#"{"s":["b","a","b"]}"#).unwrap();
        let set = fields.set("s", |text| Ok(text.to_owned())).unwrap();
        assert_eq!(set, Given::Value(vec!["b".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn what_some_stores_cannot_hold_is_refused() {
        for body in [
            r#"{"f":"a\u0000b"}"#,
            r#"{"f":["\u0000"]}"#,
            r#"{"f":{"\u0000":"a"}}"#,
            r#"{"f":{"a":{"b":"\u0000"}}}"#,
        ] {
            let read = |read: fn(&mut Fields) -> Option<ApiError>| {
                read(&mut Fields::parse(body.as_bytes()).unwrap()).map(loc)
            };
            for error in [
                read(|fields| fields.string("f").err()),
                read(|fields| fields.set("f", |text| Ok(text.to_owned())).err()),
                read(|fields| fields.string_map("f").err()),
                read(|fields| fields.object_of_objects("f").err()),
            ] {
                let (place, message) = error.unwrap();
                assert_eq!(place, ["body", "f"]);
                assert_eq!(message, "must not contain the character U+0000", "{body}");
            }
        }
    }

    #[test]
    fn a_body_is_an_object_or_where_that_is_allowed_nothing() {
        assert!(Fields::parse(b"").is_err());
        assert!(Fields::parse(b"[]").is_err());
        assert!(Fields::parse(b"\xff").is_err());
        assert!(Fields::parse_optional(b" \n").is_ok());
        assert!(Fields::parse_optional(b"1").is_err());
    }
}
