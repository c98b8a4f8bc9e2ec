//! Several processes put back what each of them wrote, in any order: it ends as if nothing had been lost.

use postrider_backends::redis::RedisRegistry;
use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::{AppId, EndpointId};
use postrider_core::ports::Registry;
use redis::cmd;

use super::frozen::Frozen;
use super::scene::{Scene, event_type, new_endpoint, until};
use crate::support::Kind;

async fn put(registry: &RedisRegistry, endpoint: Endpoint) -> Endpoint {
    registry.put_endpoint(endpoint, None).await.unwrap()
}

async fn patch(registry: &RedisRegistry, endpoint: &Endpoint, description: &str) -> Endpoint {
    let mut changed = endpoint.clone();
    changed.description = description.to_owned();
    let there = registry.snapshot(endpoint.app).await.unwrap().unwrap();
    let expect = Some(there.version());
    registry.put_endpoint(changed, expect).await.unwrap()
}

/// A state to go back to, and how far an application was then that is going to change.
struct Saved {
    state: Vec<(String, Vec<u8>)>,
    app: AppId,
    version: Option<u64>,
}

async fn save(scene: &Scene, app: AppId) -> Saved {
    Saved {
        state: scene.raw.save().await,
        app,
        version: version(scene, app).await,
    }
}

/// Goes back, and waits until somebody has put something of the application back.
async fn go_back_until_healed(scene: &Scene, saved: &Saved) {
    scene.raw.go_back_to(&saved.state).await;
    until("somebody to put something back", async || {
        version(scene, saved.app).await > saved.version
    })
    .await;
}

async fn version(scene: &Scene, app: AppId) -> Option<u64> {
    let mut get = cmd("HGET");
    get.arg(scene.raw.app(app, "r")).arg("v");
    scene.raw.run(&get).await
}

async fn seen(registry: &RedisRegistry, app: AppId) -> Option<AppSnapshot> {
    registry.snapshot(app).await.ok().flatten()
}

async fn until_there(registry: &RedisRegistry, endpoint: &Endpoint) {
    until("a lost endpoint to be there again", async || {
        let found = seen(registry, endpoint.app).await;
        found.is_some_and(|found| {
            found.endpoint(endpoint.id).map(|found| &**found) == Some(endpoint)
        })
    })
    .await;
}

async fn until_well(registry: &RedisRegistry) {
    until("the registry to be well", async || {
        registry.snapshot(super::scene::new_app()).await.is_ok()
    })
    .await;
}

async fn has(registry: &RedisRegistry, app: AppId, endpoint: EndpointId) -> bool {
    let found = registry.snapshot(app).await.unwrap().unwrap();
    found.endpoint(endpoint).is_some()
}

pub(super) async fn two_put_back_what_they_wrote_into_one_application(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let other = Frozen::new(&scene);
    let saved = save(&scene, app.id).await;
    let first = other.thaw(async |other| put(other, new_endpoint(app.id)).await);
    let second = scene.create_endpoint(app.id).await;
    go_back_until_healed(&scene, &saved).await;
    other.thaw(async |other| {
        until_there(other, &first).await;
        until_there(other, &second).await;
    });
}

pub(super) async fn a_deletion_outlives_an_older_change_that_is_put_back(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let endpoint = scene.create_endpoint(app.id).await;
    let other = Frozen::new(&scene);
    let saved = save(&scene, app.id).await;
    patch(&scene.registry, &endpoint, "changed").await;
    other.thaw(async |other| {
        assert!(other.delete_endpoint(app.id, endpoint.id).await.unwrap());
    });
    go_back_until_healed(&scene, &saved).await;
    other.thaw(async |other| {
        until("it to be deleted again", async || {
            let found = seen(other, app.id).await;
            found.is_some_and(|found| found.endpoint(endpoint.id).is_none())
        })
        .await;
    });
}

pub(super) async fn a_deletion_that_is_put_back_first_stays(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let endpoint = scene.create_endpoint(app.id).await;
    let other = Frozen::new(&scene);
    let saved = save(&scene, app.id).await;
    other.thaw(async |other| patch(other, &endpoint, "changed").await);
    let kept = other.thaw(async |other| put(other, new_endpoint(app.id)).await);
    let deleted = scene.registry.delete_endpoint(app.id, endpoint.id).await;
    assert!(deleted.unwrap());
    go_back_until_healed(&scene, &saved).await;
    other.thaw(async |other| until_there(other, &kept).await);
    assert!(!has(&scene.registry, app.id, endpoint.id).await);
}

pub(super) async fn a_deleted_application_is_not_made_of_older_changes(kind: Kind) {
    let scene = Scene::open(kind).await;
    let other = Frozen::new(&scene);
    let marker = scene.create_app(None).await;
    let saved = save(&scene, marker.id).await;
    // Neither the application nor its deletion is there any more; who deleted it is the first to put things back.
    let sample = scene.application(None);
    let app = other.thaw(async |other| other.put_application(sample, None).await.unwrap());
    other.thaw(async |other| put(other, new_endpoint(app.id)).await);
    let late = other.thaw(async |other| put(other, new_endpoint(marker.id)).await);
    let deleted = scene.registry.delete_application(scene.org, app.id).await;
    assert!(deleted.unwrap());
    scene.raw.go_back_to(&saved.state).await;
    until("the deletion to be put back", async || {
        let mut trace = cmd("HGET");
        trace.arg(scene.raw.app(app.id, "r")).arg("d");
        let trace: Option<u64> = scene.raw.run(&trace).await;
        trace.is_some()
    })
    .await;
    other.thaw(async |other| until_there(other, &late).await);
    until_well(&scene.registry).await;
    assert!(scene.registry.snapshot(app.id).await.unwrap().is_none());
}

pub(super) async fn an_endpoint_waits_for_its_application(kind: Kind) {
    let scene = Scene::open(kind).await;
    let other = Frozen::new(&scene);
    let marker = scene.create_app(None).await;
    let saved = save(&scene, marker.id).await;
    let sample = scene.application(Some("acme"));
    let app = other.thaw(async |other| other.put_application(sample, None).await.unwrap());
    let endpoint = scene.create_endpoint(app.id).await;
    scene.create_endpoint(marker.id).await;
    // By then the one who wrote the endpoint has tried.
    go_back_until_healed(&scene, &saved).await;
    other.thaw(async |other| until_there(other, &endpoint).await);
    until_well(&scene.registry).await;
    assert_eq!(scene.by_uid("acme").await, Some(app.id));
}

pub(super) async fn what_was_put_back_may_be_lost_again(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let saved = save(&scene, app.id).await;
    let endpoint = scene.create_endpoint(app.id).await;
    for _ in 0..2 {
        go_back_until_healed(&scene, &saved).await;
    }
    until_there(&scene.registry, &endpoint).await;
}

/// Who puts back late does not undo what was changed since the registry went on.
pub(super) async fn later_changes_are_not_undone(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let [changed, deleted] = [
        scene.create_endpoint(app.id).await,
        scene.create_endpoint(app.id).await,
    ];
    let other = Frozen::new(&scene);
    let saved = save(&scene, app.id).await;
    other.thaw(async |other| patch(other, &changed, "before").await);
    other.thaw(async |other| patch(other, &deleted, "before").await);
    let late = other.thaw(async |other| put(other, new_endpoint(app.id)).await);
    scene.create_endpoint(app.id).await;
    go_back_until_healed(&scene, &saved).await;
    until_well(&scene.registry).await;
    let changed = patch(&scene.registry, &changed, "after").await;
    let deletion = scene.registry.delete_endpoint(app.id, deleted.id).await;
    assert!(deletion.unwrap());
    let there = scene.registry.snapshot(app.id).await.unwrap().unwrap();
    let renamed = Application {
        name: "after".to_owned(),
        ..there.app
    };
    let expect = Some(renamed.version);
    scene
        .registry
        .put_application(renamed, expect)
        .await
        .unwrap();
    other.thaw(async |other| {
        until_there(other, &late).await;
        until_there(other, &changed).await;
    });
    assert!(!has(&scene.registry, app.id, deleted.id).await);
    assert_eq!(scene.app(app.id).await.unwrap().name, "after");
}

pub(super) async fn event_types_are_put_back_in_their_order(kind: Kind) {
    let scene = Scene::open(kind).await;
    let other = Frozen::new(&scene);
    let registry = &scene.registry;
    let marker = scene.create_app(None).await;
    let mut types = Vec::new();
    for name in ["changed", "deleted"] {
        let kind = event_type(scene.org, name);
        types.push(registry.put_event_type(kind, None).await.unwrap());
    }
    let saved = save(&scene, marker.id).await;
    for kind in &mut types {
        kind.description = "first".to_owned();
        let expect = Some(kind.version);
        *kind = registry.put_event_type(kind.clone(), expect).await.unwrap();
    }
    let mut changed = types[0].clone();
    changed.description = "second".to_owned();
    other.thaw(async |other| {
        let expect = Some(changed.version);
        other.put_event_type(changed, expect).await.unwrap();
        let deleted = other.delete_event_type(scene.org, &types[1].name).await;
        assert!(deleted.unwrap());
    });
    put(registry, new_endpoint(marker.id)).await;
    scene.raw.go_back_to(&saved.state).await;
    until("the earlier changes to be put back", async || {
        let mut get = cmd("HGET");
        get.arg(scene.raw.org(scene.org, "rt")).arg("deleted");
        let there: Vec<u8> = scene.raw.run(&get).await;
        there.windows(5).any(|text| text == b"first")
    })
    .await;
    other.thaw(async |other| {
        until("the later changes to be there", async || {
            let changed = other.event_type(scene.org, &types[0].name).await;
            let deleted = other.event_type(scene.org, &types[1].name).await;
            let changed = changed.ok().flatten();
            changed.is_some_and(|kind| kind.description == "second")
                && deleted.is_ok_and(|kind| kind.is_none())
        })
        .await;
    });
}
