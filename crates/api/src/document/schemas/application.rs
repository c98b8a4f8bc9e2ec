use postrider_core::AppId;

use super::super::kinds::{
    Kind, between, id, may, must, name, nullable, object, some_text, text, time, told,
};
use super::{Named, metadata, page_of};

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("ApplicationIn", application_in()),
        ("ApplicationPatch", application_patch()),
        ("ApplicationOut", application_out()),
        ("ListResponse_ApplicationOut_", page_of("ApplicationOut")),
    ]
}

/// Messages or requests a second.
pub(super) fn rate() -> Kind {
    told(nullable(between(1, 65_535)), "A second; null: no limit.")
}

fn retention() -> Kind {
    told(
        nullable(between(1, 2_160)),
        "For how many hours payloads are kept of messages that do not say it themselves; null: as long as the installation keeps them.",
    )
}

/// What `throttleRate` is also called.
pub(super) fn rate_alias() -> Kind {
    told(
        nullable(between(1, 65_535)),
        "What `throttleRate` is also called.",
    )
}

fn application_in() -> Kind {
    object(vec![
        must("name", some_text(None)),
        may("uid", nullable(name())),
        may("throttleRate", rate()),
        may("rateLimit", rate_alias()),
        may("payloadRetentionHours", retention()),
        may("metadata", nullable(metadata())),
    ])
}

fn application_patch() -> Kind {
    object(vec![
        may("name", some_text(None)),
        may("uid", nullable(name())),
        may("throttleRate", rate()),
        may("rateLimit", rate_alias()),
        may("payloadRetentionHours", retention()),
        may("metadata", nullable(metadata())),
    ])
}

fn application_out() -> Kind {
    object(vec![
        must("id", id(AppId::PREFIX)),
        must("uid", nullable(name())),
        must("name", text()),
        must("throttleRate", rate()),
        must("rateLimit", rate_alias()),
        may("payloadRetentionHours", retention()),
        must("metadata", metadata()),
        must("createdAt", time()),
        must("updatedAt", time()),
    ])
}
