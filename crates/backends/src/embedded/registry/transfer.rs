//! Exporting everything, and putting it back.

use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId};
use postrider_core::ports::{EndpointKey, ExportCursor, Exported, Imported, RegistryRecord};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::embedded::columns::Result;

/// At most `limit` records behind `from`.
pub(super) fn export(
    connection: &Connection,
    from: &ExportCursor,
    limit: usize,
) -> Result<Exported> {
    let limit = limit.max(1);
    // The rows of a portion must be of one moment: an endpoint without its application would be an orphan.
    let transaction = connection.unchecked_transaction()?;
    let mut portion = Portion {
        connection: &transaction,
        records: Vec::new(),
        limit,
    };
    let app = match from {
        ExportCursor::Start => portion.event_types(&[], "")?,
        ExportCursor::EventType(org, name) => portion.event_types(org.as_bytes(), name.as_str())?,
        ExportCursor::Application(app) => portion.endpoints(*app, EndpointId::MIN)?,
        ExportCursor::Endpoint(app, endpoint) => portion.endpoints(*app, *endpoint)?,
    };
    portion.apps(&app)?;
    let full = portion.records.len() == limit;
    let next = portion.records.last().filter(|_| full).map(behind);
    Ok(Exported {
        records: portion.records,
        next,
    })
}

fn behind(record: &RegistryRecord) -> ExportCursor {
    match record {
        RegistryRecord::EventType(kind) => ExportCursor::EventType(kind.org, kind.name.clone()),
        RegistryRecord::Application(app) => ExportCursor::Application(app.id),
        RegistryRecord::Endpoint(endpoint) => ExportCursor::Endpoint(endpoint.app, endpoint.id),
    }
}

struct Portion<'c> {
    connection: &'c Connection,
    records: Vec<RegistryRecord>,
    limit: usize,
}

impl Portion<'_> {
    fn room(&self) -> i64 {
        i64::try_from(self.limit - self.records.len()).unwrap_or(i64::MAX)
    }

    /// Returns behind which application to go on: before the first.
    fn event_types(&mut self, org: &[u8], name: &str) -> Result<Vec<u8>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT record, version FROM event_type WHERE (org, name) > (?1, ?2) ORDER BY org, name LIMIT ?3",
        )?;
        let found = statement.query_map(params![org, name, self.room()], rows::read_record)?;
        for row in found {
            let event_type = rows::event_type_of(row?)?;
            self.records.push(RegistryRecord::EventType(event_type));
        }
        Ok(Vec::new())
    }

    /// Returns behind which application to go on: this one.
    fn endpoints(&mut self, app: AppId, behind: EndpointId) -> Result<Vec<u8>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT record, created_version FROM endpoint WHERE app = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?;
        let values = params![app.as_bytes(), behind.as_bytes(), self.room()];
        for row in statement.query_map(values, rows::read_record)? {
            let endpoint = rows::endpoint_of(row?)?;
            self.records.push(RegistryRecord::Endpoint(endpoint));
        }
        Ok(app.as_bytes().to_vec())
    }

    fn apps(&mut self, behind: &[u8]) -> Result<()> {
        let mut behind = behind.to_vec();
        while self.room() > 0 {
            let mut statement = self.connection.prepare_cached(
                "SELECT record, version FROM application WHERE id > ?1 ORDER BY id LIMIT 1",
            )?;
            let found = statement
                .query_row([&behind], rows::read_record)
                .optional()?;
            let Some(app) = found.map(rows::application_of).transpose()? else {
                return Ok(());
            };
            let id = app.id;
            self.records.push(RegistryRecord::Application(app));
            behind = self.endpoints(id, EndpointId::MIN)?;
        }
        Ok(())
    }
}

/// Puts records back; returns what became of them.
pub(super) fn import(connection: &Connection, records: &[RegistryRecord]) -> Result<Imported> {
    let newest = records.iter().map(RegistryRecord::version).max();
    rows::raise(connection, newest.unwrap_or(0))?;
    let mut imported = Imported::default();
    for record in records {
        match record {
            RegistryRecord::EventType(event_type) => {
                import_event_type(connection, event_type, &mut imported)?;
            }
            RegistryRecord::Application(app) => import_app(connection, app, &mut imported)?,
            RegistryRecord::Endpoint(endpoint) => {
                import_endpoint(connection, endpoint, &mut imported)?;
            }
        }
    }
    Ok(imported)
}

fn import_event_type(
    connection: &Connection,
    event_type: &EventType,
    imported: &mut Imported,
) -> Result<()> {
    let found = rows::event_type(connection, event_type.org, &event_type.name)?;
    if found.is_some_and(|found| found.updated_at > event_type.updated_at) {
        imported.kept += 1;
        return Ok(());
    }
    let mut event_type = event_type.clone();
    event_type.version = rows::bump(connection)?;
    rows::write_event_type(connection, &event_type)?;
    imported.stored += 1;
    Ok(())
}

fn import_app(connection: &Connection, app: &Application, imported: &mut Imported) -> Result<()> {
    let newer = |found: &Application| found.updated_at > app.updated_at;
    let found = rows::application_anywhere(connection, app.id)?;
    if found.is_some_and(|found| found.org != app.org || newer(&found)) {
        imported.kept += 1;
        return Ok(());
    }
    let mut app = app.clone();
    if rows::app_uid_taken(connection, &app)? {
        app.uid = None;
        imported.without_uid += 1;
    }
    app.version = rows::bump(connection)?;
    rows::write_application(connection, &app)?;
    imported.stored += 1;
    Ok(())
}

fn import_endpoint(
    connection: &Connection,
    endpoint: &Endpoint,
    imported: &mut Imported,
) -> Result<()> {
    if rows::app_version(connection, endpoint.app)? == 0 {
        imported.orphans += 1;
        return Ok(());
    }
    let found = rows::endpoint(connection, endpoint.app, &EndpointKey::Id(endpoint.id))?;
    if found.is_some_and(|found| found.updated_at > endpoint.updated_at) {
        imported.kept += 1;
        return Ok(());
    }
    let mut endpoint = endpoint.clone();
    if rows::endpoint_uid_taken(connection, &endpoint)? {
        endpoint.uid = None;
        imported.without_uid += 1;
    }
    rows::bump_application(connection, endpoint.app)?;
    rows::write_endpoint(connection, &endpoint)?;
    imported.stored += 1;
    Ok(())
}
