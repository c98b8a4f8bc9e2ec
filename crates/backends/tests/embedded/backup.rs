use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_backends::embedded::{BackupError, Embedded, OpenError, Options, backup_directory};
use postrider_core::id::MessageId;

use super::{drain, item, together};

const WRITERS: usize = 8;

/// Publishes one item after the other until told to stop; returns which were there before and after it began.
async fn write_meanwhile(embedded: &Embedded, stop: Arc<AtomicBool>) -> Vec<Vec<MessageId>> {
    let broker = embedded.ports().broker;
    together(WRITERS, |_| {
        let (broker, stop) = (Arc::clone(&broker), Arc::clone(&stop));
        async move {
            let mut published = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let item = item(2_000);
                published.push(item.event.message);
                broker
                    .publish(postrider_core::samples::NOW, vec![item])
                    .await
                    .unwrap();
            }
            published
        }
    })
    .await
}

async fn restored(copy: &std::path::Path) -> Vec<MessageId> {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(copy, dir.path().join("postrider.db")).unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    drain(&*embedded.ports().broker, 500).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_live_directory_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let broker = embedded.ports().broker;
    let mut before = HashSet::new();
    for _ in 0..200 {
        let item = item(2_000);
        before.insert(item.event.message);
        broker
            .publish(postrider_core::samples::NOW, vec![item])
            .await
            .unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (embedded, stop) = (embedded.clone(), Arc::clone(&stop));
        async move { write_meanwhile(&embedded, stop).await }
    });
    let targets = tempfile::tempdir().unwrap();
    let [own, foreign] = ["own.db", "foreign.db"].map(|name| targets.path().join(name));
    embedded.backup(&own).await.unwrap();
    // As another process would, which does not hold the lock.
    backup_directory(dir.path(), &foreign).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let meanwhile = writing.await.unwrap();

    for copy in [&own, &foreign] {
        let found: HashSet<_> = restored(copy).await.into_iter().collect();
        assert!(
            before.is_subset(&found),
            "what was there before is in the copy"
        );
        for published in &meanwhile {
            let mut missed = published
                .iter()
                .skip_while(|message| found.contains(message));
            assert!(
                missed.all(|message| !found.contains(message)),
                "the copy is of one moment"
            );
        }
    }
    let left: Vec<_> = fs::read_dir(targets.path()).unwrap().collect();
    assert_eq!(
        left.len(),
        2,
        "nothing but the copies is left behind: {left:?}"
    );
}

#[tokio::test]
async fn an_existing_file_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    let to = dir.path().join("copy");
    fs::write(&to, "mine").unwrap();
    let error = embedded.backup(&to).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists(_)), "{error}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
}

#[tokio::test]
async fn there_is_no_backup_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("copy");
    let error = backup_directory(dir.path(), &to).await.unwrap_err();
    assert!(
        matches!(error, BackupError::Source(OpenError::Database { .. })),
        "{error:?}"
    );
    assert!(!to.exists());
}
