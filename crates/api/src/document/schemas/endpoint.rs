use postrider_core::EndpointId;

use super::super::kinds::{
    Field, Kind, between, channel, count, flag, flag_or, id, list, map, may, must, name, nullable,
    numbers, object, or, pattern, set, text, time, told, url,
};
use super::application::{rate, rate_alias};
use super::{Named, fields, metadata, page_of};

const MAX_CHANNELS: usize = 10;
/// Seconds.
const WEEK: i32 = 7 * 24 * 3600;

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("EndpointIn", fields([settings(), of_creation()])),
        ("EndpointUpdate", object(settings())),
        ("EndpointPatch", endpoint_patch()),
        ("EndpointOut", object(shown())),
        ("ListResponse_EndpointOut_", page_of("EndpointOut")),
        ("EndpointHeadersIn", headers_in()),
        ("EndpointHeadersPatchIn", headers_patch()),
        ("EndpointHeadersOut", headers_out()),
        ("EndpointSecretOut", secret_out()),
        ("EndpointSecretRotateIn", rotate_in()),
        ("EndpointStats", stats()),
    ]
}

fn event_types() -> Kind {
    told(nullable(list(name())), "Must exist. Null or empty: all.")
}

fn event_types_alias() -> Kind {
    let about = "What `eventTypes` is also called.";
    told(nullable(list(name())), about)
}

fn settings() -> Vec<Field> {
    let channels = set(channel(), Some(1), Some(MAX_CHANNELS));
    vec![
        must("url", url()),
        may("uid", nullable(name())),
        may("description", or(nullable(text()), "")),
        may("eventTypes", event_types()),
        may("filterTypes", event_types_alias()),
        may("channels", nullable(channels)),
        may("disabled", nullable(flag_or(false))),
        may("throttleRate", rate()),
        may("rateLimit", rate_alias()),
        may("metadata", nullable(metadata())),
    ]
}

/// What has addresses of its own once the endpoint is there.
fn of_creation() -> Vec<Field> {
    vec![
        may("headers", nullable(map(text()))),
        may("secret", nullable(secret())),
    ]
}

fn endpoint_patch() -> Kind {
    object(vec![
        may("url", url()),
        may("uid", nullable(name())),
        may("description", text()),
        may("eventTypes", event_types()),
        may("filterTypes", event_types_alias()),
        may(
            "channels",
            nullable(set(channel(), None, Some(MAX_CHANNELS))),
        ),
        may("disabled", flag()),
        may("throttleRate", rate()),
        may("rateLimit", rate_alias()),
        may("metadata", nullable(metadata())),
    ])
}

/// An endpoint as it is shown.
pub(super) fn shown() -> Vec<Field> {
    vec![
        must("id", id(EndpointId::PREFIX)),
        must("uid", nullable(name())),
        must("url", url()),
        must("description", text()),
        must("eventTypes", event_types()),
        must("filterTypes", event_types_alias()),
        must("channels", nullable(list(channel()))),
        must("disabled", flag()),
        must("throttleRate", rate()),
        must("rateLimit", rate_alias()),
        must("metadata", metadata()),
        must("createdAt", time()),
        must("updatedAt", time()),
        must("version", told(numbers(&[1]), "Means nothing.")),
    ]
}

fn headers_in() -> Kind {
    object(vec![must("headers", map(text()))])
}

fn headers_patch() -> Kind {
    object(vec![
        must(
            "headers",
            told(map(nullable(text())), "Null takes a header away."),
        ),
        may("deleteHeaders", nullable(list(text()))),
    ])
}

fn headers_out() -> Kind {
    object(vec![
        must("headers", map(text())),
        must(
            "sensitive",
            told(list(text()), "Names of those whose values are not shown."),
        ),
    ])
}

fn secret() -> Kind {
    let about =
        "`whsec_` (or nothing) and base64 of 24 to 75 bytes, or `whsk_` and an ed25519 key.";
    told(text(), about)
}

fn secret_out() -> Kind {
    let key = pattern("^(whsec_|whpk_)[a-zA-Z0-9+/=]{32,100}$");
    object(vec![must("key", key)])
}

fn rotate_in() -> Kind {
    let grace = or(nullable(between(0, WEEK)), 86_400);
    object(vec![
        may("key", nullable(secret())),
        may(
            "gracePeriodSeconds",
            told(grace, "How long the old key goes on signing."),
        ),
    ])
}

fn stats() -> Kind {
    object(vec![
        must("success", count()),
        must("pending", count()),
        must("fail", count()),
        must("sending", count()),
        must("canceled", count()),
    ])
}
