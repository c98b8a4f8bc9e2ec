//! Losing Redis, wholly or in part, must not look as if there were nothing.

use std::time::Duration;

use postrider_backends::redis::{Options, RedisRegistry, Server};
use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::OrgId;
use postrider_core::matching::matches;
use postrider_core::ports::{
    AppKey, EndpointKey, ExportCursor, PortError, Probe, Registry, RegistryRecord,
};
use postrider_core::samples;
use redis::cmd;

use super::scene::{
    Scene, all, assert_unavailable, event_type, is_unavailable, new_app, new_endpoint, port_error,
    soon, told, uid, until,
};
use crate::support::Kind;

async fn furnish(scene: &Scene) -> (Application, Endpoint, EventType) {
    let app = scene.create_app(Some("acme")).await;
    let endpoint = scene.create_endpoint(app.id).await;
    let kind = event_type(scene.org, "order.paid");
    let kind = scene.registry.put_event_type(kind, None).await.unwrap();
    let app = scene.app(app.id).await.unwrap();
    (app, endpoint, kind)
}

pub(super) async fn without_an_epoch_nothing_is_told(kind: Kind) {
    let scene = Scene::open(kind).await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    let gone = scene.create_app(None).await;
    scene
        .registry
        .delete_application(scene.org, gone.id)
        .await
        .unwrap();
    let newcomer = scene.connect();
    scene.raw.delete(&scene.raw.installation("repoch")).await;
    // Not even the first question after it is answered "there is none", and from then on nothing is answered.
    assert!(is_unavailable(scene.registry.snapshot(gone.id).await));
    for registry in [&scene.registry, &newcomer] {
        assert_unavailable(registry, &app, &endpoint, &event_type).await;
    }
    let text = newcomer.probe().await.unwrap_err().to_string();
    assert!(text.contains("postrider registry import"), "{text}");
    assert!(text.contains("postrider registry init"), "{text}");
}

pub(super) async fn a_registry_that_never_was_is_unavailable(kind: Kind) {
    let scene = Scene::open(kind).await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    scene.raw.flush().await;
    let newcomer = scene.connect();
    assert_unavailable(&newcomer, &app, &endpoint, &event_type).await;
    assert!(newcomer.found().await.unwrap());
    assert!(!newcomer.found().await.unwrap(), "there is one by now");
    newcomer.probe().await.unwrap();
    assert!(newcomer.snapshot(app.id).await.unwrap().is_none());
    // Who remembers another one does not believe that there is nothing.
    assert_unavailable(&scene.registry, &app, &endpoint, &event_type).await;
}

/// Emptied while a read is under way: whatever it finds or does not find, never "there is none".
pub(super) async fn a_flush_is_never_told_as_emptiness(kind: Kind) {
    for _ in 0..5 {
        let scene = Scene::open(kind).await;
        let app = scene.create_app(Some("acme")).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (registry, app) = (scene.connect(), app.clone());
                tokio::spawn(async move {
                    let mut looks = 0;
                    loop {
                        match registry.snapshot(app.id).await {
                            Ok(found) => assert!(found.is_some(), "after {looks} looks"),
                            Err(_) => return,
                        }
                        let page = registry.applications(app.org, all()).await;
                        match page {
                            Ok(page) => assert_eq!(page.items.len(), 1, "after {looks} looks"),
                            Err(_) => return,
                        }
                        looks += 1;
                    }
                })
            })
            .collect();
        scene.raw.flush().await;
        for reader in readers {
            soon("readers to notice", reader).await.unwrap();
        }
    }
}

/// In a Cluster one master of several may lose everything, while the others go on.
pub(super) async fn a_part_that_is_lost_does_not_look_empty(kind: Kind) {
    let scene = Scene::open(kind).await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    let other = scene.create_app(Some("other")).await;
    let registry = &scene.registry;
    scene.raw.delete(&scene.raw.app(app.id, "r")).await;
    scene.raw.delete(&scene.raw.app(app.id, "ri")).await;
    let by_uid = AppKey::Uid(uid("acme"));
    let found = registry.application(scene.org, &by_uid).await;
    assert!(is_unavailable(found));
    for (method, refused) in refusals_of_one(registry, &app, &endpoint).await {
        assert!(refused, "{method} answers as if everything were there");
    }
    assert_eq!(scene.app(other.id).await, Some(other.clone()));

    for part in ["r", "ra", "ru", "rt", "rn"] {
        scene.raw.delete(&scene.raw.org(scene.org, part)).await;
    }
    assert!(is_unavailable(
        registry.applications(scene.org, all()).await
    ));
    assert!(is_unavailable(
        registry.event_types(scene.org, true, all()).await
    ));
    assert!(is_unavailable(
        registry.event_type(scene.org, &event_type.name).await
    ));
    let key = AppKey::Uid(uid("other"));
    assert!(is_unavailable(registry.application(scene.org, &key).await));
    assert_eq!(scene.app(other.id).await, Some(other));
}

/// The same of what concerns one application, and creates nothing.
async fn refusals_of_one(
    registry: &RedisRegistry,
    app: &Application,
    endpoint: &Endpoint,
) -> Vec<(&'static str, bool)> {
    let (org, id) = (app.org, app.id);
    let key = AppKey::Id(id);
    let its_id = EndpointKey::Id(endpoint.id);
    let its_uid = EndpointKey::Uid(uid("acme"));
    let version = Some(app.version);
    let replaced = registry.put_application(app.clone(), version).await;
    let created = registry.put_endpoint(endpoint.clone(), None).await;
    let changed = registry.put_endpoint(endpoint.clone(), version).await;
    let deleted = registry.delete_application(org, id).await;
    let removed = registry.delete_endpoint(id, endpoint.id).await;
    vec![
        (
            "application",
            is_unavailable(registry.application(org, &key).await),
        ),
        (
            "applications",
            is_unavailable(registry.applications(org, all()).await),
        ),
        ("replace", is_unavailable(replaced.map_err(port_error))),
        ("delete", is_unavailable(deleted)),
        ("snapshot", is_unavailable(registry.snapshot(id).await)),
        (
            "endpoint",
            is_unavailable(registry.endpoint(id, &its_id).await),
        ),
        (
            "endpoint by uid",
            is_unavailable(registry.endpoint(id, &its_uid).await),
        ),
        (
            "endpoints",
            is_unavailable(registry.endpoints(id, all()).await),
        ),
        (
            "create endpoint",
            is_unavailable(created.map_err(port_error)),
        ),
        (
            "replace endpoint",
            is_unavailable(changed.map_err(port_error)),
        ),
        ("delete endpoint", is_unavailable(removed)),
        (
            "export",
            is_unavailable(registry.export(&ExportCursor::Start, 100).await),
        ),
    ]
}

/// A backup, everything gone, the backup put back: what was accepted before is delivered.
pub(super) async fn a_lost_registry_is_put_back(kind: Kind) {
    let scene = Scene::open(kind).await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    let backup = scene.export().await;
    assert_eq!(backup.len(), 3);
    for _ in 0..3 {
        scene.create_endpoint(app.id).await;
    }
    let mut event = samples::event();
    event.registry_version = scene.app(app.id).await.unwrap().version;
    let follower = scene.connect();
    let cursor = follower.cursor().await.unwrap();
    let seen = scene.raw.version().await;

    scene.raw.flush().await;
    assert_unavailable(&scene.registry, &app, &endpoint, &event_type).await;
    let operator = scene.connect();
    let imported = operator.import(backup.clone()).await.unwrap();
    assert_eq!((imported.stored, imported.kept), (3, 0));
    assert!(
        is_unavailable(scene.registry.snapshot(new_app()).await),
        "a part of the backup is not the whole"
    );
    operator.declare_complete().await.unwrap();

    for registry in [&scene.registry, &follower, &operator] {
        registry.probe().await.unwrap();
        let snapshot = registry.snapshot(app.id).await.unwrap().unwrap();
        assert!(snapshot.version() > seen, "versions do not come again");
        assert!(snapshot.version() >= event.registry_version);
        let found = snapshot.endpoint(endpoint.id).unwrap();
        assert!(matches(found, &event), "what was accepted before matches");
        assert!(registry.snapshot(new_app()).await.unwrap().is_none());
    }
    let changes = soon("everything to be told", async {
        loop {
            // A follower is told of the loss first.
            if let Ok(changes) = follower.changed(cursor).await {
                return changes;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(changes.await.apps, None, "anything may have changed");
    assert_eq!(scene.by_uid("acme").await, Some(app.id));
    let names = |records: &[RegistryRecord]| {
        let of = |record: &RegistryRecord| match record {
            RegistryRecord::EventType(kind) => kind.name.to_string(),
            RegistryRecord::Application(app) => app.id.to_string(),
            RegistryRecord::Endpoint(endpoint) => endpoint.id.to_string(),
        };
        records.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(names(&scene.export().await), names(&backup));
}

/// The last second is gone: nothing is told of the time before it, and those who wrote it write it again.
pub(super) async fn a_registry_that_went_back_is_mended(kind: Kind) {
    let scene = Scene::open(kind).await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    let doomed = scene.create_app(Some("doomed")).await;
    let follower = scene.connect();
    follower.snapshot(app.id).await.unwrap().unwrap();
    let saved = scene.raw.save().await;

    let second = scene.connect();
    let born = second
        .put_application(scene.application(Some("born")), None)
        .await
        .unwrap();
    let late = scene.create_endpoint(app.id).await;
    let registry = &scene.registry;
    assert!(registry.delete_endpoint(app.id, endpoint.id).await.unwrap());
    assert!(
        second
            .delete_application(scene.org, doomed.id)
            .await
            .unwrap()
    );
    let mut changed = event_type.clone();
    changed.description = "changed".to_owned();
    let expect = Some(event_type.version);
    let changed = registry.put_event_type(changed, expect).await.unwrap();
    let reached = scene.app(app.id).await.unwrap().version;
    let cursor = follower.cursor().await.unwrap();

    scene.raw.go_back_to(&saved).await;
    for registry in [registry, &second, &follower] {
        assert!(
            is_unavailable(registry.snapshot(born.id).await),
            "what was there a moment ago is not said not to be"
        );
    }
    assert_unavailable(registry, &app, &late, &event_type).await;
    until("the registry to be mended", async || {
        follower.snapshot(new_app()).await.is_ok()
    })
    .await;
    let snapshot = follower.snapshot(app.id).await.unwrap().unwrap();
    assert!(snapshot.version() > reached, "events wait for {reached}");
    assert_eq!(
        snapshot.endpoint(late.id).map(|found| &**found),
        Some(&late),
        "with the version at which it began"
    );
    assert!(snapshot.endpoint(endpoint.id).is_none());
    let found = follower.snapshot(born.id).await.unwrap().unwrap();
    assert_eq!(found.app.uid, born.uid);
    assert_eq!(scene.by_uid("born").await, Some(born.id));
    assert!(follower.snapshot(doomed.id).await.unwrap().is_none());
    assert_eq!(scene.by_uid("doomed").await, None);
    let kind = registry.event_type(scene.org, &event_type.name).await;
    assert_eq!(kind.unwrap().unwrap().description, changed.description);
    let changes = soon("caches to be told", async {
        loop {
            if let Ok(changes) = follower.changed(cursor).await {
                return changes;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(changes.await.apps, None);
}

/// What was there for long is not lost by a restart: somebody put an old state there, and has to decide.
pub(super) async fn an_old_state_is_not_gone_on_with(kind: Kind) {
    let scene = Scene::open(kind).await;
    let founded = scene.raw.version().await;
    let (app, endpoint, event_type) = furnish(&scene).await;
    // Longer than the time after which a change counts as durable, then longer than it takes to mend a restart.
    tokio::time::sleep(Duration::from_secs(12)).await;
    scene.app(app.id).await;
    let mut rewind = cmd("SET");
    rewind.arg(scene.raw.installation("rversion")).arg(founded);
    let (): () = scene.raw.run(&rewind).await;
    assert!(is_unavailable(scene.registry.snapshot(new_app()).await));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_unavailable(&scene.registry, &app, &endpoint, &event_type).await;
    let text = scene.registry.probe().await.unwrap_err().to_string();
    assert!(text.contains("old state"), "{text}");
    scene.connect().declare_complete().await.unwrap();
    scene.registry.probe().await.unwrap();
    assert_eq!(scene.app(app.id).await, Some(app));
}

/// Whoever wrote it is gone as well: nothing waits for ever for a version that was told.
pub(super) async fn nobody_waits_for_what_is_lost_for_good(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let follower = scene.connect();
    let cursor = follower.cursor().await.unwrap();
    let saved = scene.raw.save().await;
    let lost = scene.create_endpoint(app.id).await.created_version;
    told(&follower, cursor, app.id, lost).await;
    let Scene { registry, raw, .. } = scene;
    drop(registry);
    raw.go_back_to(&saved).await;
    until("the application to reach what was told", async || {
        let found = follower.snapshot(app.id).await;
        found.is_ok_and(|found| found.unwrap().version() >= lost)
    })
    .await;
}

/// A process that starts while Redis is away says so, and does not turn in circles.
#[tokio::test]
async fn redis_out_of_reach_is_unavailable() {
    let options = Options {
        connect_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let server = Server::new("redis://127.0.0.1:1", options).unwrap();
    let registry = RedisRegistry::new(server);
    let app = samples::application(OrgId::MIN, new_app());
    let endpoint = new_endpoint(app.id);
    let event_type = event_type(OrgId::MIN, "order.paid");
    assert_unavailable(&registry, &app, &endpoint, &event_type).await;
    assert!(is_unavailable(
        registry
            .import(vec![RegistryRecord::Application(app)])
            .await
    ));
    assert!(is_unavailable(registry.declare_complete().await));
    assert!(is_unavailable(registry.found().await));
}

pub(super) async fn what_cannot_be_read_is_said_to_be_corrupt(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let key = scene.raw.app(app.id, "r");
    let mut damage = cmd("HSET");
    damage.arg(&key).arg("a").arg(b"\x07damaged".as_slice());
    let _: i64 = scene.raw.run(&damage).await;
    let error = scene.registry.snapshot(app.id).await.unwrap_err();
    assert!(
        matches!(&error, PortError::Corrupt { part: "registry", cause } if cause.contains("application")),
        "{error}"
    );
}
