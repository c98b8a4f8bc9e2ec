//! What is deleted and what is lost are told apart, whatever order things happen in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_backends::redis::RedisRegistry;
use postrider_core::application::Application;
use postrider_core::id::AppId;
use postrider_core::ports::{ExportCursor, Registry, RegistryRecord};
use redis::cmd;
use tokio::sync::Barrier;

use super::scene::{Scene, is_unavailable, new_endpoint, soon, told, uid, until};
use crate::support::Kind;

/// An intent that nobody ends for a while.
async fn hold_intent(scene: &Scene, app: AppId) {
    let raw = &scene.raw;
    let version = raw.version().await;
    let member = [&app.as_bytes()[..], version.to_string().as_bytes()].concat();
    let mut note = cmd("ZADD");
    note.arg(raw.installation("rintents"));
    note.arg(raw.millis().await + 60_000).arg(member);
    let _: i64 = raw.run(&note).await;
}

async fn registered(scene: &Scene) -> usize {
    let apps = scene.raw.installation("rapps");
    scene.raw.run(cmd("ZCARD").arg(apps)).await
}

async fn open_intents(scene: &Scene) -> usize {
    let intents = scene.raw.installation("rintents");
    scene.raw.run(cmd("ZCARD").arg(intents)).await
}

/// What a deletion does to the application's slot, and no more.
async fn delete_in_its_slot(scene: &Scene, app: AppId, version: u64) {
    let raw = &scene.raw;
    raw.delete(&raw.app(app, "r")).await;
    let mut trace = cmd("HSET");
    trace.arg(raw.app(app, "r")).arg("d").arg(version);
    let _: i64 = raw.run(&trace).await;
}

pub(super) async fn what_is_lost_does_not_look_deleted_while_it_is_changed(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(Some("acme")).await;
    scene.create_endpoint(app.id).await;
    hold_intent(&scene, app.id).await;
    scene.raw.delete(&scene.raw.app(app.id, "r")).await;
    for _ in 0..3 {
        assert!(is_unavailable(scene.registry.snapshot(app.id).await));
    }
    let export = scene.registry.export(&ExportCursor::Start, 10).await;
    assert!(is_unavailable(export));
    // Nor does anybody else get its uid, however often it is tried.
    let mut rival = scene.application(Some("acme"));
    rival.uid = Some(uid("acme"));
    for _ in 0..2 {
        let taken = scene.registry.put_application(rival.clone(), None).await;
        assert!(taken.is_err(), "{taken:?}");
    }
}

pub(super) async fn a_deletion_that_was_never_ended_is_ended(kind: Kind) {
    let scene = Scene::open(kind).await;
    let gone = scene.create_app(None).await;
    let other = scene.create_app(None).await;
    delete_in_its_slot(&scene, gone.id, gone.version + 1).await;
    let exported = scene.export().await;
    assert_eq!(exported, [RegistryRecord::Application(other)]);
    assert!(scene.registry.snapshot(gone.id).await.unwrap().is_none());
    assert_eq!(registered(&scene).await, 1);
    assert_eq!(open_intents(&scene).await, 0);
}

/// The client asks again after a broken connection, and hears that there is nothing to be deleted.
pub(super) async fn a_deletion_that_is_repeated_is_told(kind: Kind) {
    let scene = Scene::open(kind).await;
    let follower = scene.connect();
    let registry = &scene.registry;

    // Nobody came in between: the trace is that of the very change.
    let app = scene.create_app(None).await;
    let next = (scene.raw.millis().await + 10_000) * 1_024;
    let counter = scene.raw.installation("rversion");
    let _: String = scene.raw.run(cmd("SET").arg(counter).arg(next - 1)).await;
    delete_in_its_slot(&scene, app.id, next).await;
    let cursor = follower.cursor().await.unwrap();
    assert!(
        registry
            .delete_application(scene.org, app.id)
            .await
            .unwrap()
    );
    told(&follower, cursor, app.id, next).await;
    assert_eq!(registered(&scene).await, 0);

    // Somebody did.
    let app = scene.create_app(None).await;
    let version = app.version + 1;
    delete_in_its_slot(&scene, app.id, version).await;
    let cursor = follower.cursor().await.unwrap();
    assert!(
        !registry
            .delete_application(scene.org, app.id)
            .await
            .unwrap()
    );
    told(&follower, cursor, app.id, version).await;
    assert_eq!(registered(&scene).await, 0);

    let app = scene.create_app(None).await;
    let endpoint = new_endpoint(app.id);
    let cursor = follower.cursor().await.unwrap();
    assert!(!registry.delete_endpoint(app.id, endpoint.id).await.unwrap());
    told(&follower, cursor, app.id, app.version).await;
}

/// Of an update and a deletion at once the one that ends last need not be the newer one.
pub(super) async fn existence_is_told_in_the_order_of_changes(kind: Kind) {
    const ROUNDS: usize = 100;
    let scene = Scene::open(kind).await;
    let [updating, deleting] = [scene.connect(), scene.connect()];
    for round in 0..ROUNDS {
        let app = scene.create_app(Some(&format!("of-{round}"))).await;
        let hash = scene.raw.app(app.id, "r");
        let start = Arc::new(Barrier::new(2));
        let update = tokio::spawn(update(Arc::clone(&updating), app.clone(), start.clone()));
        start.wait().await;
        // Once the update is stored, and before it is told: it releases its former uid in between.
        until("the update to be stored", async || {
            let stored: Option<u64> = scene.raw.run(cmd("HGET").arg(&hash).arg("v")).await;
            stored != Some(app.version)
        })
        .await;
        let deleted = deleting.delete_application(scene.org, app.id).await;
        assert!(deleted.unwrap());
        update.await.unwrap();
        assert_eq!(registered(&scene).await, 0, "round {round}");
    }
    until("nothing to be open", async || {
        open_intents(&scene).await == 0
    })
    .await;
    let stated = scene.raw.installation("rstated");
    let stated: usize = scene.raw.run(cmd("ZCARD").arg(stated)).await;
    assert_eq!(stated, 0, "what no open change can gainsay is forgotten");
}

async fn update(registry: Arc<RedisRegistry>, app: Application, start: Arc<Barrier>) {
    start.wait().await;
    let expect = Some(app.version);
    let app = Application { uid: None, ..app };
    registry.put_application(app, expect).await.unwrap();
}

/// Another epoch begins while changes are under way: they are all told, and all in the next backup.
pub(super) async fn changes_survive_an_import_in_the_middle(kind: Kind) {
    const IMPORTS: usize = 30;
    let scene = Scene::open(kind).await;
    let operator = scene.connect();
    let writers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(churn(scene.connect(), scene.application(None))))
        .collect();
    for _ in 0..IMPORTS {
        operator.declare_complete().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut there = BTreeSet::new();
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    until("all changes to be ended", async || {
        open_intents(&scene).await == 0
    })
    .await;
    let apps = scene.raw.all_apps().await;
    for app in apps {
        if scene.registry.snapshot(app).await.unwrap().is_some() {
            there.insert(app);
        }
    }
    let exported = soon("an export", scene.export()).await;
    let exported: BTreeSet<_> = exported
        .iter()
        .map(|record| match record {
            RegistryRecord::Application(app) => app.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(exported, there);
    assert_eq!(registered(&scene).await, there.len());
}

/// Creates applications and deletes every other one.
async fn churn(registry: Arc<RedisRegistry>, sample: Application) {
    for round in 0.. {
        let app = Application {
            id: super::scene::new_app(),
            ..sample.clone()
        };
        let id = app.id;
        let _ = registry.put_application(app, None).await;
        if round % 2 == 0 {
            let _ = registry.delete_application(sample.org, id).await;
        }
    }
}
