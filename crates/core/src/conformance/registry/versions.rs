//! Versions and races: of everybody who decides on the same state, one decides.

use std::collections::HashSet;
use std::sync::Arc;

use super::records::uid;
use crate::application::Application;
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, together};
use crate::ports::{AppKey, RegistryError};

/// Each change of an application or of one of its endpoints, and of nothing else.
pub async fn every_change_raises_the_version(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let neighbour = stage.create_app(org, None).await;
    let registry = stage.registry();
    let mut seen = app.version;
    let mut endpoint = stage.create_endpoint(app.id).await;
    for step in 0..8 {
        let now = stage.version(&app).await;
        assert!(
            now > seen,
            "step {step}: the version went from {seen} to {now}"
        );
        seen = now;
        match step % 4 {
            0 => {
                let mut current = stage.app(org, app.id).await.expect("it exists");
                current.name = format!("Name {step}");
                let replaced = stage.replace_app(&current).await;
                assert_eq!(
                    replaced.version,
                    stage.version(&app).await,
                    "what is returned is the version it has come to"
                );
            }
            1 => {
                endpoint.disable();
                let replaced = registry.put_endpoint(endpoint.clone(), Some(now)).await;
                endpoint = replaced.unwrap();
            }
            2 => assert!(stage.delete_endpoint(app.id, endpoint.id).await),
            _ => endpoint = stage.create_endpoint(app.id).await,
        }
    }
    assert_eq!(
        stage.version(&neighbour).await,
        neighbour.version,
        "changes of one application leave the version of another alone"
    );
}

/// Refusals leave the record, its version and its keys alone.
pub async fn a_refused_change_changes_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    stage.create_app(org, Some("taken")).await;
    let endpoint = stage.create_endpoint(app.id).await;
    let before = stage.app(org, app.id).await.expect("it exists");
    let registry = stage.registry();
    let mut change = before.clone();
    change.name = "Another".to_owned();
    change.uid = Some(uid("taken"));
    let expects = [
        None,
        Some(app.version),
        Some(before.version),
        Some(before.version + 1),
    ];
    for expect in expects {
        let refused = registry.put_application(change.clone(), expect).await;
        assert!(refused.is_err(), "expecting {expect:?}: {refused:?}");
    }
    change.uid = Some(uid("free"));
    let stale = registry.put_application(change, Some(app.version)).await;
    assert!(matches!(stale, Err(RegistryError::Stale)), "{stale:?}");
    for expect in [None, Some(app.version), Some(before.version + 1)] {
        let refused = registry.put_endpoint(endpoint.clone(), expect).await;
        assert!(refused.is_err(), "expecting {expect:?}: {refused:?}");
    }
    let nothing = stage.an_endpoint(app.id).id;
    assert!(!stage.delete_endpoint(app.id, nothing).await);
    assert_eq!(
        stage.app(org, app.id).await.as_ref(),
        Some(&before),
        "a refused change leaves the record and its version alone"
    );
    assert_eq!(stage.app_by_uid(org, "acme").await, Some(before));
    assert_eq!(
        stage.app_by_uid(org, "free").await,
        None,
        "a refused change takes no uid"
    );
    assert_eq!(stage.endpoint(app.id, endpoint.id).await, Some(endpoint));
}

/// Not by deletion, not by another application in the same place, not by a crash.
pub async fn versions_never_go_back(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let template = stage.an_app(org);
    let mut seen = 0;
    for round in 0..6 {
        let mut app = template.clone();
        app.uid = Some(uid("acme"));
        if round % 2 == 1 {
            // Another application takes the uid; every other time the very identifier comes again.
            app.id = stage.an_app(org).id;
        }
        let registry = stage.registry();
        let created = registry.put_application(app, None).await.unwrap();
        assert!(
            created.version > seen,
            "round {round}: the version went from {seen} to {}",
            created.version
        );
        let endpoint = stage.create_endpoint(created.id).await;
        stage.delete_endpoint(created.id, endpoint.id).await;
        seen = stage.version(&created).await;
        assert!(seen > endpoint.created_version);
        drop(registry);
        if round == 3 {
            stage = stage.crash().await;
            assert_eq!(stage.version(&created).await, seen);
        }
        stage.delete_app(&created).await;
        if round == 4 {
            stage = stage.crash().await;
        }
    }
}

type Outcome = Result<u64, RegistryError>;

fn assert_one_wins(outcomes: &[Outcome], refusal: fn(&RegistryError) -> bool, what: &str) {
    let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(winners, 1, "exactly one of {what} wins: {outcomes:?}");
    let refused = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .all(refusal);
    assert!(refused, "the others of {what} are told why: {outcomes:?}");
}

/// Of concurrent replacements that expect one version one succeeds; an endpoint competes with its application.
pub async fn of_concurrent_replacements_one_wins(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let endpoint = stage.create_endpoint(app.id).await;
    let event_type = stage.an_event_type(org, "order.paid");
    let registry = stage.registry();
    let mut event_type = registry.put_event_type(event_type, None).await.unwrap();
    for _ in 0..5 {
        let current = stage.app(org, app.id).await.expect("it exists");
        let outcomes = together(12, |index| {
            let (registry, mut endpoint) = (Arc::clone(&registry), endpoint.clone());
            endpoint.description = format!("Writer {index}");
            let mut app = current.clone();
            app.name = format!("Writer {index}");
            async move {
                let expect = Some(app.version);
                if index % 2 == 0 {
                    let put = registry.put_application(app, expect).await;
                    put.map(|stored| stored.version)
                } else {
                    let put = registry.put_endpoint(endpoint, expect).await;
                    put.map(|stored| stored.created_version)
                }
            }
        })
        .await;
        let stale = |error: &RegistryError| matches!(error, RegistryError::Stale);
        assert_one_wins(&outcomes, stale, "concurrent writers of an application");

        let outcomes = together(12, |index| {
            let (registry, mut event_type) = (Arc::clone(&registry), event_type.clone());
            event_type.description = format!("Writer {index}");
            async move {
                let expect = Some(event_type.version);
                let put = registry.put_event_type(event_type, expect).await;
                put.map(|stored| stored.version)
            }
        })
        .await;
        assert_one_wins(&outcomes, stale, "concurrent writers of an event type");
        let found = registry.event_type(org, &event_type.name).await.unwrap();
        event_type = found.expect("it exists");
    }
}

/// Of concurrent creations with one identifier, one uid or one name one succeeds.
pub async fn of_concurrent_creations_one_wins(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let registry = stage.registry();
    let home = stage.create_app(org, None).await;
    for round in 0..4 {
        let name = format!("round-{round}");
        let template = stage.an_app(org);
        let rivals: Vec<Application> = (0..10)
            .map(|_| Application {
                uid: Some(uid(&name)),
                ..stage.an_app(org)
            })
            .collect();
        let outcomes = together(rivals.len(), |index| {
            let (registry, app) = (Arc::clone(&registry), rivals[index].clone());
            async move {
                let put = registry.put_application(app, None).await;
                put.map(|stored| stored.version)
            }
        })
        .await;
        let taken = |error: &RegistryError| matches!(error, RegistryError::UidTaken);
        assert_one_wins(&outcomes, taken, "concurrent applications with one uid");
        let key = AppKey::Uid(uid(&name));
        let owner = registry.application(org, &key).await.unwrap();
        let owner = owner.expect("one has won").id;
        let winner = outcomes.iter().position(Result::is_ok);
        assert_eq!(
            Some(owner),
            winner.map(|index| rivals[index].id),
            "the uid leads to the winner"
        );

        let outcomes = together(10, |_| {
            let (registry, app) = (Arc::clone(&registry), template.clone());
            async move {
                let put = registry.put_application(app, None).await;
                put.map(|stored| stored.version)
            }
        })
        .await;
        let exists = |error: &RegistryError| matches!(error, RegistryError::Exists);
        assert_one_wins(
            &outcomes,
            exists,
            "concurrent applications with one identifier",
        );

        let rivals: Vec<_> = (0..10).map(|_| stage.an_endpoint(home.id)).collect();
        let outcomes = together(rivals.len(), |index| {
            let (registry, mut endpoint) = (Arc::clone(&registry), rivals[index].clone());
            endpoint.uid = Some(uid(&name));
            async move {
                let put = registry.put_endpoint(endpoint, None).await;
                put.map(|stored| stored.created_version)
            }
        })
        .await;
        assert_one_wins(&outcomes, taken, "concurrent endpoints with one uid");

        let event_type = stage.an_event_type(org, &name);
        let outcomes = together(10, |_| {
            let (registry, event_type) = (Arc::clone(&registry), event_type.clone());
            async move {
                let put = registry.put_event_type(event_type, None).await;
                put.map(|stored| stored.version)
            }
        })
        .await;
        assert_one_wins(&outcomes, exists, "concurrent event types with one name");
    }
}

/// Read, decide, compare and set, again where somebody else was faster: every change counts.
pub async fn no_change_of_an_application_is_lost(fixture: &dyn Fixture) {
    const TASKS: usize = 8;
    const EACH: usize = 10;
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let registry = stage.registry();
    let counted = |app: &Application| {
        let text = app.metadata.get("count");
        text.map_or(0, |text| text.parse::<usize>().unwrap())
    };
    let versions = together(TASKS, |_| {
        let (registry, key) = (Arc::clone(&registry), AppKey::Id(app.id));
        async move {
            let mut versions = Vec::new();
            while versions.len() < EACH {
                let found = registry.application(org, &key).await.unwrap();
                let mut app = found.expect("it exists");
                let next = counted(&app) + 1;
                app.metadata.insert("count".to_owned(), next.to_string());
                let expect = Some(app.version);
                match registry.put_application(app, expect).await {
                    Ok(stored) => versions.push(stored.version),
                    Err(RegistryError::Stale) => {}
                    Err(other) => panic!("expected success or Stale: {other}"),
                }
            }
            versions
        }
    })
    .await
    .concat();
    let app = stage.app(org, app.id).await.expect("it exists");
    assert_eq!(
        counted(&app),
        TASKS * EACH,
        "a change that was said to be made is there"
    );
    let different: HashSet<u64> = versions.iter().copied().collect();
    assert_eq!(
        different.len(),
        versions.len(),
        "each change has a version of its own"
    );
    assert_eq!(versions.iter().max(), Some(&app.version));
}

/// Creations without expectation do not get into each other's way, and each has a version of its own.
pub async fn concurrent_endpoints_are_all_created(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let endpoints: Vec<_> = (0..40).map(|_| stage.an_endpoint(app.id)).collect();
    let registry = stage.registry();
    let versions = together(endpoints.len(), |index| {
        let (registry, endpoint) = (Arc::clone(&registry), endpoints[index].clone());
        async move {
            let created = registry.put_endpoint(endpoint, None).await;
            created.expect("nothing stands in its way").created_version
        }
    })
    .await;
    let different: HashSet<u64> = versions.iter().copied().collect();
    assert_eq!(
        different.len(),
        versions.len(),
        "each creation has a version of its own"
    );
    assert_eq!(stage.endpoints(app.id).await.len(), endpoints.len());
    assert_eq!(
        versions.into_iter().max(),
        Some(stage.version(&app).await),
        "the application has come to the newest of them"
    );
}
