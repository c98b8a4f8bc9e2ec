//! Endpoints, and the snapshots that caches hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::records::uid;
use crate::conformance::Fixture;
use crate::conformance::paging::{BOTH, behaves_like_a_list, is_stable_while_others_write};
use crate::conformance::stage::Stage;
use crate::endpoint::Endpoint;
use crate::ports::RegistryError;

/// What is created is read again in every field, by identifier, by uid, in lists and in snapshots.
pub async fn an_endpoint_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let mut endpoint = stage.a_full_endpoint(app.id);
    let created = stage.put_new_endpoint(endpoint.clone()).await;
    assert!(
        created.created_version > app.version,
        "a new endpoint raises the application's version"
    );
    assert_eq!(
        created.created_version,
        stage.version(&app).await,
        "a new endpoint gets the application's new version"
    );
    endpoint.created_version = created.created_version;
    assert_eq!(created, endpoint, "what is returned is what was stored");
    assert_eq!(
        stage.endpoint(app.id, endpoint.id).await.as_ref(),
        Some(&endpoint)
    );
    assert_eq!(
        stage
            .endpoint_by_uid(app.id, "primary_1.a-b")
            .await
            .as_ref(),
        Some(&endpoint)
    );
    assert_eq!(stage.endpoints(app.id).await, [endpoint.clone()]);
    let snapshot = stage.registry().snapshot(app.id).await.unwrap();
    let snapshot = snapshot.expect("the application exists");
    assert_eq!(snapshot.version(), endpoint.created_version);
    assert_eq!(
        snapshot.endpoint(endpoint.id).map(|found| &**found),
        Some(&endpoint)
    );
    let plain = stage.create_endpoint(app.id).await;
    assert_eq!(stage.endpoint(app.id, plain.id).await, Some(plain));
}

/// A replacement leaves nothing of what was there before, but for the version at which the endpoint began.
pub async fn an_endpoint_is_replaced_as_a_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let full = stage.a_full_endpoint(app.id);
    let full = stage.put_new_endpoint(full).await;
    let mut plain = stage.an_endpoint(app.id);
    plain.id = full.id;
    plain.created_version = full.created_version;
    let registry = stage.registry();
    let expect = Some(stage.version(&app).await);
    let replaced = registry.put_endpoint(plain.clone(), expect).await.unwrap();
    assert_eq!(replaced, plain, "the version at which it began stays");
    assert_eq!(
        stage.endpoint(app.id, full.id).await,
        Some(plain.clone()),
        "a replacement is whole"
    );
    assert_eq!(
        stage.endpoint_by_uid(app.id, "primary_1.a-b").await,
        None,
        "a uid that was given up leads nowhere"
    );
    assert!(
        Some(stage.version(&app).await) > expect,
        "a change of an endpoint raises the application's version"
    );
    let again = registry.put_endpoint(plain.clone(), expect).await;
    assert!(
        matches!(again, Err(RegistryError::Stale)),
        "the application has another version by now: {again:?}"
    );
    let exists = registry.put_endpoint(plain.clone(), None).await;
    assert!(
        matches!(exists, Err(RegistryError::Exists)),
        "to create is not to replace: {exists:?}"
    );
    assert!(stage.delete_endpoint(app.id, plain.id).await);
    assert!(!stage.delete_endpoint(app.id, plain.id).await);
    let expect = Some(stage.version(&app).await);
    let gone = registry.put_endpoint(plain, expect).await;
    assert!(
        matches!(gone, Err(RegistryError::Stale)),
        "what was deleted cannot be replaced: {gone:?}"
    );
}

/// No endpoint without an application, before or after its life.
pub async fn an_endpoint_needs_its_application(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let orphan = stage.an_app(org);
    let registry = stage.registry();
    for id in [orphan.id, app.id] {
        if id == app.id {
            stage.delete_app(&app).await;
        }
        let endpoint = stage.an_endpoint(id);
        let refused = registry.put_endpoint(endpoint.clone(), None).await;
        assert!(
            matches!(refused, Err(RegistryError::NoApplication)),
            "{refused:?}"
        );
        let refused = registry.put_endpoint(endpoint.clone(), Some(app.version));
        let refused = refused.await;
        assert!(
            matches!(
                refused,
                Err(RegistryError::NoApplication | RegistryError::Stale)
            ),
            "{refused:?}"
        );
        assert_eq!(stage.endpoint(id, endpoint.id).await, None);
        assert!(!stage.delete_endpoint(id, endpoint.id).await);
    }
}

/// A uid has one owner in its application, who can give it up by a change or by going away.
pub async fn endpoint_uids_are_unique_within_an_application(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let neighbour = stage.create_app(org, None).await;
    let registry = stage.registry();
    let with_uid = |mut endpoint: Endpoint, text: &str| {
        endpoint.uid = Some(uid(text));
        endpoint
    };
    let owner = with_uid(stage.an_endpoint(app.id), "primary");
    let owner = stage.put_new_endpoint(owner).await;
    let version = stage.version(&app).await;
    let second = with_uid(stage.an_endpoint(app.id), "primary");
    let taken = registry.put_endpoint(second.clone(), None).await;
    assert!(
        matches!(taken, Err(RegistryError::UidTaken)),
        "on creation: {taken:?}"
    );
    assert_eq!(stage.endpoint(app.id, second.id).await, None);
    let third = stage.create_endpoint(app.id).await;
    let expect = Some(stage.version(&app).await);
    let taken = registry.put_endpoint(with_uid(third.clone(), "primary"), expect);
    let taken = taken.await;
    assert!(
        matches!(taken, Err(RegistryError::UidTaken)),
        "on replacement: {taken:?}"
    );
    assert_eq!(
        stage.endpoint(app.id, third.id).await,
        Some(third),
        "nothing is half changed"
    );
    assert_eq!(Some(stage.version(&app).await), expect);
    assert!(expect > Some(version));

    let abroad = with_uid(stage.an_endpoint(neighbour.id), "primary");
    let abroad = stage.put_new_endpoint(abroad).await;
    assert_eq!(
        stage.endpoint_by_uid(neighbour.id, "primary").await,
        Some(abroad),
        "another application has uids of its own"
    );
    let renamed = with_uid(owner.clone(), "secondary");
    let renamed = registry.put_endpoint(renamed, expect).await.unwrap();
    assert_eq!(stage.endpoint_by_uid(app.id, "primary").await, None);
    assert_eq!(
        stage.endpoint_by_uid(app.id, "secondary").await.as_ref(),
        Some(&renamed)
    );
    let successor = stage.put_new_endpoint(second).await;
    assert_eq!(
        stage.endpoint_by_uid(app.id, "primary").await.as_ref(),
        Some(&successor),
        "a uid is free once its owner has another"
    );
    stage.delete_endpoint(app.id, renamed.id).await;
    assert_eq!(stage.endpoint_by_uid(app.id, "secondary").await, None);
    let heir = with_uid(stage.an_endpoint(app.id), "secondary");
    let heir = stage.put_new_endpoint(heir).await;
    assert_eq!(
        stage.endpoint_by_uid(app.id, "secondary").await,
        Some(heir),
        "a uid is free once its owner is deleted"
    );
}

/// An endpoint is found, listed, changed and deleted by way of its own application alone.
pub async fn another_application_sees_and_changes_no_endpoint(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let stranger = stage.create_app(org, None).await;
    let endpoint = stage.a_full_endpoint(app.id);
    let endpoint = stage.put_new_endpoint(endpoint).await;
    assert_eq!(stage.endpoint(stranger.id, endpoint.id).await, None);
    assert_eq!(
        stage.endpoint_by_uid(stranger.id, "primary_1.a-b").await,
        None
    );
    assert!(stage.endpoints(stranger.id).await.is_empty());
    assert!(!stage.delete_endpoint(stranger.id, endpoint.id).await);
    let mut stolen = endpoint.clone();
    stolen.app = stranger.id;
    stolen.url = "https://evil.example.org".to_owned();
    let expect = Some(stage.version(&stranger).await);
    let taken = stage.registry().put_endpoint(stolen, expect).await;
    assert!(
        matches!(taken, Err(RegistryError::Exists | RegistryError::Stale)),
        "there is no such endpoint to replace: {taken:?}"
    );
    assert_eq!(
        stage.endpoint(app.id, endpoint.id).await,
        Some(endpoint),
        "it is what it was"
    );
}

/// By identifier, in both directions, from any row, that it be there or not.
pub async fn endpoints_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let neighbour = stage.create_app(org, None).await;
    let mut keys = Vec::new();
    let mut gone = Vec::new();
    for index in 0..37 {
        let endpoint = stage.create_endpoint(app.id).await.id;
        gone.push(stage.create_endpoint(neighbour.id).await.id);
        if index % 7 == 3 {
            stage.delete_endpoint(app.id, endpoint).await;
            gone.push(endpoint);
        } else {
            keys.push(endpoint);
        }
    }
    let registry = stage.registry();
    let fetch = async |page| registry.endpoints(app.id, page).await.unwrap();
    let key_of = |endpoint: &Endpoint| endpoint.id;
    behaves_like_a_list(&mut stage.chance, &keys, &gone, key_of, fetch).await;
}

/// Rows come and go while somebody pages: those that stay come once each.
pub async fn endpoint_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    for order in BOTH {
        let mut lasting = Vec::new();
        let mut passing = Vec::new();
        for _ in 0..15 {
            lasting.push(stage.create_endpoint(app.id).await.id);
            passing.push(stage.create_endpoint(app.id).await.id);
        }
        let registry = stage.registry();
        let fetch = async |page| registry.endpoints(app.id, page).await.unwrap();
        let disturb = async || {
            if let Some(endpoint) = passing.pop() {
                stage.delete_endpoint(app.id, endpoint).await;
                for _ in 0..2 {
                    stage.create_endpoint(app.id).await;
                }
            }
        };
        let key_of = |endpoint: &Endpoint| endpoint.id;
        is_stable_while_others_write(&lasting, order, key_of, fetch, disturb).await;
    }
}

/// All endpoints, in the order of their identifiers, however many: look-ups by binary search depend on it.
pub async fn a_snapshot_is_sorted_and_complete(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let neighbour = stage.create_app(org, None).await;
    let mut stored = Vec::new();
    for index in 0..300 {
        if index % 10 == 0 {
            stage.create_endpoint(neighbour.id).await;
        }
        stored.push(stage.create_endpoint(app.id).await);
    }
    for endpoint in stored.split_off(290) {
        stage.delete_endpoint(app.id, endpoint.id).await;
    }
    stored.sort_by_key(|endpoint| endpoint.id);
    let snapshot = stage.registry().snapshot(app.id).await.unwrap();
    let snapshot = snapshot.expect("the application exists");
    let found: Vec<&Endpoint> = snapshot.endpoints.iter().map(|found| &**found).collect();
    assert_eq!(
        found,
        stored.iter().collect::<Vec<_>>(),
        "a snapshot holds all endpoints, sorted by identifier"
    );
    assert_eq!(snapshot.version(), stage.version(&app).await);
}

/// A snapshot's endpoints are those of its version, also while they change.
pub async fn a_snapshot_is_consistent_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let endpoints: Vec<Endpoint> = (0..120).map(|_| stage.an_endpoint(app.id)).collect();
    let registry = stage.registry();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (registry, done) = (stage.registry(), Arc::clone(&done));
            let app = app.clone();
            tokio::spawn(async move {
                let mut last = 0;
                let mut looks = 0;
                while !done.load(Ordering::SeqCst) || looks == 0 {
                    let snapshot = registry.snapshot(app.id).await.unwrap();
                    let snapshot = snapshot.expect("the application exists");
                    let newest = snapshot
                        .endpoints
                        .iter()
                        .map(|endpoint| endpoint.created_version)
                        .max();
                    assert_eq!(
                        newest.unwrap_or(app.version),
                        snapshot.version(),
                        "a snapshot of {} endpoints is of one moment",
                        snapshot.endpoints.len()
                    );
                    assert!(snapshot.version() >= last, "a snapshot goes back in time");
                    last = snapshot.version();
                    looks += 1;
                }
            })
        })
        .collect();
    for endpoint in endpoints {
        registry.put_endpoint(endpoint, None).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}
