//! Writers that die in the middle, and what they leave behind.

use std::sync::Arc;
use std::time::Duration;

use postrider_backends::redis::RedisRegistry;
use postrider_core::id::AppId;
use postrider_core::ports::{AppKey, Registry, RegistryError};
use redis::cmd;
use tokio::sync::Barrier;
use tokio::time::Instant;

use super::scene::{Scene, new_app, new_endpoint, soon, told, uid, until};
use crate::support::Kind;

/// Within a second, as promised, and some time for a busy machine.
const BOUND: Duration = Duration::from_millis(1_500);

pub(super) async fn changes_are_told_where_notices_are_lost(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let deaf = Arc::new(RedisRegistry::deaf(scene.installation.place.server()));
    // Who has just begun to follow may be told that anything has changed.
    let cursor = deaf.cursor().await.unwrap();
    scene.create_endpoint(app.id).await;
    told(&deaf, cursor, app.id, 0).await;
    let mut delays = Vec::new();
    for _ in 0..5 {
        let cursor = deaf.cursor().await.unwrap();
        let waiting = tokio::spawn({
            let (deaf, app) = (Arc::clone(&deaf), app.id);
            async move {
                let by_name = told(&deaf, cursor, app, 0).await;
                (by_name, Instant::now())
            }
        });
        scene.create_endpoint(app.id).await;
        let changed = Instant::now();
        let (by_name, noticed) = waiting.await.unwrap();
        assert!(by_name);
        delays.push(noticed.saturating_duration_since(changed));
    }
    delays.sort();
    assert!(delays[2] <= BOUND, "{delays:?}");
    assert!(
        delays[4] > Duration::from_millis(20),
        "no notice can have come: {delays:?}"
    );
}

/// With notices nobody waits for the next look: most are told long before one could have been due.
pub(super) async fn notices_are_heard(kind: Kind) {
    const CHANGES: usize = 10;
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let follower = scene.connect();
    let mut cursor = follower.cursor().await.unwrap();
    until("it to listen", async || scene.raw.listeners().await > 0).await;
    let mut quick = 0;
    for _ in 0..CHANGES {
        let version = scene.create_endpoint(app.id).await.created_version;
        let changed = Instant::now();
        assert!(told(&follower, cursor, app.id, version).await);
        quick += usize::from(changed.elapsed() < Duration::from_millis(100));
        cursor = follower.cursor().await.unwrap();
    }
    assert!(quick > CHANGES / 2, "{quick} of {CHANGES}");
}

/// What a writer leaves that dies after its record is stored, and before that is told.
async fn store_and_die(scene: &Scene, app: AppId) -> u64 {
    let raw = &scene.raw;
    let version = raw.version().await + 1;
    let _: String = raw
        .run(cmd("SET").arg(raw.installation("rversion")).arg(version))
        .await;
    note_intent(scene, app, version).await;
    let _: i64 = raw
        .run(cmd("HSET").arg(raw.app(app, "r")).arg("v").arg(version))
        .await;
    version
}

async fn note_intent(scene: &Scene, app: AppId, version: u64) {
    let raw = &scene.raw;
    let member = [&app.as_bytes()[..], version.to_string().as_bytes()].concat();
    let mut note = cmd("ZADD");
    note.arg(raw.installation("rintents"));
    note.arg(raw.millis().await).arg(member);
    let _: i64 = raw.run(&note).await;
}

async fn open_intents(scene: &Scene) -> usize {
    let intents = scene.raw.installation("rintents");
    scene.raw.run(cmd("ZCARD").arg(intents)).await
}

pub(super) async fn a_change_is_told_though_its_writer_died(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let followers = [scene.connect(), scene.connect()];
    let mut cursors = Vec::new();
    for follower in &followers {
        cursors.push(follower.cursor().await.unwrap());
    }
    let version = store_and_die(&scene, app.id).await;
    for (follower, cursor) in followers.iter().zip(cursors) {
        assert!(told(follower, cursor, app.id, version).await);
    }
    until("the intent to be closed", async || {
        open_intents(&scene).await == 0
    })
    .await;
    let found = scene.app(app.id).await.unwrap();
    assert_eq!(found.version, version, "nothing was changed by it");
}

/// Nothing is left of a creation that never came to its record, and nothing stands in the way of it.
pub(super) async fn a_creation_that_was_only_begun_is_nothing(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.application(None);
    note_intent(&scene, app.id, scene.raw.version().await).await;
    assert_eq!(scene.app(app.id).await, None);
    until("the intent to be closed", async || {
        open_intents(&scene).await == 0
    })
    .await;
    assert_eq!(scene.app(app.id).await, None);
    let created = scene.registry.put_application(app, None).await.unwrap();
    assert_eq!(scene.app(created.id).await, Some(created));
}

/// Whoever was fenced off begins again.
pub(super) async fn a_writer_that_was_too_slow_takes_another_version(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let fence = (scene.raw.millis().await + 50) * 1_024;
    let mut fencing = cmd("HSET");
    fencing.arg(scene.raw.app(app.id, "r")).arg("f").arg(fence);
    let _: i64 = scene.raw.run(&fencing).await;
    let endpoint = scene.create_endpoint(app.id).await;
    assert!(endpoint.created_version > fence);
    assert_eq!(open_intents(&scene).await, 0, "no try is left open");
}

async fn claim(scene: &Scene, name: &str, app: AppId, version: u64) {
    let raw = &scene.raw;
    let rest = format!("{version} {}", raw.millis().await);
    let claim = [&app.as_bytes()[..], rest.as_bytes()].concat();
    let mut claiming = cmd("HSET");
    claiming.arg(raw.org(scene.org, "ru")).arg(name).arg(claim);
    let _: i64 = raw.run(&claiming).await;
}

pub(super) async fn a_claim_that_was_left_behind_is_taken_over(kind: Kind) {
    let scene = Scene::open(kind).await;
    let app = scene.create_app(Some("former")).await;
    // Of one who died before writing: some time is given to whoever may still be at it.
    let ghost = new_app();
    let version = scene.raw.version().await + 1_000;
    claim(&scene, "ghost", ghost, version).await;
    assert_eq!(
        scene.by_uid("ghost").await,
        None,
        "a claim alone is nothing"
    );
    let started = Instant::now();
    let heir = soon(
        "the claim to be taken over",
        scene.create_app(Some("ghost")),
    )
    .await;
    assert!(started.elapsed() >= Duration::from_secs(1), "not at once");
    assert_eq!(scene.by_uid("ghost").await, Some(heir.id));
    let fence: Option<u64> = scene
        .raw
        .run(cmd("HGET").arg(scene.raw.app(ghost, "r")).arg("f"))
        .await;
    assert_eq!(fence, Some(version), "its writer cannot come back with it");

    // Of those who can never write it any more: at once.
    claim(&scene, "refused", app.id, app.version).await;
    let gone = scene.create_app(None).await;
    scene
        .registry
        .delete_application(scene.org, gone.id)
        .await
        .unwrap();
    claim(&scene, "deleted", gone.id, gone.version).await;
    let started = Instant::now();
    for name in ["refused", "deleted"] {
        let heir = scene.create_app(Some(name)).await;
        assert_eq!(scene.by_uid(name).await, Some(heir.id));
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(scene.by_uid("former").await, Some(app.id));
}

/// Two processes, one version: exactly one wins, time and again.
pub(super) async fn two_processes_never_both_win(kind: Kind) {
    const ROUNDS: usize = 150;
    let scene = Scene::open(kind).await;
    let first = scene.create_app(None).await;
    let start = Arc::new(Barrier::new(2));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (registry, start) = (scene.connect(), Arc::clone(&start));
            let app = first.clone();
            tokio::spawn(async move {
                let mut wins = Vec::new();
                for round in 0..ROUNDS {
                    let key = AppKey::Id(app.id);
                    let found = registry.application(app.org, &key).await.unwrap();
                    let mut found = found.unwrap();
                    let expect = Some(found.version);
                    start.wait().await;
                    let won = if (round + writer) % 2 == 0 {
                        found.name = format!("{writer} {round}");
                        let put = registry.put_application(found, expect).await;
                        put.map(drop)
                    } else {
                        let uid = uid(&format!("of-{round}"));
                        let mut other = found.clone();
                        other.uid = Some(uid);
                        registry.put_application(other, expect).await.map(drop)
                    };
                    match won {
                        Ok(()) => wins.push(round),
                        Err(RegistryError::Stale) => {}
                        Err(other) => panic!("{other}"),
                    }
                    start.wait().await;
                }
                wins
            })
        })
        .collect();
    let mut wins = Vec::new();
    for writer in writers {
        wins.extend(writer.await.unwrap());
    }
    wins.sort_unstable();
    assert_eq!(wins, (0..ROUNDS).collect::<Vec<_>>(), "one a round");
    let last = scene.app(first.id).await.unwrap();
    if let Some(uid) = &last.uid {
        assert_eq!(scene.by_uid(uid.as_str()).await, Some(last.id));
    }
    for round in 0..ROUNDS {
        let name = format!("of-{round}");
        if last.uid != Some(uid(&name)) {
            assert_eq!(scene.by_uid(&name).await, None, "it was given up");
        }
    }
    let claims = scene.raw.org(scene.org, "ru");
    let claims: usize = scene.raw.run(cmd("HLEN").arg(claims)).await;
    assert_eq!(claims, usize::from(last.uid.is_some()), "no claim is left");
}

/// Two requests give one application the same uid: one of them is refused, and must not take the claim along.
pub(super) async fn a_refused_writer_leaves_the_claim_of_the_other(kind: Kind) {
    const ROUNDS: usize = 100;
    let scene = Scene::open(kind).await;
    let mut app = scene.create_app(None).await;
    let registries = [scene.connect(), scene.connect()];
    for round in 0..ROUNDS {
        let name = format!("of-{round}");
        app.uid = Some(uid(&name));
        let start = Arc::new(Barrier::new(2));
        let writers = registries.clone().map(|registry| {
            let (app, start) = (app.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                registry
                    .put_application(app.clone(), Some(app.version))
                    .await
            })
        });
        let mut stored = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                Ok(won) => stored.push(won),
                Err(RegistryError::Stale) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(stored.len(), 1, "one of them wins");
        app = stored.remove(0);
        assert_eq!(scene.by_uid(&name).await, Some(app.id), "round {round}");
        let rival = scene.application(Some(&name));
        let taken = scene.registry.put_application(rival, None).await;
        assert!(matches!(taken, Err(RegistryError::UidTaken)), "{taken:?}");
    }
}

/// A uid changes hands between applications that two processes write.
pub(super) async fn a_uid_never_has_two_owners(kind: Kind) {
    const ROUNDS: usize = 60;
    let scene = Scene::open(kind).await;
    let apps = [scene.create_app(None).await, scene.create_app(None).await];
    let writers: Vec<_> = apps
        .iter()
        .map(|app| {
            let (registry, app) = (scene.connect(), app.clone());
            tokio::spawn(async move {
                let mut app = app;
                let mut held = 0;
                for _ in 0..ROUNDS {
                    app.uid = Some(uid("contested"));
                    match registry
                        .put_application(app.clone(), Some(app.version))
                        .await
                    {
                        Ok(stored) => {
                            let key = AppKey::Uid(uid("contested"));
                            let owner = registry.application(app.org, &key).await.unwrap();
                            assert_eq!(owner.map(|owner| owner.id), Some(app.id));
                            app = stored;
                            app.uid = None;
                            let given = registry.put_application(app.clone(), Some(app.version));
                            app = given.await.unwrap();
                            held += 1;
                        }
                        Err(RegistryError::UidTaken) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                held
            })
        })
        .collect();
    for writer in writers {
        assert!(writer.await.unwrap() > 0, "both had it at some time");
    }
    assert_eq!(scene.by_uid("contested").await, None);
}

pub(super) async fn what_runs_in_the_background_ends_with_the_registry(kind: Kind) {
    let scene = Scene::open(kind).await;
    let other = scene.connect();
    assert!(other.snapshot(new_app()).await.unwrap().is_none());
    let listening = async || scene.raw.listeners().await;
    until("it to listen", async || listening().await == 1).await;
    drop(other);
    until("it to be gone", async || listening().await == 0).await;
    assert!(scene.registry.snapshot(new_app()).await.unwrap().is_none());
    until("the other to listen", async || listening().await == 1).await;
    scene.registry.close();
    until("it to be gone", async || listening().await == 0).await;
    scene.app(new_app()).await;
    assert_eq!(listening().await, 0, "closed stays closed");
}

/// How long a snapshot takes and what it weighs is printed.
#[expect(clippy::print_stderr, reason = "figures for whoever runs it by hand")]
pub(super) async fn ten_thousand_endpoints_fit_into_one_application(kind: Kind) {
    use postrider_core::ports::RegistryRecord;
    const ENDPOINTS: usize = 10_000;
    let scene = Scene::open(kind).await;
    let app = scene.create_app(None).await;
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|_| RegistryRecord::Endpoint(new_endpoint(app.id)))
        .collect();
    let started = Instant::now();
    for portion in endpoints.chunks(2_000) {
        let imported = scene.registry.import(portion.to_vec()).await.unwrap();
        assert_eq!(imported.stored, portion.len());
    }
    let imported = started.elapsed();
    let started = Instant::now();
    let snapshot = scene.registry.snapshot(app.id).await.unwrap().unwrap();
    let read = started.elapsed();
    assert_eq!(snapshot.endpoints.len(), ENDPOINTS);
    assert!(snapshot.endpoints.is_sorted_by_key(|endpoint| endpoint.id));
    let one = new_endpoint(app.id);
    let started = Instant::now();
    scene.registry.put_endpoint(one, None).await.unwrap();
    let put = started.elapsed();
    let hash = scene.raw.memory(&scene.raw.app(app.id, "r")).await;
    let index = scene.raw.memory(&scene.raw.app(app.id, "ri")).await;
    eprintln!(
        "{kind:?}, {ENDPOINTS} endpoints: imported in {imported:?}, snapshot {read:?}, one more {put:?}; \
         {} + {} bytes each",
        hash / ENDPOINTS,
        index / ENDPOINTS
    );
}
