//! The API as an OpenAPI document, and as a page that shows it.
//!
//! Requests are read field by field and answers are printed from borrowed values, so there are no types from which schemas
//! could be derived. Instead `operations/` lists every operation and `schemas/` what is on the wire, and tests hold both to
//! what the server does: each route has to be listed, whatever the API's tests are answered has to fit, and
//! each field that is listed has to be read.

mod errors;
mod kinds;
mod operation;
mod operations;
mod page;
mod schemas;

use std::sync::LazyLock;

use bytes::Bytes;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
};

use operation::{BEARER, Op};

/// The document as JSON, made when it is first asked for.
pub(crate) static JSON: LazyLock<Bytes> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text.into()
});

/// The page, and the policy that it is to be shown under.
pub(crate) static PAGE: LazyLock<page::Page> = LazyLock::new(|| page::Page::of(&document()));

fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Postrider")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Webhooks, delivered. A slash at the end of a path changes nothing, and unknown fields are ignored.",
        ))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ));
    let all = operations::all();
    let paths = all.iter().fold(PathsBuilder::new(), |paths, operation| {
        paths.path(operation.path, item(operation))
    });
    let tags = operations::TAGS.iter().map(|(name, about)| {
        let tag = TagBuilder::new().name(*name);
        tag.description(Some(*about)).build()
    });
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components()))
        .tags(Some(tags))
        .build()
}

/// An operation's part of what is at its path.
fn item(operation: &Op) -> PathItem {
    let methods = operation.methods.iter();
    methods.fold(PathItem::default(), |mut item, method| {
        item.merge_operations(PathItem::new(method.clone(), operation.operation(method)));
        item
    })
}

fn components() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A JSON Web Token, or an API key."))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas::all())
        .responses_from_iter(errors::responses())
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::router;

    #[test]
    fn every_route_is_in_the_document_and_every_path_has_a_route() {
        let routed: BTreeSet<&str> = router::templates().into_iter().collect();
        let listed: BTreeSet<&str> = operations::all().iter().map(|op| op.path).collect();
        assert_eq!(routed, listed);
    }

    #[test]
    fn operations_are_told_apart_by_their_identifiers() {
        let all = operations::all();
        let ids = all.iter().flat_map(|op| {
            let methods = op.methods.iter();
            methods.filter_map(|method| op.operation(method).operation_id)
        });
        let ids: Vec<String> = ids.collect();
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len());
    }

    /// All that a document refers to.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let document: Value = serde_json::from_slice(&JSON).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let mut there = BTreeSet::new();
        for part in ["schemas", "responses"] {
            let names = document["components"][part].as_object().unwrap().keys();
            there.extend(names.map(|name| format!("#/components/{part}/{name}")));
        }
        assert_eq!(found, there.iter().map(String::as_str).collect());
    }
}
