use postrider_core::{ApiKeyId, AppId};

use super::super::kinds::{
    Kind, between, flag, flag_or, id, list, may, must, name, nullable, object, or, refer,
    some_text, text, time, told, url,
};
use super::{Named, page_of};

/// Seconds.
const HOUR: i32 = 3600;
const WEEK: i32 = 7 * 24 * HOUR;

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("AppPortalAccessIn", portal_in()),
        ("AppPortalAccessOut", portal_out()),
        ("ApplicationTokenExpireIn", expire_in()),
        ("ApiKeyIn", key_in()),
        ("ApiKeyOut", key_out()),
        ("ListResponse_ApiKeyOut_", page_of("ApiKeyOut")),
    ]
}

fn portal_in() -> Kind {
    object(vec![
        may("application", nullable(refer("ApplicationIn"))),
        may(
            "featureFlags",
            told(nullable(list(name())), "Read and not used."),
        ),
        may(
            "expiry",
            told(or(nullable(between(HOUR, WEEK)), WEEK), "Seconds."),
        ),
        may("readOnly", nullable(flag_or(false))),
    ])
}

fn portal_out() -> Kind {
    object(vec![must("url", url()), must("token", text())])
}

fn expire_in() -> Kind {
    let about = "Seconds that the tokens go on being valid.";
    object(vec![may("expiry", told(nullable(between(0, WEEK)), about))])
}

fn key_in() -> Kind {
    let app = "An application, by its identifier or uid, that the key is confined to.";
    object(vec![
        must("name", some_text(None)),
        may("appId", told(nullable(name()), app)),
        may("readOnly", nullable(flag_or(false))),
        may("expiresAt", nullable(time())),
    ])
}

fn key_out() -> Kind {
    object(vec![
        must("id", id(ApiKeyId::PREFIX)),
        must("name", text()),
        must("prefix", text()),
        must("appId", nullable(id(AppId::PREFIX))),
        must("readOnly", flag()),
        must("createdAt", time()),
        must("expiresAt", nullable(time())),
        may("key", told(text(), "Only in the answer to its creation.")),
    ])
}
