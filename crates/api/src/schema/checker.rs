//! One schema, ready to be used.

use std::borrow::Cow;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::Flaw;
use super::graph::{Graph, unescaped};
use super::weight::weigh;
use crate::error::{FieldError, kind};

/// Violations that are told of one payload.
const MAX_TOLD: usize = 10;
/// In the payload of a schema that is applied on a thread of the runtime: to parse that many bytes and to look at them takes less
/// than a millisecond.
const QUICK_BYTES: usize = 64 * 1024;
/// The same with the schema's weight.
const QUICK_WORK: u64 = 256 * QUICK_BYTES as u64;
/// Bytes times weight that are looked at at all. Seconds at the worst, which needs a schema made for it.
const MAX_WORK: u64 = 1_000_000_000;
/// Bytes that a compiled pattern may take where matching it counts for little.
const SMALL_PATTERN: usize = 128 * 1024;
const LARGE_PATTERN: usize = 2 * 1024 * 1024;
/// What a pattern may use while it is matched.
const PATTERN_CACHE: usize = 128 * 1024;
/// What a compiled schema takes for each byte of its text, and what a pattern takes on top, as measured.
const PER_BYTE: usize = 20;
const PER_PATTERN: usize = 16 * 1024;
/// Characters of a message, and of a name in the path to a violation.
const MAX_MESSAGE: usize = 256;
const MAX_NAME: usize = 128;

#[derive(Debug)]
pub(super) struct Checker {
    validator: Validator,
    /// See [`weigh`].
    cost: u64,
    has_large_patterns: bool,
    /// About how many bytes it takes.
    size: usize,
}

impl Checker {
    pub(super) fn new(schema: &Value) -> Result<Self, Flaw> {
        let graph = Graph::of(schema)?;
        let cost = weigh(&graph)?;
        let small = build(schema, SMALL_PATTERN);
        let has_large_patterns = small.is_err();
        // Where it was no pattern's size, it fails again.
        let validator = small.or_else(|_| build(schema, LARGE_PATTERN));
        Ok(Self {
            validator: validator.map_err(|error| flaw(&error))?,
            cost,
            has_large_patterns,
            size: size(schema, graph.patterns, has_large_patterns),
        })
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whether looking at a payload of that many bytes keeps a thread for no longer than anything else does.
    pub(super) fn is_quick(&self, bytes: usize) -> bool {
        bytes <= QUICK_BYTES && self.work(bytes) <= QUICK_WORK && !self.has_large_patterns
    }

    fn work(&self, bytes: usize) -> u64 {
        self.cost.saturating_mul(bytes as u64)
    }

    /// What is wrong with a payload, [`MAX_TOLD`] violations at most; nothing where it is right.
    pub(super) fn check(&self, payload: &[u8]) -> Vec<FieldError> {
        if self.work(payload.len()) > MAX_WORK {
            let most = MAX_WORK / self.cost.max(1);
            return vec![violation(
                "",
                &format!("must have at most {most} bytes for its event type's schema"),
            )];
        }
        let payload_value: Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            // JSON as such is less strict: a number may be larger than any that a program has.
            Err(error) => {
                return vec![violation(
                    "",
                    &format!("cannot be held against a schema: {error}"),
                )];
            }
        };
        if self.validator.is_valid(&payload_value) {
            return Vec::new();
        }
        // All violations are gathered before the first is told, and each takes hundreds of bytes.
        if payload.len() > QUICK_BYTES {
            let first = self.validator.validate(&payload_value).err();
            return first.iter().map(told).collect();
        }
        let all = self.validator.iter_errors(&payload_value);
        all.take(MAX_TOLD).map(|error| told(&error)).collect()
    }
}

fn size(schema: &Value, patterns: usize, are_large: bool) -> usize {
    let each = if are_large {
        LARGE_PATTERN / 2
    } else {
        PER_PATTERN
    };
    let text = schema.to_string().len().saturating_mul(PER_BYTE);
    text.saturating_add(patterns.saturating_mul(each))
}

fn build(schema: &Value, pattern: usize) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(pattern);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns.dfa_size_limit(PATTERN_CACHE))
        // By the standard a format is a note, unless somebody agreed on more.
        .should_validate_formats(false)
        .build(schema)
}

fn flaw(error: &ValidationError<'_>) -> Flaw {
    let path = segments(error.instance_path().as_str()).collect();
    Flaw::new(path, shortened(&error.to_string(), MAX_MESSAGE))
}

/// Without the value itself: what is told may be stored and logged where payloads are not.
fn told(error: &ValidationError<'_>) -> FieldError {
    let message = error.masked_with("the value").to_string();
    violation(error.instance_path().as_str(), &message)
}

fn violation(place: &str, message: &str) -> FieldError {
    let within = segments(place).map(|name| shortened(&name, MAX_NAME).into_owned());
    FieldError {
        loc: ["body", "payload"]
            .map(str::to_owned)
            .into_iter()
            .chain(within)
            .collect(),
        msg: shortened(message, MAX_MESSAGE).into_owned(),
        kind: kind::SCHEMA,
    }
}

fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(unescaped)
}

pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checker(schema: &Value) -> Checker {
        Checker::new(schema).unwrap_or_else(|flaw| panic!("{flaw:?}"))
    }

    /// Places and messages.
    fn wrong(schema: &Value, payload: &Value) -> Vec<(String, String)> {
        let found = checker(schema).check(payload.to_string().as_bytes());
        let told = |error: FieldError| (error.loc.join("/"), error.msg);
        found.into_iter().map(told).collect()
    }

    fn refused(schema: &Value) -> String {
        let flaw = Checker::new(schema).map(drop).unwrap_err();
        format!("{}: {}", flaw.path.join("/"), flaw.problem)
    }

    #[test]
    fn violations_are_told_with_their_places_and_without_values() {
        let schema = json!({
            "type": "object",
            "required": ["id"],
            "properties": {
                "lines": {"items": {"type": "object", "properties": {"a/b~c": {"type": "integer"}}}},
                "state": {"enum": ["open", "paid"]},
            },
        });
        let payload = json!({"lines": [{"a/b~c": 1}, {"a/b~c": "secret"}], "state": "secret"});
        let found = wrong(&schema, &payload);
        let expected = [
            ("body/payload", r#""id" is a required property"#),
            (
                "body/payload/lines/1/a/b~c",
                r#"the value is not of type "integer""#,
            ),
            (
                "body/payload/state",
                r#"the value is not one of "open" or "paid""#,
            ),
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (place, message) in expected {
            assert!(
                found.contains(&(place.to_owned(), message.to_owned())),
                "{place}: {found:?}"
            );
        }
        assert!(!format!("{found:?}").contains("secret"));
        let right = json!({"id": 1, "lines": [], "state": "open"});
        assert_eq!(wrong(&schema, &right), []);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let schema = json!({"additionalProperties": {"type": "string"}});
        let many: serde_json::Map<_, _> = (0..500).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(wrong(&schema, &Value::Object(many)).len(), MAX_TOLD);
        let long = json!({"x".repeat(5_000): 1});
        let [(place, _)] = &wrong(&schema, &long)[..] else {
            panic!()
        };
        assert!(place.chars().count() < 200);
        let long = json!({"enum": [{"a": "x".repeat(5_000)}]});
        let [(_, message)] = &wrong(&long, &json!({}))[..] else {
            panic!()
        };
        assert!(message.chars().count() <= MAX_MESSAGE + 1);
        let large: serde_json::Map<_, _> = (0..20_000).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(wrong(&schema, &Value::Object(large)).len(), 1);
    }

    #[test]
    fn each_draft_is_read_as_it_says() {
        let tuple = json!([{"type": "integer"}]);
        for (draft, keyword) in [
            ("http://json-schema.org/draft-04/schema#", "items"),
            ("http://json-schema.org/draft-06/schema#", "items"),
            ("http://json-schema.org/draft-07/schema", "items"),
            ("https://json-schema.org/draft/2019-09/schema", "items"),
            (
                "https://json-schema.org/draft/2020-12/schema",
                "prefixItems",
            ),
        ] {
            let schema = json!({"$schema": draft, "properties": {"a": {keyword: tuple}}});
            assert_eq!(wrong(&schema, &json!({"a": [1]})), [], "{draft}");
            assert_eq!(wrong(&schema, &json!({"a": ["x"]})).len(), 1, "{draft}");
        }
        let exclusive = json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"minimum": 1, "exclusiveMinimum": true}}});
        assert_eq!(wrong(&exclusive, &json!({"a": 1})).len(), 1);
        let unsaid = json!({"properties": {"a": {"prefixItems": tuple}}});
        assert_eq!(wrong(&unsaid, &json!({"a": ["x"]})).len(), 1, "2020-12");
        let unsaid = json!({"properties": {"a": {"items": tuple}}});
        assert!(refused(&unsaid).starts_with("properties/a/items"));
        let other = json!({"$schema": "https://example.org/schema"});
        assert!(refused(&other).starts_with("$schema: must be one of http"));
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        for (schema, place) in [
            (json!({"type": "strin"}), "type: "),
            (
                json!({"properties": {"a": {"minimum": "1"}}}),
                "properties/a/minimum: ",
            ),
            (
                json!({"properties": {"a": {"pattern": "("}}}),
                "properties/a/pattern: ",
            ),
            (json!({"pattern": "^(?!a)"}), "pattern: "),
            (
                json!({"items": {"$ref": "http://127.0.0.1:1/a"}}),
                "items/$ref: ",
            ),
            (json!({"items": {"$ref": "#/nowhere"}}), "items/$ref: "),
            (json!({"required": "a"}), "required: "),
        ] {
            let refused = refused(&schema);
            assert!(refused.starts_with(place), "{refused}");
        }
    }

    #[test]
    fn references_and_anchors_within_are_followed() {
        let schema = json!({
            "properties": {"a": {"$ref": "#/$defs/number"}, "b": {"$ref": "#text"}},
            "$defs": {"number": {"type": "integer"}, "t": {"$anchor": "text", "type": "string"}},
        });
        assert_eq!(wrong(&schema, &json!({"a": 1, "b": "x"})), []);
        assert_eq!(wrong(&schema, &json!({"a": "x", "b": 1})).len(), 2);
        let tree = json!({"properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}});
        assert_eq!(
            wrong(&tree, &json!({"next": {"next": {"value": "x"}}}))[0].0,
            "body/payload/next/next/value"
        );
    }

    /// A backtracking engine would not come back from these.
    #[test]
    fn patterns_take_time_in_proportion_to_the_text() {
        for pattern in ["^(a+)+$", "^(a|a)*$", "^(.*a){20}$", "(x+x+)+y"] {
            let schema = json!({"properties": {"a": {"pattern": pattern}}});
            let payload = json!({"a": format!("{}!", "a".repeat(50_000))});
            assert!(wrong(&schema, &payload).len() <= 1);
        }
        let endless = json!({"pattern": "((a{1000}){1000}){1000}"});
        assert!(refused(&endless).starts_with("pattern"));
        let usual = checker(&json!({"pattern": "^[\\w.+-]{1,64}@[a-z0-9.-]+$"}));
        assert!(usual.is_quick(1_000));
        let large = checker(&json!({"pattern": "^[^@]{1,200}@[^@]{1,200}$"}));
        assert!(!large.is_quick(1_000));
    }

    #[test]
    fn formats_are_notes() {
        let schema = json!({"properties": {"at": {"format": "date-time"}}});
        assert_eq!(wrong(&schema, &json!({"at": "tomorrow"})), []);
    }

    #[test]
    fn work_is_bounded() {
        let light = checker(&json!({}));
        assert!(light.is_quick(QUICK_BYTES) && !light.is_quick(QUICK_BYTES + 1));
        let all: Vec<Value> = (0..5_000).map(|_| json!({"type": "object"})).collect();
        let heavy = checker(&json!({"allOf": all}));
        assert!(!heavy.is_quick(QUICK_BYTES) && heavy.is_quick(1_000));
        let payload = json!({"a": "x".repeat(300_000)}).to_string();
        let [only] = &heavy.check(payload.as_bytes())[..] else {
            panic!()
        };
        assert!(
            only.msg.starts_with("must have at most 199"),
            "{}",
            only.msg
        );
    }

    #[test]
    fn what_json_allows_and_no_program_can_hold_is_refused() {
        let checker = checker(&json!({}));
        assert_eq!(checker.check(br#"{"a":1e999}"#).len(), 1);
        assert_eq!(checker.check(br#"{"a":1e99}"#), []);
    }

    /// As deep as it may go, on a stack as small as those of the runtime's threads.
    #[test]
    fn the_deepest_schema_fits_on_the_stack() {
        let mut all = serde_json::Map::new();
        for link in 0..480 {
            let next = json!({"$ref": format!("#/$defs/{}", link + 1)});
            all.insert(link.to_string(), json!({"allOf": [next]}));
        }
        all.insert("480".to_owned(), json!({"type": "array"}));
        let schema = json!({"$ref": "#/$defs/0", "$defs": all});
        let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let run = move || wrong(&schema, &json!({})).len();
        assert_eq!(thread.spawn(run).unwrap().join().unwrap(), 1);
    }
}
