use super::super::kinds::{
    Field, Kind, any_object, flag, flag_or, list, map, may, must, name, nullable, object, refer,
    text, time, told,
};
use super::{Named, fields, page_of};

pub(super) fn schemas() -> Vec<Named> {
    let named = vec![must("name", name())];
    vec![
        ("EventTypeIn", fields([named, settings()])),
        ("EventTypeUpdate", object(settings())),
        ("EventTypePatch", event_type_patch()),
        ("EventTypeOut", event_type_out()),
        ("ListResponse_EventTypeOut_", page_of("EventTypeOut")),
        ("EventTypeImportOpenApiIn", import_in()),
        ("EventTypeImportOpenApiOut", import_out()),
        ("EventTypeImportOpenApiOutData", import_data()),
    ]
}

/// JSON Schemas by version.
fn versions() -> Kind {
    told(nullable(map(any_object())), "JSON Schemas by version.")
}

/// An addition of ours.
fn validates(flag: Kind) -> Kind {
    told(
        nullable(flag),
        "Whether a message of this type is accepted only where its payload is valid by the newest schema.",
    )
}

fn flags() -> Vec<Field> {
    vec![
        may("featureFlags", nullable(list(name()))),
        may("featureFlag", nullable(name())),
        may("groupName", nullable(name())),
    ]
}

fn settings() -> Vec<Field> {
    let mut settings = vec![
        must("description", text()),
        may("archived", nullable(flag_or(false))),
        may("deprecated", nullable(flag_or(false))),
        may("schemas", versions()),
        may("validatePayload", validates(flag_or(false))),
    ];
    settings.extend(flags());
    settings
}

fn event_type_patch() -> Kind {
    let settings = vec![
        may("description", text()),
        may("archived", nullable(flag())),
        may("deprecated", nullable(flag())),
        may("schemas", versions()),
        may("validatePayload", validates(flag())),
    ];
    fields([settings, flags()])
}

fn event_type_out() -> Kind {
    object(vec![
        must("name", name()),
        must("description", text()),
        must("archived", flag()),
        must("deprecated", flag()),
        must("schemas", versions()),
        may(
            "validatePayload",
            told(flag(), "Only where it is switched on."),
        ),
        must("featureFlags", list(name())),
        must("featureFlag", nullable(name())),
        must("groupName", nullable(name())),
        must("createdAt", time()),
        must("updatedAt", time()),
    ])
}

fn import_in() -> Kind {
    object(vec![
        may("spec", told(nullable(any_object()), "The document.")),
        may("specRaw", told(nullable(text()), "The same as JSON text.")),
        may("dryRun", nullable(flag_or(false))),
        may("replaceAll", nullable(flag_or(false))),
    ])
}

fn import_out() -> Kind {
    object(vec![must("data", refer("EventTypeImportOpenApiOutData"))])
}

fn import_data() -> Kind {
    object(vec![
        must("modified", list(name())),
        may("to_modify", list(refer("EventTypeOut"))),
    ])
}
