//! Export and import: a backup is worth what can be put back from it.

use std::collections::HashMap;
use std::time::Duration;

use super::records::{type_name, uid};
use crate::application::Application;
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, soon};
use crate::endpoint::Endpoint;
use crate::event_type::EventType;
use crate::id::{AppId, OrgId};
use crate::matching::matches;
use crate::ports::{ExportCursor, Imported, RegistryRecord};
use crate::samples;

impl Stage<'_> {
    /// Everything there is, in portions of `limit`, checked to come in the order that an import needs.
    async fn export(&self, limit: usize) -> Vec<RegistryRecord> {
        let registry = self.registry();
        let mut records = Vec::new();
        let mut from = ExportCursor::Start;
        loop {
            let portion = registry.export(&from, limit).await.unwrap();
            assert!(
                portion.records.len() <= limit,
                "a portion is no larger than asked for"
            );
            records.extend(portion.records);
            let Some(next) = portion.next else { break };
            assert_ne!(next, from, "an export goes on");
            from = next;
        }
        let mut apps = Vec::new();
        for record in &records {
            match record {
                RegistryRecord::Application(app) => apps.push(app.id),
                RegistryRecord::Endpoint(endpoint) => {
                    assert!(apps.contains(&endpoint.app), "an application comes first");
                }
                RegistryRecord::EventType(_) => {}
            }
        }
        records
    }

    async fn import(&self, records: &[RegistryRecord]) -> Imported {
        let imported = self.ports.registry.import(records.to_vec()).await;
        imported.expect("records can be put back")
    }

    async fn delete_everything(&self, records: &[RegistryRecord]) {
        let registry = self.registry();
        for record in records {
            match record {
                RegistryRecord::Application(app) => assert!(self.delete_app(app).await),
                RegistryRecord::EventType(kind) => {
                    let deleted = registry.delete_event_type(kind.org, &kind.name).await;
                    assert!(deleted.unwrap());
                }
                RegistryRecord::Endpoint(_) => {}
            }
        }
    }

    /// Two organisations, some applications and endpoints, event types.
    async fn furnish(&mut self) -> Furniture {
        let orgs = [self.an_org(), self.an_org()];
        let mut apps = Vec::new();
        for (index, org) in [orgs[0], orgs[0], orgs[1], orgs[1]].into_iter().enumerate() {
            let name = format!("uid-{index}");
            let app = self
                .create_app(org, (index % 2 == 0).then_some(&name))
                .await;
            let full = self.a_full_endpoint(app.id);
            self.put_new_endpoint(full).await;
            for _ in 0..index * 3 {
                self.create_endpoint(app.id).await;
            }
            apps.push(app);
        }
        for name in ["order.paid", "order", "user.created"] {
            let event_type = self.an_event_type(orgs[1], name);
            let stored = self.ports.registry.put_event_type(event_type, None).await;
            stored.unwrap();
        }
        Furniture { orgs, apps }
    }
}

struct Furniture {
    orgs: [OrgId; 2],
    apps: Vec<Application>,
}

/// A record by what it is and which, without what an import sets anew.
fn by_name(records: &[RegistryRecord]) -> HashMap<String, RegistryRecord> {
    let named = |record: &RegistryRecord| match record.clone() {
        RegistryRecord::EventType(kind) => (
            format!("{} {}", kind.org, kind.name),
            RegistryRecord::EventType(EventType { version: 0, ..kind }),
        ),
        RegistryRecord::Application(app) => (
            app.id.to_string(),
            RegistryRecord::Application(Application { version: 0, ..app }),
        ),
        RegistryRecord::Endpoint(endpoint) => (
            format!("{} {}", endpoint.app, endpoint.id),
            RegistryRecord::Endpoint(endpoint),
        ),
    };
    let named: HashMap<_, _> = records.iter().map(named).collect();
    assert_eq!(named.len(), records.len(), "every record comes once");
    named
}

fn newest(records: &[RegistryRecord]) -> u64 {
    let versions = records.iter().map(RegistryRecord::version);
    versions.max().expect("there is one")
}

/// Every record of every organisation, once, whatever the size of the portions.
pub async fn an_export_holds_every_record(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    assert!(
        stage.export(10).await.is_empty(),
        "nothing comes of nothing"
    );
    let Furniture { orgs, apps } = stage.furnish().await;
    let mut wanted = Vec::new();
    for org in orgs {
        wanted.extend(
            stage
                .apps(org)
                .await
                .into_iter()
                .map(RegistryRecord::Application),
        );
        for name in ["order.paid", "order", "user.created"] {
            let found = stage.registry().event_type(org, &type_name(name)).await;
            wanted.extend(found.unwrap().map(RegistryRecord::EventType));
        }
    }
    for app in &apps {
        let endpoints = stage.endpoints(app.id).await;
        wanted.extend(endpoints.into_iter().map(RegistryRecord::Endpoint));
    }
    assert_eq!(wanted.len(), 4 + 4 + 18 + 3);
    for limit in [1, 2, 5, wanted.len(), 1_000] {
        let exported = stage.export(limit).await;
        assert_eq!(by_name(&exported), by_name(&wanted), "portions of {limit}");
        assert_eq!(newest(&exported), newest(&wanted));
    }
}

/// Into a registry that holds nothing of it: records, look-ups and lists are back.
pub async fn what_was_exported_can_be_put_back(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let Furniture { orgs, apps } = stage.furnish().await;
    let exported = stage.export(7).await;
    stage.delete_everything(&exported).await;
    assert!(stage.export(7).await.is_empty());
    for portion in exported.chunks(4) {
        let imported = stage.import(portion).await;
        let all = Imported {
            stored: portion.len(),
            ..Imported::default()
        };
        assert_eq!(imported, all);
    }
    let registry = stage.registry();
    registry.declare_complete().await.unwrap();
    assert_eq!(by_name(&stage.export(7).await), by_name(&exported));
    for app in &apps {
        if let Some(uid) = &app.uid {
            let found = stage.app_by_uid(app.org, uid.as_str()).await;
            assert_eq!(found.map(|found| found.id), Some(app.id));
        }
        let endpoint = stage.endpoint_by_uid(app.id, "primary_1.a-b").await;
        let endpoint = endpoint.expect("a uid leads to its endpoint again");
        let snapshot = registry.snapshot(app.id).await.unwrap();
        let snapshot = snapshot.expect("it exists");
        assert_eq!(
            snapshot.endpoint(endpoint.id).map(|found| &**found),
            Some(&endpoint)
        );
    }
    for org in orgs {
        assert_eq!(stage.apps(org).await.len(), 2);
    }
    let mut stage = stage.crash().await;
    assert_eq!(by_name(&stage.export(7).await), by_name(&exported));
    let app = stage.app(apps[0].org, apps[0].id).await.expect("it exists");
    stage.create_endpoint(app.id).await;
    assert!(stage.version(&app).await > app.version, "life goes on");
}

/// Workers wait until the registry has reached the version at which an event was accepted, and match as of it.
pub async fn an_import_overtakes_every_version(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let endpoint = stage.create_endpoint(app.id).await;
    let exported = stage.export(100).await;
    for _ in 0..5 {
        stage.create_endpoint(app.id).await;
    }
    let accepted_at = stage.version(&app).await;
    stage.delete_everything(&exported).await;
    let elsewhere = Application {
        version: accepted_at + 1_000_000,
        ..stage.an_app(org)
    };
    let mut backup = exported.clone();
    backup.push(RegistryRecord::Application(elsewhere.clone()));
    stage.import(&backup).await;
    stage.registry().declare_complete().await.unwrap();
    let snapshot = stage.registry().snapshot(app.id).await.unwrap();
    let snapshot = snapshot.expect("it is back");
    assert!(
        snapshot.version() > accepted_at,
        "a worker that waits for {accepted_at} would wait for ever at {}",
        snapshot.version()
    );
    let mut event = samples::event();
    event.registry_version = accepted_at;
    let found = snapshot.endpoint(endpoint.id).expect("it is back");
    assert_eq!(found.created_version, endpoint.created_version);
    assert!(matches(found, &event), "what was meant for it matches it");
    let later = stage.create_endpoint(app.id).await;
    assert!(!matches(&later, &event), "what came later does not");
    let found = stage.app(org, elsewhere.id).await.expect("it was imported");
    assert!(
        found.version > elsewhere.version,
        "nor may a version that a record carries come again"
    );
}

/// A backup is older than what has changed since.
pub async fn an_import_keeps_what_is_newer(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    let other = stage.create_app(org, None).await;
    let endpoint = stage.create_endpoint(app.id).await;
    let kind = stage.an_event_type(org, "order.paid");
    let registry = stage.registry();
    let kind = registry.put_event_type(kind, None).await.unwrap();
    let exported = stage.export(100).await;

    let later = samples::NOW.max(app.updated_at) + Duration::from_secs(60);
    let newer_endpoint = Endpoint {
        url: "https://new.example.org/".to_owned(),
        updated_at: later,
        ..endpoint.clone()
    };
    let version = stage.version(&app).await;
    registry
        .put_endpoint(newer_endpoint.clone(), Some(version))
        .await
        .unwrap();
    let mut newer_app = stage.app(org, app.id).await.expect("it exists");
    newer_app.name = "Renamed".to_owned();
    newer_app.uid = Some(uid("acme-2"));
    newer_app.updated_at = later;
    stage.replace_app(&newer_app).await;
    let newer_kind = EventType {
        description: "Changed".to_owned(),
        updated_at: later,
        ..kind.clone()
    };
    registry
        .put_event_type(newer_kind, Some(kind.version))
        .await
        .unwrap();
    let mut reverted = stage.app(org, other.id).await.expect("it exists");
    reverted.name = "To be undone: it was changed before the backup, by its own account".to_owned();
    stage.replace_app(&reverted).await;
    let kept = stage.export(100).await;

    let imported = stage.import(&exported).await;
    let wanted = Imported {
        stored: 1,
        kept: 3,
        ..Imported::default()
    };
    assert_eq!(imported, wanted);
    let mut wanted = by_name(&kept);
    wanted.insert(
        other.id.to_string(),
        by_name(&exported)[&other.id.to_string()].clone(),
    );
    assert_eq!(by_name(&stage.export(100).await), wanted);
    assert_eq!(
        stage.app_by_uid(org, "acme").await,
        None,
        "an old uid does not come back"
    );
    assert!(stage.app_by_uid(org, "acme-2").await.is_some());
    assert_eq!(
        stage.import(&exported).await.stored,
        1,
        "to repeat an import does no harm"
    );
    assert_eq!(by_name(&stage.export(100).await), wanted);
}

/// Names that were given to others, endpoints without an application, applications of others.
pub async fn an_import_respects_what_is_there(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, Some("acme")).await;
    let full = stage.a_full_endpoint(app.id);
    let full = stage.put_new_endpoint(full).await;
    let exported = stage.export(100).await;
    stage.delete_app(&app).await;
    let successor = stage.create_app(org, Some("acme")).await;
    let orphan = stage.an_endpoint(AppId::MIN);
    let stolen = Application {
        org: stage.an_org(),
        updated_at: successor.updated_at + Duration::from_secs(60),
        ..successor.clone()
    };
    let mut backup = exported;
    backup.push(RegistryRecord::Endpoint(orphan.clone()));
    backup.push(RegistryRecord::Application(stolen.clone()));
    let imported = stage.import(&backup).await;
    let wanted = Imported {
        stored: 2,
        kept: 1,
        orphans: 1,
        without_uid: 1,
    };
    assert_eq!(imported, wanted);
    assert_eq!(stage.app_by_uid(org, "acme").await, Some(successor));
    let back = stage.app(org, app.id).await.expect("it is back");
    assert_eq!(back.uid, None, "the uid stays with its new owner");
    assert_eq!(stage.endpoint(app.id, full.id).await, Some(full.clone()));
    assert_eq!(stage.endpoint(orphan.app, orphan.id).await, None);
    assert_eq!(stage.app(stolen.org, stolen.id).await, None);

    let version = stage.version(&back).await;
    let renamed = Endpoint {
        uid: Some(uid("renamed")),
        ..full.clone()
    };
    let registry = stage.registry();
    registry.put_endpoint(renamed, Some(version)).await.unwrap();
    let mut second = stage.an_endpoint(app.id);
    second.uid = full.uid.clone();
    let second = stage.put_new_endpoint(second).await;
    let imported = stage
        .import(&[RegistryRecord::Endpoint(full.clone())])
        .await;
    assert_eq!((imported.stored, imported.without_uid), (1, 1));
    let found = stage.endpoint_by_uid(app.id, "primary_1.a-b").await;
    assert_eq!(found, Some(second));
    assert_eq!(
        stage.endpoint_by_uid(app.id, "renamed").await,
        None,
        "a uid that the record gave up leads nowhere"
    );
}

/// Caches cannot know what an import changed.
pub async fn everybody_is_told_that_it_is_complete(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let app = stage.create_app(org, None).await;
    let joined = fixture.join().await;
    let mut registries = vec![stage.registry()];
    registries.extend(joined.map(|ports| ports.registry));
    let mut waiting = Vec::new();
    for registry in registries {
        let cursor = registry.cursor().await.unwrap();
        waiting.push(tokio::spawn(soon("everything to be told", async move {
            let mut changes = registry.changed(cursor).await.unwrap();
            while changes.apps.is_some() {
                changes = registry.changed(changes.cursor).await.unwrap();
            }
        })));
    }
    stage.touch_app(&app).await;
    stage.registry().declare_complete().await.unwrap();
    for waiter in waiting {
        waiter.await.unwrap();
    }
    let found = stage.app(org, app.id).await.expect("nothing is lost by it");
    assert_eq!(found.id, app.id);
}
