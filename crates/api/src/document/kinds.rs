//! The words in which schemas are written.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

/// What a value may be.
pub(super) type Kind = RefOr<Schema>;

/// Uids, and names of event types.
const NAME: &str = r"^[a-zA-Z0-9\-_.]+$";
const LONGEST_NAME: usize = 256;
const LONGEST_CHANNEL: usize = 128;

/// A field of an object.
pub(super) struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
}

/// A field that is always there.
pub(super) fn must(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        required: true,
        kind,
    }
}

/// A field that may be absent.
pub(super) fn may(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        required: false,
        kind,
    }
}

fn plain(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

pub(super) fn text() -> Kind {
    plain(Type::String).into()
}

pub(super) fn some_text(longest: Option<usize>) -> Kind {
    let text = plain(Type::String).min_length(Some(1));
    text.max_length(longest).into()
}

/// Text of this pattern.
pub(super) fn pattern(pattern: impl Into<String>) -> Kind {
    plain(Type::String).pattern(Some(pattern)).into()
}

fn short(longest: usize) -> Kind {
    let name = plain(Type::String).pattern(Some(NAME));
    name.min_length(Some(1)).max_length(Some(longest)).into()
}

/// A uid, or the name of an event type.
pub(super) fn name() -> Kind {
    short(LONGEST_NAME)
}

pub(super) fn channel() -> Kind {
    short(LONGEST_CHANNEL)
}

/// One of our identifiers.
pub(super) fn id(prefix: &str) -> Kind {
    pattern(format!("^{prefix}[0-9A-Za-z]{{27}}$"))
}

pub(super) fn time() -> Kind {
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    plain(Type::String).format(Some(format)).into()
}

pub(super) fn url() -> Kind {
    let format = SchemaFormat::Custom("uri".to_owned());
    plain(Type::String).format(Some(format)).into()
}

pub(super) fn flag() -> Kind {
    plain(Type::Boolean).into()
}

/// A flag with what its absence means.
pub(super) fn flag_or(default: bool) -> Kind {
    plain(Type::Boolean).default(Some(default.into())).into()
}

pub(super) fn count() -> Kind {
    plain(Type::Integer).minimum(Some(0)).into()
}

pub(super) fn between(least: i32, most: i32) -> Kind {
    let number = plain(Type::Integer).minimum(Some(least));
    number.maximum(Some(most)).into()
}

/// One of these words.
pub(super) fn words(words: &[&str]) -> Kind {
    plain(Type::String).enum_values(Some(words.to_vec())).into()
}

/// One of these numbers.
pub(super) fn numbers(numbers: &[i32]) -> Kind {
    plain(Type::Integer)
        .enum_values(Some(numbers.to_vec()))
        .into()
}

pub(super) fn list(of: Kind) -> Kind {
    ArrayBuilder::new().items(of).into()
}

/// A list in which each counts once.
pub(super) fn set(of: Kind, least: Option<usize>, most: Option<usize>) -> Kind {
    let list = ArrayBuilder::new().items(of).min_items(least);
    list.max_items(most).into()
}

/// An object, whatever is in it.
pub(super) fn any_object() -> Kind {
    plain(Type::Object).into()
}

/// An object whose values are all of one kind.
pub(super) fn map(of: Kind) -> Kind {
    let values = Some(AdditionalProperties::RefOr(of));
    plain(Type::Object).additional_properties(values).into()
}

/// What stands under this name in the document.
pub(super) fn refer(name: &str) -> Kind {
    Ref::from_schema_name(name).into()
}

/// The same, or `null`.
pub(super) fn nullable(kind: Kind) -> Kind {
    match kind {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = or_null(object.schema_type);
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut list)) => {
            list.schema_type = or_null(list.schema_type);
            RefOr::T(Schema::Array(list))
        }
        other => OneOfBuilder::new()
            .item(plain(Type::Null))
            .item(other)
            .into(),
    }
}

fn or_null(kind: SchemaType) -> SchemaType {
    match kind {
        SchemaType::Type(kind) => [kind, Type::Null].into_iter().collect(),
        other => other,
    }
}

/// The same, with a sentence about it.
pub(super) fn told(kind: Kind, about: &str) -> Kind {
    let about = Some(about.to_owned());
    match kind {
        RefOr::T(Schema::Object(mut object)) => {
            object.description = about;
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut list)) => {
            list.description = about;
            RefOr::T(Schema::Array(list))
        }
        RefOr::T(Schema::OneOf(mut either)) => {
            either.description = about;
            RefOr::T(Schema::OneOf(either))
        }
        other => other,
    }
}

/// The same, with what its absence means.
pub(super) fn or(kind: Kind, default: impl Into<Value>) -> Kind {
    match kind {
        RefOr::T(Schema::Object(mut object)) => {
            object.default = Some(default.into());
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

pub(super) fn object(fields: Vec<Field>) -> Kind {
    let all = fields.into_iter();
    all.fold(plain(Type::Object), |object, field| {
        let object = object.property(field.name, field.kind);
        if field.required {
            object.required(field.name)
        } else {
            object
        }
    })
    .into()
}
