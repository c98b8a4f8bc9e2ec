//! What is on the wire, by name. The files are those of `wire/`; the names are the ones that client libraries know.

mod application;
mod attempt;
mod auth;
mod dead_letter;
mod endpoint;
mod event_type;
mod message;
mod task;

use super::kinds::{
    Field, Kind, any_object, flag, list, map, may, must, nullable, object, refer, text, told, words,
};

/// A schema and its name.
type Named = (&'static str, Kind);

pub(super) fn all() -> Vec<Named> {
    let topics = [
        common(),
        application::schemas(),
        attempt::schemas(),
        auth::schemas(),
        dead_letter::schemas(),
        endpoint::schemas(),
        event_type::schemas(),
        message::schemas(),
        task::schemas(),
    ];
    topics.into_iter().flatten().collect()
}

fn common() -> Vec<Named> {
    vec![
        ("EmptyResponse", any_object()),
        ("Ordering", words(&["ascending", "descending"])),
        (
            "HttpErrorOut",
            object(vec![
                must("code", told(text(), "For programs.")),
                must("detail", told(text(), "For people.")),
            ]),
        ),
        (
            "HTTPValidationError",
            object(vec![must("detail", list(refer("ValidationErrorItem")))]),
        ),
        (
            "ValidationErrorItem",
            object(vec![
                must("loc", told(list(text()), "Where the mistake is.")),
                must("msg", text()),
                must("type", text()),
            ]),
        ),
    ]
}

/// The envelope of a list.
fn page_of(name: &str) -> Kind {
    object(vec![
        must("data", list(refer(name))),
        must(
            "iterator",
            told(nullable(text()), "Asks for the page behind this one."),
        ),
        may(
            "prevIterator",
            told(text(), "Asks for the page before this one."),
        ),
        must("done", told(flag(), "Nothing follows.")),
    ])
}

fn metadata() -> Kind {
    told(map(text()), "At most 4,096 bytes as JSON.")
}

fn fields(groups: impl IntoIterator<Item = Vec<Field>>) -> Kind {
    object(groups.into_iter().flatten().collect())
}
