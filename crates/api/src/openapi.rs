//! Event types from an OpenAPI document: its webhooks, by name, with the schemas of their bodies.
//!
//! <https://spec.openapis.org/oas/v3.1.0#oas-webhooks>; documents of version 3.0 put them under `x-webhooks`. A schema that
//! refers to others of the document brings those along (`$defs`), so that it can be read by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use postrider_core::EventTypeName;
use serde_json::{Map, Value};

use crate::error::{ApiError, kind};
use crate::validate;

/// Webhooks that one document may have.
const MAX_WEBHOOKS: usize = 1_000;
/// Bytes of one schema with all that it refers to.
const MAX_SCHEMA: usize = 64 * 1024;
const COMPONENTS: &str = "#/components/";
const SCHEMAS: &str = "#/components/schemas/";

/// An event type as a document describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(crate) description: String,
    pub(crate) deprecated: bool,
    pub(crate) schema: Option<Value>,
    pub(crate) group_name: Option<String>,
    pub(crate) feature_flags: Vec<String>,
}

fn wrong(place: &[&str], message: &str) -> ApiError {
    let place: Vec<&str> = ["body", "spec"].iter().chain(place).copied().collect();
    ApiError::invalid(&place, kind::VALUE, message)
}

/// The event types of a document, whose schemas take up to `room` bytes together: what is small in the document, and referred
/// to many times, is not small here.
pub(crate) fn event_types(
    spec: &Value,
    mut room: usize,
) -> Result<BTreeMap<EventTypeName, Described>, ApiError> {
    let webhooks = spec.get("webhooks").or_else(|| spec.get("x-webhooks"));
    let webhooks = webhooks.and_then(Value::as_object);
    let webhooks = webhooks.ok_or_else(|| wrong(&["webhooks"], "must be an object"))?;
    if webhooks.len() > MAX_WEBHOOKS {
        let problem = format!("must be at most {MAX_WEBHOOKS}");
        return Err(wrong(&["webhooks"], &problem));
    }
    let mut found = BTreeMap::new();
    for (name, item) in webhooks {
        let place = ["webhooks", name.as_str()];
        let event_type = validate::event_type(name).map_err(|problem| wrong(&place, &problem))?;
        let item = resolved(spec, item);
        let operation = item.get("post").or_else(|| item.get("put"));
        let operation = operation.ok_or_else(|| wrong(&place, "has no operation `post`"))?;
        found.insert(
            event_type,
            described(spec, item, operation, &place, &mut room)?,
        );
    }
    Ok(found)
}

/// What a reference to one of the document's components stands for, one step far.
fn resolved<'a>(spec: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value.get("$ref").and_then(Value::as_str);
    let pointer = reference.filter(|reference| reference.starts_with(COMPONENTS));
    pointer
        .and_then(|pointer| pointer.strip_prefix('#'))
        .and_then(|pointer| spec.pointer(pointer))
        .unwrap_or(value)
}

fn described(
    spec: &Value,
    item: &Value,
    operation: &Value,
    place: &[&str],
    room: &mut usize,
) -> Result<Described, ApiError> {
    let text = |name: &str| {
        let own = operation.get(name).or_else(|| item.get(name));
        own.and_then(Value::as_str)
    };
    let body = operation
        .get("requestBody")
        .map(|body| resolved(spec, body));
    let schema = body
        .and_then(|body| body.pointer("/content/application~1json/schema"))
        .map(|schema| bundled(spec, schema, room));
    let schema = schema
        .transpose()
        .map_err(|problem| wrong(place, &problem))?;
    let group_name = text("x-svix-group-name").map(validate::feature_flag);
    let flags = operation
        .get("x-svix-feature-flags")
        .and_then(Value::as_array);
    let flags = flags.into_iter().flatten().filter_map(Value::as_str);
    let flags: Result<Vec<String>, String> = flags.map(validate::feature_flag).collect();
    let description = text("description").or_else(|| text("summary"));
    Ok(Described {
        description: description.unwrap_or_default().to_owned(),
        deprecated: operation.get("deprecated") == Some(&Value::Bool(true)),
        schema,
        group_name: group_name
            .transpose()
            .map_err(|problem| wrong(place, &problem))?,
        feature_flags: flags.map_err(|problem| wrong(place, &problem))?,
    })
}

/// A schema with all that it refers to within the document, however far; what leads back to itself stays a reference. Nothing
/// is copied before there is room for it.
fn bundled(spec: &Value, schema: &Value, room: &mut usize) -> Result<Value, String> {
    let mut own = MAX_SCHEMA.min(*room);
    let before = own;
    // One that only refers to another is that other one.
    let mut schema = copied(resolved(spec, schema), &mut own)?;
    let mut wanted = BTreeSet::new();
    redirect(&mut schema, &mut wanted);
    let mut brought: Map<String, Value> = Map::new();
    while let Some(name) = wanted.pop_first() {
        if brought.contains_key(&name) {
            continue;
        }
        let found = spec.pointer(&format!("/components/schemas/{name}"));
        let Some(found) = found else { continue };
        let mut found = copied(found, &mut own)?;
        redirect(&mut found, &mut wanted);
        brought.insert(name, found);
    }
    if let (Value::Object(fields), false) = (&mut schema, brought.is_empty()) {
        let definitions = fields
            .entry("$defs")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(definitions) = definitions {
            definitions.extend(brought);
        }
    }
    *room -= before - own;
    Ok(schema)
}

fn copied(value: &Value, room: &mut usize) -> Result<Value, String> {
    let mut rest = Rest(*room);
    serde_json::to_writer(&mut rest, value).map_err(|_| {
        format!(
            "a schema with all that it refers to may have at most {MAX_SCHEMA} bytes, and all \
             together not more than a body"
        )
    })?;
    *room = rest.0;
    Ok(value.clone())
}

/// Counts what is written, as long as there is room.
struct Rest(usize);

impl Write for Rest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.0.checked_sub(bytes.len());
        self.0 = rest.ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets references to the document's schemas lead to `$defs`, and notes which they are.
fn redirect(value: &mut Value, wanted: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(SCHEMAS)
            {
                wanted.insert(name.to_owned());
                *reference = format!("#/$defs/{name}");
            }
            fields
                .values_mut()
                .for_each(|value| redirect(value, wanted));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redirect(value, wanted)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Value {
        json!({
            "openapi": "3.1.0",
            "webhooks": {
                "order.paid": {"post": {
                    "description": "Money has come in", "deprecated": true,
                    "x-svix-group-name": "order", "x-svix-feature-flags": ["beta"],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                }},
                "order.lost": {"$ref": "#/components/pathItems/lost"},
            },
            "components": {
                "pathItems": {"lost": {"post": {"summary": "It is gone"}}},
                "schemas": {
                    "Order": {"type": "object", "properties": {
                        "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
                    }},
                    "Line": {"type": "object", "properties": {"of": {"$ref": "#/components/schemas/Order"}}},
                },
            },
        })
    }

    #[test]
    fn webhooks_become_event_types_with_schemas_that_stand_alone() {
        let types = event_types(&spec(), 100_000).unwrap();
        let name = |text| EventTypeName::new(text).unwrap();
        let paid = &types[&name("order.paid")];
        assert_eq!(paid.description, "Money has come in");
        assert!(paid.deprecated);
        assert_eq!(paid.group_name.as_deref(), Some("order"));
        assert_eq!(paid.feature_flags, ["beta"]);
        let schema = paid.schema.as_ref().unwrap();
        let lines = &schema["properties"]["lines"]["items"]["$ref"];
        assert_eq!(lines, "#/$defs/Line");
        assert_eq!(
            schema["$defs"]["Line"]["properties"]["of"]["$ref"],
            "#/$defs/Order"
        );
        assert_eq!(schema["$defs"]["Order"]["type"], "object");
        let lost = &types[&name("order.lost")];
        assert_eq!(
            (lost.description.as_str(), &lost.schema),
            ("It is gone", &None)
        );
    }

    #[test]
    fn what_is_small_in_the_document_and_large_in_its_event_types_is_refused() {
        let large = json!({"description": "x".repeat(40_000)});
        let refer = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let webhook = |schema: Value| json!({"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}});
        let spec = |webhooks: Value| json!({"webhooks": webhooks, "components": {"schemas": {"A": large, "B": large}}});
        let one = spec(json!({"a": webhook(refer("A")), "b": webhook(refer("B"))}));
        assert!(event_types(&one, 100_000).is_ok());
        assert!(event_types(&one, 79_000).is_err(), "all together");
        let both = spec(json!({"a": webhook(json!({"anyOf": [refer("A"), refer("B")]}))}));
        assert!(event_types(&both, 100_000).is_err(), "one alone");
    }

    #[test]
    fn references_lead_to_components_alone() {
        let spec = json!({"webhooks": {"a": {"$ref": "#/webhooks/a"}}});
        assert!(event_types(&spec, 1_000).is_err());
        let own = json!({"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": "#/info"}}}}}});
        let spec = json!({"info": {"title": "secret"}, "webhooks": {"a": own}});
        let types = event_types(&spec, 1_000).unwrap();
        let schema = types.values().next().and_then(|kind| kind.schema.clone());
        assert_eq!(schema, Some(json!({"$ref": "#/info"})));
    }

    #[test]
    fn what_is_no_document_is_told() {
        for (spec, place) in [
            (json!({}), "body.spec.webhooks"),
            (json!({"webhooks": []}), "body.spec.webhooks"),
            (
                json!({"webhooks": {"a b": {"post": {}}}}),
                "body.spec.webhooks.a b",
            ),
            (
                json!({"webhooks": {"a": {"get": {}}}}),
                "body.spec.webhooks.a",
            ),
        ] {
            let Err(ApiError::Invalid(field)) = event_types(&spec, 100_000) else {
                panic!("{spec}");
            };
            assert_eq!(field.loc.join("."), place);
        }
    }
}
