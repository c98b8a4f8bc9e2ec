//! A page that shows the document: made here, without scripts and without anything from elsewhere.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

const STYLE: &str = include_str!("page.css");
/// In the order in which they are shown.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) html: Bytes,
    /// The page's own style sheet, and nothing else.
    pub(crate) policy: HeaderValue,
}

impl Page {
    pub(super) fn of(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let mut html = String::new();
        // Writing to a string does not fail.
        let _ = write_page(&mut html, &document);
        Self {
            html: html.into(),
            policy: policy(),
        }
    }
}

fn policy() -> HeaderValue {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Text as it may stand between tags and within quotation marks.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn write_page(out: &mut String, document: &Value) -> std::fmt::Result {
    let title = escaped(text(&document["info"], "title"));
    write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title} API</title><style>{STYLE}</style><h1>{title} API</h1>\
         <p>{} The same for programs: <a href=\"/api/v1/openapi.json\">openapi.json</a>.</p><nav>",
        escaped(text(&document["info"], "description")),
    )?;
    for tag in items(&document["tags"]) {
        let name = escaped(text(tag, "name"));
        write!(out, "<a href=\"#{}\">{name}</a>", anchor(&name))?;
    }
    write!(out, "<a href=\"#schemas\">Schemas</a></nav>")?;
    for tag in items(&document["tags"]) {
        write_topic(out, document, tag)?;
    }
    write!(out, "<h2 id=\"schemas\">Schemas</h2>")?;
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let name = escaped(name);
        let schema = escaped(&serde_json::to_string_pretty(schema).unwrap_or_default());
        write!(
            out,
            "<details id=\"{name}\"><summary>{name}</summary><pre>{schema}</pre></details>"
        )?;
    }
    Ok(())
}

fn anchor(tag: &str) -> String {
    tag.to_lowercase().replace(' ', "-")
}

fn write_topic(out: &mut String, document: &Value, tag: &Value) -> std::fmt::Result {
    let name = text(tag, "name");
    write!(
        out,
        "<h2 id=\"{}\">{}</h2><p>{}</p>",
        anchor(name),
        escaped(name),
        escaped(text(tag, "description"))
    )?;
    for (path, item) in entries(&document["paths"]) {
        for method in METHODS {
            let operation = &item[method];
            if items(&operation["tags"]).any(|tag| tag == name) {
                write_operation(out, method, path, operation)?;
            }
        }
    }
    Ok(())
}

fn write_operation(
    out: &mut String,
    method: &str,
    path: &str,
    operation: &Value,
) -> std::fmt::Result {
    write!(
        out,
        "<details id=\"{}\"><summary><b>{}</b>{} <span>{}</span></summary><p>{}</p><table>",
        escaped(text(operation, "operationId")),
        method.to_uppercase(),
        escaped(path),
        escaped(text(operation, "summary")),
        escaped(text(operation, "description")),
    )?;
    for parameter in items(&operation["parameters"]) {
        let place = escaped(text(parameter, "in"));
        let kind = kind(&parameter["schema"]);
        let name = escaped(text(parameter, "name"));
        write!(out, "<tr><td>{place}<td><code>{name}</code><td>{kind}</tr>")?;
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        write!(out, "<tr><td>body<td><td>{}</tr>", kind(body))?;
    }
    for (status, response) in entries(&operation["responses"]) {
        let body = &response["content"]["application/json"]["schema"];
        let kind = if body.is_null() {
            kind(response)
        } else {
            kind(body)
        };
        write!(out, "<tr><td>answer<td>{status}<td>{kind}</tr>")?;
    }
    write!(out, "</table></details>")
}

/// A schema in a few words, or where to find it.
fn kind(schema: &Value) -> String {
    let reference = text(schema, "$ref");
    let name = escaped(reference.rsplit('/').next().unwrap_or_default());
    if reference.starts_with("#/components/schemas/") {
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if !name.is_empty() {
        return name;
    }
    let told = escaped(text(schema, "description"));
    match &schema["type"] {
        Value::Null => told,
        kind => format!("{} {told}", escaped(&kind.to_string().replace('"', ""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let page = Page::of(&super::super::document());
        String::from_utf8(page.html.to_vec()).unwrap()
    }

    #[test]
    fn shows_every_operation_and_every_schema_once() {
        let html = page();
        let document: Value = serde_json::from_slice(&super::super::JSON).unwrap();
        let mut ids = Vec::new();
        for (_, item) in entries(&document["paths"]) {
            let operations = METHODS.iter().filter_map(|method| item.get(method));
            ids.extend(operations.map(|operation| text(operation, "operationId")));
        }
        let schemas = entries(&document["components"]["schemas"]);
        ids.extend(schemas.map(|(name, _)| name.as_str()));
        assert!(ids.len() > 100, "{}", ids.len());
        for id in ids {
            let place = format!("<details id=\"{id}\">");
            assert_eq!(html.matches(&place).count(), 1, "{id}");
        }
    }

    #[test]
    fn needs_nothing_from_elsewhere() {
        let html = page();
        for foreign in [
            "<script", "http://", "https://", "@import", "url(", " style=", "<img",
        ] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        let policy = policy();
        assert!(policy.to_str().unwrap().contains("style-src 'sha256-"));
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escaped("<a href=\"&\">"),
            "&lt;a href=&quot;&amp;&quot;&gt;"
        );
    }
}
