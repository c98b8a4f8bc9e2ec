//! A registry goes on by itself, whatever part of it was lost and whoever is gone.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::id::OrgId;
use postrider_core::ports::{ExportCursor, Probe, Registry, RegistryRecord};
use postrider_core::registry_cache::RegistryCache;
use postrider_core::samples;
use redis::cmd;

use super::frozen::Frozen;
use super::scene::{Scene, event_type, is_unavailable, new_app, new_endpoint, told, until};
use crate::support::Kind;

/// Versions follow the clock: after the next change the version does not tell any more that others were lost.
pub(super) async fn a_rewind_that_was_written_over_is_found_out(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let follower = Frozen::new(&scene);
    follower.thaw(async |follower| follower.cursor().await.unwrap());
    // It remembers what is saved, and hears of nothing from now on.
    scene.registry.close();
    let saved = scene.raw.save().await;
    let lost = follower.thaw(async |follower| {
        let cursor = follower.cursor().await.unwrap();
        let endpoint = new_endpoint(app.id);
        let lost = follower.put_endpoint(endpoint, None).await.unwrap();
        assert!(told(follower, cursor, app.id, lost.created_version).await);
        lost
    });
    scene.raw.go_back_to(&saved).await;
    let written = scene.create_endpoint(app.id).await;
    assert!(written.created_version > lost.created_version);
    follower.thaw(async |follower| {
        until("both to be there", async || {
            let found = follower.snapshot(app.id).await.ok().flatten();
            found.is_some_and(|found| {
                [&lost, &written].iter().all(|endpoint| {
                    let there = found.endpoint(endpoint.id);
                    there.is_some_and(|there| there.created_version == endpoint.created_version)
                })
            })
        })
        .await;
    });
}

pub(super) async fn nobody_waits_for_a_version_that_nobody_remembers(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let cache = RegistryCache::new(Arc::clone(&scene.registry) as Arc<dyn Registry>);
    let accepted = app.version + 1_000_000;
    assert!(is_unavailable(cache.app(app.id, accepted).await));
    until(
        "the application to reach what events wait for",
        async || {
            let found = cache.app(app.id, accepted).await;
            found.is_ok_and(|found| found.is_some_and(|found| found.version() >= accepted))
        },
    )
    .await;
}

/// In a Cluster one master may go back while the counter of versions does not.
pub(super) async fn what_cannot_be_read_does_not_keep_the_rest_from_being_put_back(kind: Kind) {
    let scene = Scene::open(kind).await;
    let raw = &scene.raw;
    let app = scene.create_app(None).await;
    let endpoint = scene.create_endpoint(app.id).await;
    let damaged_app = new_app();
    let damaged = raw.app(damaged_app, "r");
    let (): () = raw.run(cmd("SET").arg(&damaged).arg("?")).await;
    let mut intent = cmd("ZADD");
    intent.arg(raw.installation("rintents")).arg(0);
    let _: i64 = raw
        .run(intent.arg([&damaged_app.as_bytes()[..], b"1"].concat()))
        .await;

    let hash = raw.app(app.id, "r");
    let field = [b"e", &endpoint.id.as_bytes()[..]].concat();
    let _: i64 = raw.run(cmd("HDEL").arg(&hash).arg(field)).await;
    let _: i64 = raw.run(cmd("DEL").arg(raw.app(app.id, "ri"))).await;
    let _: i64 = raw
        .run(cmd("HSET").arg(&hash).arg("v").arg(app.version))
        .await;
    until("the endpoint to be put back", async || {
        let found = scene.registry.snapshot(app.id).await;
        found.is_ok_and(|found| found.is_some_and(|found| found.endpoint(endpoint.id).is_some()))
    })
    .await;
}

pub(super) async fn an_event_type_is_in_the_next_backup_wherever_its_writer_dies(kind: Kind) {
    const DEATHS: u32 = 60;
    let scene = Scene::open(kind).await;
    for death in 0..DEATHS {
        let org = OrgId::new(samples::NOW, rand::random());
        let kind = event_type(org, "order.paid");
        let registry = Arc::clone(&scene.registry);
        let writing = async move { registry.put_event_type(kind, None).await };
        let lifetime = Duration::from_micros(u64::from(death) * 50);
        // Whatever was not sent by then is not sent any more.
        let _ = tokio::time::timeout(lifetime, writing).await;
        let stored: bool = scene
            .raw
            .run(cmd("EXISTS").arg(scene.raw.org(org, "rt")))
            .await;
        let mut listed = cmd("ZSCORE");
        listed
            .arg(scene.raw.installation("rorgs"))
            .arg(org.as_bytes().as_slice());
        let listed: Option<u64> = scene.raw.run(&listed).await;
        assert!(!stored || listed.is_some(), "death {death}");
    }
}

/// Where an operator says that nothing is to be kept, nobody goes on asking for what was there.
pub(super) async fn an_operator_ends_what_processes_remember(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    scene.raw.flush().await;
    assert!(is_unavailable(scene.registry.snapshot(app.id).await));
    let operator = scene.connect();
    assert!(operator.found_anew().await.unwrap());
    assert!(!operator.found_anew().await.unwrap(), "there is one by now");
    scene.registry.probe().await.unwrap();
    assert!(scene.registry.snapshot(app.id).await.unwrap().is_none());
    let exported = scene
        .registry
        .export(&ExportCursor::Start, 10)
        .await
        .unwrap();
    assert_eq!(exported.records, Vec::<RegistryRecord>::new());
}
