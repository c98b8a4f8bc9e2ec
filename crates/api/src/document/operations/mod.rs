//! Every operation of the API. The files are those of `routes/`, by topic.

mod applications;
mod attempts;
mod auth;
mod dead_letters;
mod endpoints;
mod event_types;
mod messages;
mod operational;
mod service;
mod tasks;

use super::operation::Op;

/// The topics, in the order in which they are shown.
pub(super) const TAGS: [(&str, &str); 10] = [
    (
        "Applications",
        "Whose events they are: one for each of your customers.",
    ),
    ("Endpoints", "Where an application's events go."),
    ("Event types", "What can happen."),
    ("Messages", "What has happened."),
    ("Attempts", "How deliveries went."),
    ("Dead letters", "Deliveries that were given up."),
    (
        "Background tasks",
        "What goes on after its request was answered.",
    ),
    ("Authentication", "Tokens and keys."),
    (
        "Operational webhooks",
        "Where you are told about your applications.",
    ),
    ("Service", "The service itself."),
];

pub(super) fn all() -> Vec<Op> {
    let topics = [
        ("Applications", applications::operations()),
        ("Endpoints", endpoints::operations()),
        ("Event types", event_types::operations()),
        ("Messages", messages::operations()),
        ("Attempts", attempts::operations()),
        ("Dead letters", dead_letters::operations()),
        ("Background tasks", tasks::operations()),
        ("Authentication", auth::operations()),
        ("Operational webhooks", operational::operations()),
        ("Service", service::operations()),
    ];
    topics
        .into_iter()
        .flat_map(|(tag, operations)| operations.into_iter().map(move |op| op.tagged(tag)))
        .collect()
}
