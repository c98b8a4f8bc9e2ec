//! Applications, event types and endpoints, made and changed.

use js_option::JsOption;
use serde_json::json;
use svix::api::{ApplicationListOptions, EventTypeListOptions, Svix};
use svix::models::{
    ApplicationIn, ApplicationPatch, EndpointHeadersIn, EndpointHeadersPatchIn, EndpointIn,
    EndpointPatch, EndpointSecretRotateIn, EventTypeIn, EventTypePatch,
};

use crate::check::{invalid, pairs, refused, s, step, strings};

pub async fn applications(svix: &Svix) {
    step("applications");
    let api = svix.application();
    let wanted = ApplicationIn {
        uid: Some(s("shop")),
        metadata: Some(pairs(&[("plan", "gold")])),
        ..ApplicationIn::new(s("Shop"))
    };
    let app = api.get_or_create(wanted.clone(), None).await.unwrap();
    assert_eq!((app.name, app.uid), (s("Shop"), Some(s("shop"))));
    assert_eq!(app.metadata, pairs(&[("plan", "gold")]));
    let again = api.get_or_create(wanted.clone(), None).await.unwrap();
    assert_eq!(again.id, app.id);
    assert_eq!(api.get(s("shop")).await.unwrap().id, app.id);
    refused(409, "conflict", api.create(wanted, None).await);
    let other = ApplicationIn {
        uid: Some(s("other")),
        ..ApplicationIn::new(s("Other"))
    };
    let other = api.upsert(s("other"), other).await.unwrap();
    assert_eq!(other.uid, Some(s("other")));
    let one = |iterator| ApplicationListOptions {
        limit: Some(1),
        iterator,
        ..ApplicationListOptions::default()
    };
    let page = api.list(Some(one(None))).await.unwrap();
    assert_eq!(page.data.len(), 1);
    assert_eq!((&page.data[0].id, page.done), (&app.id, false));
    let rest = api.list(Some(one(page.iterator))).await.unwrap();
    assert_eq!(rest.data.len(), 1);
    assert_eq!((&rest.data[0].id, rest.done), (&other.id, true));
}

pub async fn event_types(svix: &Svix) {
    step("event types");
    let api = svix.event_type();
    let schemas = Some(json!({"1": {"type": "object", "examples": [{"order": 1}]}}));
    let wanted = EventTypeIn {
        schemas: schemas.clone(),
        ..EventTypeIn::new(s("order.paid"), s("Paid"))
    };
    let made = api.create(wanted.clone(), None).await.unwrap();
    assert_eq!(made.name, "order.paid");
    assert_eq!((made.archived, made.deprecated), (Some(false), false));
    assert_eq!(api.get(s("order.paid")).await.unwrap().schemas, schemas);
    refused(409, "event_type_exists", api.create(wanted, None).await);
    let change = EventTypePatch {
        description: Some(s("Money")),
        ..EventTypePatch::new()
    };
    let patched = api.patch(s("order.paid"), change).await.unwrap();
    assert_eq!(
        (patched.description, patched.schemas),
        (s("Money"), schemas)
    );
    let options = EventTypeListOptions {
        with_content: Some(true),
        ..EventTypeListOptions::default()
    };
    let listed = api.list(Some(options)).await.unwrap().data;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "order.paid");
}

/// Returns the endpoint's identifier.
pub async fn endpoint(svix: &Svix, url: &str) -> String {
    step("endpoints and their headers");
    let api = svix.endpoint();
    let wanted = EndpointIn {
        uid: Some(s("main")),
        description: Some(s("Till")),
        channels: Some(strings(&["eu"])),
        event_types: Some(strings(&["order.paid"])),
        metadata: Some(pairs(&[("team", "till")])),
        headers: Some(pairs(&[("X-Shop", "7"), ("Authorization", "Bearer till")])),
        ..EndpointIn::new(s(url))
    };
    let made = api.create(s("shop"), wanted, None).await.unwrap();
    assert_eq!(made.uid, Some(s("main")));
    assert_eq!(made.channels, Some(strings(&["eu"])));
    assert_eq!(made.event_types, Some(strings(&["order.paid"])));
    assert_eq!(made.metadata, pairs(&[("team", "till")]));
    let wrong = EndpointIn {
        channels: Some(strings(&[])),
        ..EndpointIn::new(s(url))
    };
    invalid("channels", api.create(s("shop"), wrong, None).await);
    headers(svix).await;
    let listed = api.list(s("shop"), None).await.unwrap().data;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, made.id);
    let read = api.get(s("shop"), s("main")).await.unwrap();
    assert_eq!(read.id, made.id);
    made.id
}

async fn headers(svix: &Svix) {
    let api = svix.endpoint();
    let shown = api.get_headers(s("shop"), s("main")).await.unwrap();
    assert_eq!(shown.headers, pairs(&[("X-Shop", "7")]));
    assert_eq!(shown.sensitive, strings(&["Authorization"]));
    let change = EndpointHeadersPatchIn {
        delete_headers: Some(strings(&["X-Shop"])),
        ..EndpointHeadersPatchIn::new(pairs(&[("X-Till", "3")]))
    };
    api.patch_headers(s("shop"), s("main"), change)
        .await
        .unwrap();
    let shown = api.get_headers(s("shop"), s("main")).await.unwrap();
    assert_eq!(shown.headers, pairs(&[("X-Till", "3")]));
    let all = EndpointHeadersIn::new(pairs(&[("X-Till", "4")]));
    api.set_headers(s("shop"), s("main"), all).await.unwrap();
    let shown = api.get_headers(s("shop"), s("main")).await.unwrap();
    assert_eq!(shown.headers, pairs(&[("X-Till", "4")]));
    assert!(shown.sensitive.is_empty(), "{shown:?}");
}

/// Returns the old secret and the new one.
pub async fn rotate(svix: &Svix) -> [String; 2] {
    step("a secret is rotated");
    let api = svix.endpoint();
    let old = api.get_secret(s("shop"), s("main")).await.unwrap().key;
    let fresh = EndpointSecretRotateIn::new();
    let answer = api
        .rotate_secret(s("shop"), s("main"), fresh, None)
        .await
        .unwrap();
    let new = api.get_secret(s("shop"), s("main")).await.unwrap().key;
    assert_ne!(old, new, "the secret is the old one");
    assert_eq!(answer.key, new);
    [old, new]
}

pub async fn patches(svix: &Svix) {
    step("absent keeps, null clears");
    let patch = async |change| svix.endpoint().patch(s("shop"), s("main"), change).await;
    let change = EndpointPatch {
        description: Some(s("Till 2")),
        throttle_rate: JsOption::Some(500),
        ..EndpointPatch::new()
    };
    let kept = patch(change).await.unwrap();
    assert_eq!(
        (kept.description, kept.throttle_rate),
        (s("Till 2"), Some(500))
    );
    assert_eq!(kept.channels, Some(strings(&["eu"])));
    assert_eq!(kept.metadata, pairs(&[("team", "till")]));
    let change = EndpointPatch {
        channels: JsOption::Null,
        throttle_rate: JsOption::Null,
        ..EndpointPatch::new()
    };
    let cleared = patch(change).await.unwrap();
    assert_eq!((cleared.channels, cleared.throttle_rate), (None, None));
    assert_eq!(
        (cleared.description, cleared.uid),
        (s("Till 2"), Some(s("main")))
    );
    assert_eq!(cleared.metadata, pairs(&[("team", "till")]));
    let nowhere = EndpointPatch {
        url: Some(s("nowhere")),
        ..EndpointPatch::new()
    };
    invalid("url", patch(nowhere).await);
    rename(svix).await;
}

async fn rename(svix: &Svix) {
    let api = svix.application();
    let change = ApplicationPatch {
        name: Some(s("Renamed")),
        ..ApplicationPatch::new()
    };
    let renamed = api.patch(s("other"), change).await.unwrap();
    assert_eq!(
        (renamed.name, renamed.uid),
        (s("Renamed"), Some(s("other")))
    );
    let change = ApplicationPatch {
        uid: JsOption::Null,
        ..ApplicationPatch::new()
    };
    let nameless = api.patch(renamed.id.clone(), change).await.unwrap();
    assert_eq!(nameless.uid, None);
    api.delete(renamed.id).await.unwrap();
}
