use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use postrider_backends::embedded::{Embedded, OpenError, Options};
use postrider_core::Timestamp;
use postrider_core::name::DocumentName;
use postrider_core::ports::{DocumentKind, Owner, Place, Ports, TrialKey};
use rusqlite::Connection;

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(dir, Options::small())
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).unwrap_err()
}

#[tokio::test]
async fn a_second_opening_is_refused_and_told_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    assert!(!text.contains('\n'));
    first.close().await;
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn the_lock_goes_with_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let ports = open(dir.path()).unwrap().ports();
    assert!(matches!(refusal(dir.path()), OpenError::Locked { .. }));
    drop(ports);
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn directory_and_files_are_for_the_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep/data");
    let open = open(&dir).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in [
        "postrider.db",
        "postrider.db-wal",
        "postrider.db-shm",
        "LOCK",
    ] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    open.close().await;
    let left: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left.len(),
        2,
        "a clean end leaves the database and the lock file alone: {left:?}"
    );
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().await;
    let file = dir.path().join("postrider.db");
    Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = refusal(dir.path());
    assert!(
        matches!(error, OpenError::TooNew { found: 99, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("newer release"), "{error}");
}

#[tokio::test]
async fn a_file_of_the_first_format_is_brought_to_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().await;
    Connection::open(dir.path().join("postrider.db"))
        .unwrap()
        .execute_batch("DROP TABLE trial; DROP TABLE document; PRAGMA user_version = 1")
        .unwrap();
    let Ports {
        limits, documents, ..
    } = open(dir.path()).unwrap().ports();
    let now = Timestamp::from_millis(1_700_000_000_000);
    let end = now + std::time::Duration::from_secs(60);
    let begun = limits.begin_trial(now, TrialKey([7; 16]), end).await;
    assert_eq!(begun.unwrap(), 1);
    let place = Place {
        owner: Owner::Installation,
        kind: DocumentKind::Task,
    };
    let name = DocumentName::new("a").unwrap();
    assert_eq!(documents.get(now, place, &name).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postrider.db");
    let other = Connection::open(&file).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(other);
    let before = fs::read(&file).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotOurs { .. }));
    assert_eq!(fs::read(&file).unwrap(), before);
    fs::write(
        &file,
        "a shopping list, longer than the head of a database file is, so that it is read as one",
    )
    .unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotOurs { .. }));
}

#[tokio::test]
async fn a_damaged_file_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().await;
    let file = dir.path().join("postrider.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..8192].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_no_directory_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    let error = refusal(&path.join("below"));
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
}

#[tokio::test]
async fn closing_twice_is_closing_once_and_everything_fails_after() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path()).unwrap();
    let ports = embedded.ports();
    embedded.close().await;
    embedded.close().await;
    for probe in [
        ports.broker.probe().await,
        ports.registry.probe().await,
        ports.log.probe().await,
        ports.dead_letters.probe().await,
        ports.limits.probe().await,
    ] {
        probe.unwrap_err();
    }
}
