//! Documents: one table. What has ended goes as others are written.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_core::name::DocumentName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    Document, Documents, Expect, NewDocument, Owner, Place, PortError, Probe, next_version,
};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::columns::{Result, optional_time, parsed};
use super::engine::Engine;
use super::paging::Walk;

/// Ended documents that one write removes.
const SWEPT: u32 = 16;

#[derive(Debug)]
pub(super) struct EmbeddedDocuments {
    engine: Arc<Engine>,
}

impl EmbeddedDocuments {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

/// The kind, then the owner: none is the installation.
fn key(place: Place) -> Vec<u8> {
    let mut key = vec![place.kind as u8];
    if let Owner::Org(org) = place.owner {
        key.extend_from_slice(org.as_bytes());
    }
    key
}

fn read(row: &Row<'_>) -> Result<Document> {
    let name: String = row.get(0)?;
    Ok(Document {
        name: parsed("the name of a document", DocumentName::new(&name))?,
        version: row.get::<_, i64>(1)?.cast_unsigned(),
        until: optional_time(row, 2)?,
        body: row.get(3)?,
    })
}

/// As it is stored, be it over or not.
fn find(connection: &Connection, place: Place, name: &DocumentName) -> Result<Option<Document>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, version, until, body FROM document WHERE place = ?1 AND name = ?2",
    )?;
    let mut rows = statement.query((key(place), name.as_str()))?;
    rows.next()?.map(read).transpose()
}

fn lives(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until > now)
}

fn get(
    connection: &Connection,
    now: Timestamp,
    place: Place,
    name: &DocumentName,
) -> Result<Option<Document>> {
    let found = find(connection, place, name)?;
    Ok(found.filter(|document| lives(document.until, now)))
}

fn list(
    connection: &Connection,
    now: Timestamp,
    place: Place,
    walk: &Walk,
) -> Result<Slice<Document>> {
    let clause = walk.clause("name");
    let sql = format!(
        "SELECT name, version, until, body FROM document \
         WHERE place = :place AND (until IS NULL OR until > :now) AND {clause}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = named_params! {
        ":place": key(place), ":now": now.as_millis(), ":from": walk.from(), ":until": walk.until(),
        ":rows": walk.row_limit()
    };
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(walk.slice(found))
}

fn put(
    connection: &Connection,
    now: Timestamp,
    place: Place,
    document: &NewDocument,
    expect: Expect,
) -> Result<Option<u64>> {
    let there = connection
        .prepare_cached("SELECT version, until FROM document WHERE place = ?1 AND name = ?2")?
        .query_row((key(place), document.name.as_str()), |row| {
            let version = row.get::<_, i64>(0)?.cast_unsigned();
            Ok((version, optional_time(row, 1)?))
        })
        .optional()?;
    let living = there.filter(|(_, until)| lives(*until, now));
    if !expect.is_met_by(living.map(|(version, _)| version)) {
        return Ok(None);
    }
    let version = next_version(there.map(|(version, _)| version), now);
    connection
        .prepare_cached(
            "INSERT INTO document (place, name, version, until, body) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (place, name) DO UPDATE SET version = ?3, until = ?4, body = ?5",
        )?
        .execute(params![
            key(place),
            document.name.as_str(),
            version.cast_signed(),
            document.until.map(Timestamp::as_millis),
            document.body,
        ])?;
    sweep(connection, now)?;
    Ok(Some(version))
}

fn sweep(connection: &Connection, now: Timestamp) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM document WHERE n IN (SELECT n FROM document WHERE until <= ?1 ORDER BY until LIMIT ?2)",
        )?
        .execute((now.as_millis(), SWEPT))?;
    Ok(())
}

fn delete(
    connection: &Connection,
    now: Timestamp,
    place: Place,
    name: &DocumentName,
) -> Result<bool> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM document WHERE place = ?1 AND name = ?2 AND (until IS NULL OR until > ?3)",
        )?
        .execute((key(place), name.as_str(), now.as_millis()))?;
    Ok(deleted > 0)
}

#[async_trait]
impl Documents for EmbeddedDocuments {
    async fn get(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> std::result::Result<Option<Document>, PortError> {
        let name = name.clone();
        self.engine
            .prompt
            .read(move |connection| get(connection, now, place, &name))
            .await
    }

    async fn get_some(
        &self,
        now: Timestamp,
        place: Place,
        names: &[DocumentName],
    ) -> std::result::Result<Vec<Document>, PortError> {
        let names = names.to_vec();
        self.engine
            .prompt
            .read(move |connection| {
                let found = names.iter().map(|name| get(connection, now, place, name));
                found.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn list(
        &self,
        now: Timestamp,
        place: Place,
        page: Page<DocumentName>,
    ) -> std::result::Result<Slice<Document>, PortError> {
        let walk = Walk::new(&page);
        self.engine
            .readers
            .read(move |connection| list(connection, now, place, &walk))
            .await
    }

    async fn put(
        &self,
        now: Timestamp,
        place: Place,
        document: NewDocument,
        expect: Expect,
    ) -> std::result::Result<Option<u64>, PortError> {
        document.check()?;
        self.engine
            .writer
            .write(move |connection| put(connection, now, place, &document, expect))
            .await
    }

    async fn delete(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> std::result::Result<bool, PortError> {
        let name = name.clone();
        self.engine
            .writer
            .write(move |connection| delete(connection, now, place, &name))
            .await
    }
}

#[async_trait]
impl Probe for EmbeddedDocuments {
    async fn probe(&self) -> std::result::Result<(), PortError> {
        self.engine.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Embedded, Options};
    use postrider_core::ports::DocumentKind;
    use postrider_core::samples::NOW;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Callers are asked after by single documents, however much others read.
    #[tokio::test]
    async fn a_single_document_does_not_wait_for_lists() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::small();
        let lists = options.readers;
        let embedded = Embedded::open(dir.path(), options).unwrap();
        let (mut ends, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..lists {
            let (end, wait) = mpsc::sync_channel::<()>(1);
            ends.push(end);
            let engine = Arc::clone(&embedded.engine);
            let list = async move {
                let wait = move |_: &Connection| Ok(wait.recv().is_err());
                engine.readers.read(wait).await
            };
            busy.push(tokio::spawn(list));
        }
        let place = Place {
            owner: Owner::Installation,
            kind: DocumentKind::Revocation,
        };
        let names = [DocumentName::new("a").unwrap()];
        let documents = embedded.ports().documents;
        let asked = async {
            documents.get(NOW, place, &names[0]).await.unwrap();
            documents.get_some(NOW, place, &names).await.unwrap();
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
        drop(ends);
        asked.unwrap();
        for list in busy {
            assert!(list.await.unwrap().unwrap());
        }
    }
}
