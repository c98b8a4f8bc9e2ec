//! Applications, one at a time and in lists.

use std::collections::BTreeMap;

use super::records::{type_name, uid};
use crate::conformance::Fixture;
use crate::conformance::paging::{BOTH, behaves_like_a_list, is_stable_while_others_write};
use crate::conformance::stage::{LONG, Stage};
use crate::ports::{AppKey, RegistryError};

/// What is created is read again in every field, by identifier and by uid, with the version that was returned.
pub async fn an_application_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    stage
        .ports
        .registry
        .probe()
        .await
        .expect("an open registry is well");
    let org = stage.an_org();
    let mut app = stage.an_app(org);
    app.uid = Some(uid("customer-1_a.b"));
    app.name = "Grüße \u{1f44b} \"quoted\" \n".to_owned();
    app.throttle_rate = Some(u16::MAX);
    app.metadata = BTreeMap::from([
        ("plan".to_owned(), "gold".to_owned()),
        (String::new(), "\u{0}".to_owned()),
    ]);
    app.updated_at = app.created_at + LONG;
    app.version = 123_456_789_000;
    let registry = stage.registry();
    let created = registry.put_application(app.clone(), None).await.unwrap();
    assert_ne!(
        created.version, app.version,
        "the registry sets the version, not the caller"
    );
    assert!(
        created.version > 0,
        "0 is the version of what does not exist"
    );
    app.version = created.version;
    assert_eq!(created, app, "what is returned is what was stored");
    assert_eq!(stage.app(org, app.id).await.as_ref(), Some(&app));
    assert_eq!(
        stage.app_by_uid(org, "customer-1_a.b").await.as_ref(),
        Some(&app)
    );
    assert_eq!(stage.apps(org).await, [app.clone()]);
    let snapshot = registry.snapshot(app.id).await.unwrap();
    assert_eq!(snapshot.expect("it exists").app, app);
}

/// A replacement leaves nothing of what was there before.
pub async fn an_application_is_replaced_as_a_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let mut app = stage.create_app(org, Some("before")).await;
    app.metadata.insert("a".to_owned(), "1".to_owned());
    app.throttle_rate = Some(5);
    let first = stage.replace_app(&app).await;
    assert!(first.version > app.version, "a change raises the version");
    let mut second = stage.an_app(org);
    second.id = app.id;
    second.name = "Another name".to_owned();
    second.version = first.version;
    let stored = stage.replace_app(&second).await;
    second.version = stored.version;
    assert_eq!(stored, second);
    assert_eq!(
        stage.app(org, app.id).await,
        Some(second),
        "a replacement is whole"
    );
    assert_eq!(
        stage.app_by_uid(org, "before").await,
        None,
        "a uid that was given up leads nowhere"
    );
}

/// `None`, `false` or `Stale`: never an error of another kind.
pub async fn an_application_that_does_not_exist_is_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.an_app(org);
    let registry = stage.registry();
    assert_eq!(stage.app(org, app.id).await, None);
    assert_eq!(stage.app_by_uid(org, "nobody").await, None);
    assert!(registry.snapshot(app.id).await.unwrap().is_none());
    assert!(!stage.delete_app(&app).await, "there was none to delete");
    assert!(stage.apps(org).await.is_empty());
    assert!(stage.endpoints(app.id).await.is_empty());
    for expect in [0, 1, 17] {
        let replaced = registry.put_application(app.clone(), Some(expect)).await;
        assert!(
            matches!(replaced, Err(RegistryError::Stale)),
            "what does not exist cannot be replaced: {replaced:?}"
        );
    }
    let created = stage.create_app(org, None).await;
    assert!(stage.delete_app(&created).await);
    assert!(!stage.delete_app(&created).await, "it is gone by now");
    let registry = stage.registry();
    let late = registry.put_application(created.clone(), Some(created.version));
    let late = late.await;
    assert!(
        matches!(late, Err(RegistryError::Stale)),
        "it was deleted meanwhile: {late:?}"
    );
}

/// A uid has one owner in its organisation, who can give it up by a change or by going away.
pub async fn application_uids_are_unique_within_an_organisation(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let [org, other_org] = [stage.an_org(), stage.an_org()];
    let owner = stage.create_app(org, Some("acme")).await;
    let registry = stage.registry();
    let mut second = stage.an_app(org);
    second.uid = Some(uid("acme"));
    let taken = registry.put_application(second.clone(), None).await;
    assert!(
        matches!(taken, Err(RegistryError::UidTaken)),
        "on creation: {taken:?}"
    );
    assert_eq!(
        stage.app(org, second.id).await,
        None,
        "nothing is half created"
    );
    let mut third = stage.create_app(org, Some("third")).await;
    let before = third.clone();
    third.uid = Some(uid("acme"));
    let taken = registry.put_application(third.clone(), Some(third.version));
    let taken = taken.await;
    assert!(
        matches!(taken, Err(RegistryError::UidTaken)),
        "on replacement: {taken:?}"
    );
    assert_eq!(
        stage.app_by_uid(org, "third").await,
        Some(before),
        "nothing is half changed"
    );

    let abroad = stage.create_app(other_org, Some("acme")).await;
    assert_eq!(
        stage.app_by_uid(other_org, "acme").await,
        Some(abroad),
        "another organisation has uids of its own"
    );
    let case = stage.create_app(org, Some("ACME")).await;
    assert_eq!(
        stage.app_by_uid(org, "ACME").await,
        Some(case),
        "uids differ by case"
    );

    let mut owner = stage.replace_app(&owner).await;
    assert_eq!(
        stage.app_by_uid(org, "acme").await.as_ref(),
        Some(&owner),
        "an owner keeps its uid when it is replaced"
    );
    owner.uid = Some(uid("acme-2"));
    let owner = stage.replace_app(&owner).await;
    let successor = stage.create_app(org, Some("acme")).await;
    assert_eq!(
        stage.app_by_uid(org, "acme").await.as_ref(),
        Some(&successor),
        "a uid is free once its owner has another"
    );
    assert_eq!(stage.app_by_uid(org, "acme-2").await, Some(owner));
    stage.delete_app(&successor).await;
    assert_eq!(stage.app_by_uid(org, "acme").await, None);
    let heir = stage.create_app(org, Some("acme")).await;
    assert_eq!(
        stage.app_by_uid(org, "acme").await,
        Some(heir),
        "a uid is free once its owner is deleted"
    );
}

/// To create is not to replace.
pub async fn an_identifier_is_taken_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    let registry = stage.registry();
    let mut again = app.clone();
    again.name = "Usurper".to_owned();
    again.uid = None;
    let refused = registry.put_application(again, None).await;
    assert!(matches!(refused, Err(RegistryError::Exists)), "{refused:?}");
    assert_eq!(
        stage.app(org, app.id).await.as_ref(),
        Some(&app),
        "nothing is half changed"
    );
    assert_eq!(stage.app_by_uid(org, "acme").await, Some(app));
}

/// Whoever knows another organisation's identifiers and versions can do nothing with them.
pub async fn another_organisation_sees_and_changes_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let [org, stranger] = [stage.an_org(), stage.an_org()];
    let app = stage.create_app(org, Some("acme")).await;
    let registry = stage.registry();
    let event_type = stage.an_event_type(org, "order.paid");
    let event_type = registry.put_event_type(event_type, None).await.unwrap();
    assert_eq!(stage.app(stranger, app.id).await, None);
    assert_eq!(stage.app_by_uid(stranger, "acme").await, None);
    assert!(stage.apps(stranger).await.is_empty());
    let deleted = registry.delete_application(stranger, app.id).await.unwrap();
    assert!(!deleted, "for a stranger there is none to delete");
    let mut stolen = app.clone();
    stolen.org = stranger;
    for expect in [None, Some(app.version)] {
        let taken = registry.put_application(stolen.clone(), expect).await;
        assert!(
            matches!(taken, Err(RegistryError::Exists | RegistryError::Stale)),
            "an application does not change hands: {taken:?}"
        );
    }
    let name = type_name("order.paid");
    assert_eq!(registry.event_type(stranger, &name).await.unwrap(), None);
    assert!(!registry.delete_event_type(stranger, &name).await.unwrap());
    assert_eq!(stage.app(org, app.id).await, Some(app));
    assert_eq!(
        registry.event_type(org, &name).await.unwrap(),
        Some(event_type)
    );
}

/// Nothing of an application is left, not even for another one with the same identifier.
pub async fn deleting_an_application_removes_its_endpoints(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    let bystander = stage.create_app(org, None).await;
    let kept = stage.create_endpoint(bystander.id).await;
    let mut endpoint = stage.an_endpoint(app.id);
    endpoint.uid = Some(uid("primary"));
    let endpoint = stage.put_new_endpoint(endpoint).await;
    for _ in 0..20 {
        stage.create_endpoint(app.id).await;
    }
    assert!(stage.delete_app(&app).await);
    let registry = stage.registry();
    assert!(registry.snapshot(app.id).await.unwrap().is_none());
    assert_eq!(stage.app(org, app.id).await, None);
    for _ in 0..2 {
        assert_eq!(stage.endpoint(app.id, endpoint.id).await, None);
        assert_eq!(stage.endpoint_by_uid(app.id, "primary").await, None);
        assert!(stage.endpoints(app.id).await.is_empty());
        // The second time there is an application again, and it has no endpoints.
        let again = registry.put_application(app.clone(), None).await;
        if let Ok(again) = again {
            let snapshot = registry.snapshot(again.id).await.unwrap();
            assert!(snapshot.expect("it exists").endpoints.is_empty());
        }
    }
    assert_eq!(stage.endpoint(bystander.id, kept.id).await, Some(kept));
}

/// By identifier, in both directions, from any row, that it be there or not.
pub async fn applications_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let registry = stage.registry();
    let fetch = async |page| registry.applications(org, page).await.unwrap();
    behaves_like_a_list(
        &mut stage.chance,
        &[],
        &[],
        |app: &crate::Application| app.id,
        fetch,
    )
    .await;
    let mut keys = Vec::new();
    let mut gone = Vec::new();
    for index in 0..41 {
        // Identifiers are not made in their order.
        let app = stage.create_app(org, None).await;
        if index % 8 == 3 {
            stage.delete_app(&app).await;
            gone.push(app.id);
        } else {
            keys.push(app.id);
        }
    }
    let elsewhere = stage.an_org();
    for _ in 0..5 {
        gone.push(stage.create_app(elsewhere, None).await.id);
    }
    behaves_like_a_list(&mut stage.chance, &keys, &gone, |app| app.id, fetch).await;
}

/// Rows come and go while somebody pages: those that stay come once each.
pub async fn application_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    for order in BOTH {
        let mut lasting = Vec::new();
        let mut passing = Vec::new();
        for _ in 0..15 {
            lasting.push(stage.create_app(org, None).await.id);
            passing.push(stage.create_app(org, None).await);
        }
        let registry = stage.registry();
        let fetch = async |page| registry.applications(org, page).await.unwrap();
        let disturb = async || {
            if let Some(app) = passing.pop() {
                stage.delete_app(&app).await;
                for _ in 0..2 {
                    stage.create_app(org, None).await;
                }
            }
        };
        is_stable_while_others_write(&lasting, order, |app| app.id, fetch, disturb).await;
    }
}

/// Everything that was stored is there, everything that was deleted is gone, and keys still lead to their records.
pub async fn the_registry_survives_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    let deleted = stage.create_app(org, Some("gone")).await;
    stage.delete_app(&deleted).await;
    let endpoint = stage.a_full_endpoint(app.id);
    let endpoint = stage.put_new_endpoint(endpoint).await;
    let removed = stage.create_endpoint(app.id).await;
    stage.delete_endpoint(app.id, removed.id).await;
    let event_type = stage.an_event_type(org, "order.paid");
    let event_type = stage.registry().put_event_type(event_type, None).await;
    let event_type = event_type.unwrap();
    let app = stage.app(org, app.id).await.expect("it exists");

    let mut stage = stage.crash().await;
    let registry = stage.registry();
    assert_eq!(stage.app(org, app.id).await.as_ref(), Some(&app));
    assert_eq!(stage.app_by_uid(org, "acme").await.as_ref(), Some(&app));
    assert_eq!(stage.apps(org).await, [app.clone()]);
    assert_eq!(
        stage.endpoint(app.id, endpoint.id).await.as_ref(),
        Some(&endpoint)
    );
    assert_eq!(stage.endpoints(app.id).await, [endpoint]);
    let found = registry.event_type(org, &event_type.name).await.unwrap();
    assert_eq!(found, Some(event_type));
    let key = AppKey::Uid(uid("gone"));
    assert_eq!(registry.application(org, &key).await.unwrap(), None);
    let next = stage.create_app(org, Some("gone")).await;
    assert!(
        next.version > deleted.version,
        "versions do not go back over a crash"
    );
    let replaced = stage.replace_app(&app).await;
    assert!(replaced.version > app.version);
}
