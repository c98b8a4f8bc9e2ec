//! Holds answers against the document: their status has to be listed, and their body has to be as its schema says, with no
//! field that the schema does not know.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use jsonschema::Validator;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The document as it is served.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_slice(&postrider_api::document()).unwrap());
    &DOCUMENT
}

/// By the schema's name.
static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let mut schemas = document()["components"]["schemas"].clone();
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = json!(false);
        }
    }
    let names = schemas.as_object().unwrap().keys();
    let validator = |name: &String| {
        let reference = format!("#/components/schemas/{name}");
        let schema = json!({"$ref": reference, "components": {"schemas": schemas}});
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        (name.clone(), validator)
    };
    names.map(validator).collect()
});

/// What is documented for a request.
pub(crate) struct Asked {
    told: String,
    /// `None` where there is no such address, or no such method.
    operation: Option<&'static Value>,
}

impl Asked {
    pub(crate) fn of(method: &Method, uri: &str) -> Self {
        let path = uri.split('?').next().unwrap_or_default();
        let method = method.as_str().to_lowercase();
        let item = find(path.trim_end_matches('/'));
        let operation = item.and_then(|item| match method.as_str() {
            // The router answers a HEAD wherever there is a GET.
            "head" => item.get("head").or_else(|| item.get("get")),
            _ => item.get(&method),
        });
        Self {
            told: format!("{method} {path}"),
            operation,
        }
    }

    /// Fails where this answer is not documented. An answer of 500 never is: it is a mistake of ours, which some tests provoke.
    #[track_caller]
    pub(crate) fn may_be_answered(&self, status: u16, body: &[u8]) {
        let told = &self.told;
        let Some(operation) = self.operation else {
            assert!((400..500).contains(&status), "{told}: {status}");
            return;
        };
        if status == 500 {
            return;
        }
        let response = &operation["responses"][status.to_string()];
        let response = match response["$ref"].as_str() {
            Some(reference) => document().pointer(&reference[1..]).unwrap(),
            None => response,
        };
        assert!(response.is_object(), "{told}: {status} is not documented");
        let schema = &response["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next())
        else {
            let is_json = serde_json::from_slice::<Value>(body).is_ok();
            assert!(!is_json, "{told}: {status} has an undocumented body");
            return;
        };
        if body.is_empty() && told.starts_with("head") {
            return;
        }
        let read = serde_json::from_slice::<Value>(body);
        let Ok(body) = read else {
            // Payloads come back to the byte, with numbers that are larger than any that can be read here.
            let read = serde_json::from_slice::<IgnoredAny>(body);
            assert!(read.is_ok(), "{told}: {status}: {read:?}");
            return;
        };
        let errors = VALIDATORS[name].iter_errors(&body);
        let errors: Vec<String> = errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{told}: {status}: {errors:?}");
    }
}

/// What is at a path: written out, if there is that, else with parameters.
fn find(path: &str) -> Option<&'static Value> {
    let paths = document()["paths"].as_object().unwrap();
    let literal = paths.get(path);
    literal.or_else(|| {
        let mut templates = paths.iter();
        let found = templates.find(|(template, _)| matches(template, path));
        found.map(|(_, item)| item)
    })
}

fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}
