//! Pair records of version 1, as the embedded store holds them: `tests/golden/pairs-embedded-v1.sql`.

#[path = "../golden/pairs.rs"]
mod pairs;

use std::path::Path;

use postrider_backends::embedded::{Embedded, Options};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use self::pairs::{CHANGED, cases, write};
use postrider_core::samples::NOW;

const GOLDEN: &str = include_str!("../golden/pairs-embedded-v1.sql");

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join("postrider.db")).unwrap()
}

/// The rows of the table as statements that would put them there.
fn rows(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT * FROM pair ORDER BY n").unwrap();
    let columns = statement.column_names().collect::<Vec<_>>().join(", ");
    let count = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut told = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values = (0..count).map(|at| literal(row.get_ref(at).unwrap()));
        let values = values.collect::<Vec<_>>().join(", ");
        told.push(format!("INSERT INTO pair ({columns}) VALUES ({values});"));
    }
    told
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}'")
        }
        other => panic!("no pair has that: {other:?}"),
    }
}

#[tokio::test]
async fn pair_records_of_version_1_are_read_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Embedded::open(dir.path(), Options::small()).unwrap();
    open().close().await;
    database(dir.path()).execute_batch(GOLDEN).unwrap();
    let limits = open().ports().limits;
    for case in cases() {
        let found = limits.pair(NOW, case.pair).await.unwrap();
        assert_eq!(found, Some(case.record), "{} is not read", case.name);
    }
}

#[tokio::test]
async fn pair_records_are_written_as_they_always_were() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
    for case in cases() {
        write(&*embedded.ports().limits, NOW, &case).await;
    }
    embedded.close().await;
    let golden = GOLDEN.lines().filter(|line| !line.starts_with("--"));
    let found = rows(&database(dir.path()));
    for (case, (found, golden)) in cases().iter().zip(found.iter().zip(golden)) {
        assert_eq!(found, golden, "{} {CHANGED}", case.name);
    }
    assert_eq!(found.len(), cases().len());
}
