//! The document that tells programs what the API is: as served, as committed, and against the contract of the client
//! libraries. That answers are as it says is checked in `support`, with every test.

use std::path::Path;
use std::sync::LazyLock;

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::documented::document;
use crate::support::{Server, message};

/// What the client libraries know: parameters and bodies by operation, fields by schema. A `?` is for what may be null,
/// brackets for lists, braces for maps.
static CONTRACT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/wire-contract.json")).unwrap());

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.as_str(), value))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What a reference leads to.
fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => document()
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap(),
        None => value,
    }
}

/// A schema in the contract's words; what it cannot say (lengths and so on) is left out.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(either) = schema["oneOf"].as_array() {
        assert_eq!(either[0]["type"], "null", "{schema}");
        return format!("{}?", kind(&either[1]));
    }
    let (word, nullable) = match &schema["type"] {
        Value::String(word) => (word.as_str(), ""),
        Value::Array(words) => {
            assert_eq!(words[1], "null", "{schema}");
            (words[0].as_str().unwrap(), "?")
        }
        other => panic!("{other}: {schema}"),
    };
    let of = match word {
        "array" => format!("[{}]", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("{{{}}}", kind(&schema["additionalProperties"]))
        }
        _ => word.to_owned(),
    };
    let format = schema["format"].as_str().map(|format| format!(":{format}"));
    format!("{of}{}{nullable}", format.unwrap_or_default())
}

/// The operation as the contract names it.
fn operation(name: &str) -> &'static Value {
    let (method, path) = name.split_once(' ').unwrap();
    let found = &document()["paths"][path][method.to_lowercase()];
    assert!(found.is_object(), "{name}");
    found
}

fn schema_of(content: &Value) -> Option<String> {
    let schema = &content["content"]["application/json"]["schema"];
    schema.is_object().then(|| kind(schema))
}

#[test]
fn knows_every_operation_of_the_contract() {
    let mut seen = 0;
    for (name, wanted) in entries(&CONTRACT["operations"]) {
        let found = operation(name);
        for place in ["path", "query", "header"] {
            for (parameter, wanted) in entries(&wanted[place]) {
                let mut parameters = items(&found["parameters"]);
                let parameter = parameters
                    .find(|found| found["name"] == parameter && found["in"] == place)
                    .unwrap_or_else(|| panic!("{name}: {parameter}"));
                // There is no null in a query: an empty value stands for it.
                let wanted = wanted.as_str().unwrap().trim_end_matches('?');
                let kind = kind(&parameter["schema"]);
                assert_eq!(kind, wanted, "{name}: {parameter}");
            }
        }
        let body = schema_of(&found["requestBody"]);
        assert_eq!(body.as_deref(), wanted["body"].as_str(), "{name}");
        for (status, wanted) in entries(&wanted["answers"]) {
            // It asks for no token and looks at nothing, so it has none of the errors that all others share.
            if name.contains("/health") && status != "204" {
                continue;
            }
            let response = resolved(&found["responses"][status]);
            assert!(response.is_object(), "{name}: {status}");
            assert_eq!(
                schema_of(response).as_deref(),
                wanted.as_str(),
                "{name}: {status}"
            );
        }
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
}

/// Whether a value of the one kind is always one of the other.
fn fits(narrow: &str, wide: &str) -> bool {
    let bare = |text: &str| text.replace('?', "");
    // Texts of a format are texts.
    let (from, to) = (bare(narrow), bare(wide));
    let same = from == to || from.split(':').next() == Some(to.as_str());
    same && (wide.ends_with('?') || !narrow.ends_with('?'))
}

#[test]
fn knows_every_schema_of_the_contract() {
    let mut seen = 0;
    for (name, wanted) in entries(&CONTRACT["schemas"]) {
        let found = &document()["components"]["schemas"][name];
        assert!(found.is_object(), "{name}");
        for value in items(&wanted["enum"]) {
            assert!(
                items(&found["enum"]).any(|own| own == value),
                "{name}: {value}"
            );
        }
        let is_request = ["In", "Update", "Patch"]
            .iter()
            .any(|end| name.ends_with(end));
        let required = |schema: &Value, field: &str| items(&schema["required"]).any(|f| f == field);
        for (field, wanted_kind) in entries(&wanted["properties"]) {
            let place = format!("{name}.{field}");
            let own = &found["properties"][field];
            assert!(own.is_object(), "{place}");
            let (own_kind, wanted_kind) = (kind(own), wanted_kind.as_str().unwrap());
            if is_request {
                // What clients send is taken.
                assert!(
                    fits(wanted_kind, &own_kind),
                    "{place}: {wanted_kind}, {own_kind}"
                );
                assert_eq!(required(found, field), required(wanted, field), "{place}");
            } else {
                // What clients need is there, and they can read it.
                assert!(
                    fits(&own_kind, wanted_kind),
                    "{place}: {own_kind}, {wanted_kind}"
                );
                assert!(
                    required(found, field) || !required(wanted, field),
                    "{place}"
                );
            }
        }
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn the_committed_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let mut made = serde_json::to_string_pretty(document()).unwrap();
    made.push('\n');
    if std::env::var_os("POSTRIDER_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/openapi.json differs from what is served; \
                POSTRIDER_UPDATE_DOCS=1 cargo test -p postrider-api --test routes writes it anew";
    assert!(committed == made, "{hint}");
}

#[tokio::test]
async fn is_there_for_everybody_and_may_be_kept() {
    let anybody = Server::start().client(None);
    let json = anybody.get("/api/v1/openapi.json").await;
    assert_eq!(json.is(200)["openapi"], "3.1.0");
    let page = anybody.get("/api/v1/docs").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    for reply in [&json, &page] {
        assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
    }
}

/// The path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn lists_exactly_the_methods_that_each_path_knows() {
    let anybody = Server::start().client(None);
    for (path, item) in entries(&document()["paths"]) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let asked = Method::from_bytes(method.as_bytes()).unwrap();
            let reply = anybody.send(asked, &filled(path), &[], Body::empty()).await;
            let listed = item[method.to_lowercase()].is_object();
            assert_eq!(reply.status != 405, listed, "{method} {path}");
        }
    }
}

/// A body that would be taken, if it were not for one field.
fn filled_body(name: &str) -> Value {
    match name {
        "MessageIn" => message(),
        "EndpointIn" | "EndpointUpdate" => json!({"url": "https://hooks.example.org/in"}),
        "EventTypeIn" => json!({"name": "order.lost", "description": ""}),
        "EventTypeUpdate" => json!({"description": ""}),
        "ApplicationIn" | "ApiKeyIn" => json!({"name": "x"}),
        "EventExampleIn" => json!({"eventType": "svix.ping"}),
        "EndpointHeadersIn" | "EndpointHeadersPatchIn" => json!({"headers": {}}),
        "MessagePrecheckIn" => json!({"eventType": "order.paid"}),
        "RecoverIn" => json!({"since": "2023-11-14T00:00:00Z"}),
        "AppUsageStatsIn" => {
            json!({"since": "2023-11-14T00:00:00Z", "until": "2023-11-14T01:00:00Z"})
        }
        "EventTypeImportOpenApiIn" => json!({"spec": {"webhooks": {}}}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_field_that_is_listed_is_read() {
    let server = Server::start();
    let (operator, app) = (server.operator(), server.app("acme").await);
    let endpoint = server.endpoint(&app).await;
    let mut seen = 0;
    for (path, item) in entries(&document()["paths"]) {
        let at = path
            .replace("{app_id}", &app)
            .replace("{event_type_name}", "order.paid");
        let at = match path.contains("operational-webhook") {
            true => at.replace("{endpoint_id}", "their"),
            false => at.replace("{endpoint_id}", &endpoint),
        };
        for (method, operation) in entries(item) {
            let Some(name) = schema_of(&operation["requestBody"]) else {
                continue;
            };
            let schema = &document()["components"]["schemas"][&name];
            for (field, _) in entries(&schema["properties"]) {
                let mut body = filled_body(&name);
                // An alias counts where the proper name is absent.
                let proper = match field {
                    "data" => "payload",
                    "specRaw" => "spec",
                    _ => "",
                };
                body.as_object_mut().unwrap().remove(proper);
                // No field is a list of numbers.
                body[field] = json!([0]);
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let reply = operator.send(method, &at, &[], body.to_string().into());
                let reply = reply.await;
                // In a batch each message has a result of its own.
                if name == "MessageBatchIn" {
                    assert_eq!(reply.is(202)["refused"], 1);
                    continue;
                }
                let blamed = reply.blames();
                assert!(
                    blamed.starts_with(&format!("body.{field}")),
                    "{name}: {blamed}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 80, "{seen}");
}
