//! The statements of the registry. A change looks first, and writes only what it then knows it may.

use std::sync::Arc;

use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::{EventTypeName, Uid};
use postrider_core::page::Slice;
use postrider_core::ports::{AppKey, EndpointKey, ValidatingTypes};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{Changed, Refusal};
use crate::embedded::columns::{Result, from_json, to_json};
use crate::embedded::error::StoreError;
use crate::embedded::paging::Walk;

type Put<T> = Result<Changed<std::result::Result<T, Refusal>>>;

/// Where the counter of versions stands.
pub(in crate::embedded) fn version(connection: &Connection) -> Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM counter WHERE name = 'version'")?;
    Ok(statement
        .query_row([], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

/// The next version.
pub(in crate::embedded) fn bump(connection: &Connection) -> Result<u64> {
    let mut statement = connection.prepare_cached(
        "UPDATE counter SET value = value + 1 WHERE name = 'version' RETURNING value",
    )?;
    Ok(statement
        .query_row([], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

/// Makes the next version one above `floor`, where it is not above it already.
pub(super) fn raise(connection: &Connection, floor: u64) -> Result<()> {
    connection
        .prepare_cached("UPDATE counter SET value = max(value, ?1) WHERE name = 'version'")?
        .execute([stored(floor)])?;
    Ok(())
}

/// An application's version, 0 where there is no such application.
pub(in crate::embedded) fn app_version(connection: &Connection, app: AppId) -> Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT version FROM application WHERE id = ?1")?;
    let found = statement
        .query_row([app.as_bytes()], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(found.unwrap_or(0).unsigned_abs())
}

fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

// --- applications ---

pub(super) fn read_record(row: &Row<'_>) -> rusqlite::Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

pub(super) fn application_of((record, version): (String, i64)) -> Result<Application> {
    let mut app: Application = from_json("the record of an application", &record)?;
    app.version = version.unsigned_abs();
    Ok(app)
}

pub(super) fn application(
    connection: &Connection,
    org: OrgId,
    key: &AppKey,
) -> Result<Option<Application>> {
    let found = match key {
        AppKey::Id(id) => connection
            .prepare_cached("SELECT record, version FROM application WHERE org = ?1 AND id = ?2")?
            .query_row((org.as_bytes(), id.as_bytes()), read_record),
        AppKey::Uid(uid) => connection
            .prepare_cached("SELECT record, version FROM application WHERE org = ?1 AND uid = ?2")?
            .query_row((org.as_bytes(), uid.as_str()), read_record),
    };
    found.optional()?.map(application_of).transpose()
}

/// The application with this identifier, whosever it is.
pub(super) fn application_anywhere(
    connection: &Connection,
    id: AppId,
) -> Result<Option<Application>> {
    let found = connection
        .prepare_cached("SELECT record, version FROM application WHERE id = ?1")?
        .query_row([id.as_bytes()], read_record);
    found.optional()?.map(application_of).transpose()
}

pub(super) fn applications(
    connection: &Connection,
    org: OrgId,
    walk: &Walk,
) -> Result<Slice<Application>> {
    let clause = walk.clause("id");
    let sql = format!("SELECT record, version FROM application WHERE org = :org AND {clause}");
    let mut statement = connection.prepare_cached(&sql)?;
    let values = named_params! { ":org": org.as_bytes(), ":from": walk.from(), ":until": walk.until(), ":rows": walk.row_limit() };
    let found = statement.query_map(values, read_record)?;
    let apps = found
        .map(|row| application_of(row?))
        .collect::<Result<_>>()?;
    Ok(walk.slice(apps))
}

pub(super) fn put_application(
    connection: &Connection,
    app: &Application,
    expect: Option<u64>,
) -> Put<Application> {
    if let Some(refusal) = refuse_application(connection, app, expect)? {
        return Ok(Changed::nothing(Err(refusal)));
    }
    let mut app = app.clone();
    app.version = bump(connection)?;
    write_application(connection, &app)?;
    Ok(Changed::app(app.id, app.version, Ok(app)))
}

pub(super) fn write_application(connection: &Connection, app: &Application) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO application (id, org, uid, version, record) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET uid = ?3, version = ?4, record = ?5",
        )?
        .execute(params![
            app.id.as_bytes(),
            app.org.as_bytes(),
            app.uid.as_ref().map(Uid::as_str),
            stored(app.version),
            to_json(app)?
        ])?;
    Ok(())
}

fn refuse_application(
    connection: &Connection,
    app: &Application,
    expect: Option<u64>,
) -> Result<Option<Refusal>> {
    let found = connection
        .prepare_cached("SELECT org = ?2, version FROM application WHERE id = ?1")?
        .query_row((app.id.as_bytes(), app.org.as_bytes()), |row| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })
        .optional()?;
    Ok(match (found, expect) {
        (Some(_), None) => Some(Refusal::Exists),
        (None, Some(_)) | (Some((false, _)), Some(_)) => Some(Refusal::Stale),
        (Some((true, version)), Some(expect)) if version != expect => Some(Refusal::Stale),
        _ if app_uid_taken(connection, app)? => Some(Refusal::UidTaken),
        _ => None,
    })
}

pub(super) fn app_uid_taken(connection: &Connection, app: &Application) -> Result<bool> {
    let Some(uid) = &app.uid else {
        return Ok(false);
    };
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM application WHERE org = ?1 AND uid = ?2 AND id <> ?3")?;
    Ok(statement.exists((app.org.as_bytes(), uid.as_str(), app.id.as_bytes()))?)
}

pub(super) fn delete_application(
    connection: &Connection,
    org: OrgId,
    app: AppId,
) -> Result<Changed<bool>> {
    let deleted = connection
        .prepare_cached("DELETE FROM application WHERE id = ?1 AND org = ?2")?
        .execute((app.as_bytes(), org.as_bytes()))?;
    if deleted == 0 {
        return Ok(Changed::nothing(false));
    }
    connection
        .prepare_cached("DELETE FROM endpoint WHERE app = ?1")?
        .execute([app.as_bytes()])?;
    Ok(Changed::app(app, bump(connection)?, true))
}

pub(super) fn snapshot(connection: &Connection, app: AppId) -> Result<Option<AppSnapshot>> {
    // The application and its endpoints must be of one moment.
    let transaction = connection.unchecked_transaction()?;
    let Some(app) = application_anywhere(&transaction, app)? else {
        return Ok(None);
    };
    let mut statement = transaction.prepare_cached(
        "SELECT record, created_version FROM endpoint WHERE app = ?1 ORDER BY id",
    )?;
    let endpoints = statement.query_map([app.id.as_bytes()], read_record)?;
    let endpoints = endpoints
        .map(|row| endpoint_of(row?).map(Arc::new))
        .collect::<Result<_>>()?;
    Ok(Some(AppSnapshot { app, endpoints }))
}

// --- endpoints ---

pub(super) fn endpoint_of((record, created_version): (String, i64)) -> Result<Endpoint> {
    let mut endpoint: Endpoint = from_json("the record of an endpoint", &record)?;
    endpoint.created_version = created_version.unsigned_abs();
    Ok(endpoint)
}

pub(super) fn endpoint(
    connection: &Connection,
    app: AppId,
    key: &EndpointKey,
) -> Result<Option<Endpoint>> {
    let found = match key {
        EndpointKey::Id(id) => connection
            .prepare_cached(
                "SELECT record, created_version FROM endpoint WHERE app = ?1 AND id = ?2",
            )?
            .query_row((app.as_bytes(), id.as_bytes()), read_record),
        EndpointKey::Uid(uid) => connection
            .prepare_cached(
                "SELECT record, created_version FROM endpoint WHERE app = ?1 AND uid = ?2",
            )?
            .query_row((app.as_bytes(), uid.as_str()), read_record),
    };
    found.optional()?.map(endpoint_of).transpose()
}

pub(super) fn endpoints(
    connection: &Connection,
    app: AppId,
    walk: &Walk,
) -> Result<Slice<Endpoint>> {
    let clause = walk.clause("id");
    let sql = format!("SELECT record, created_version FROM endpoint WHERE app = :app AND {clause}");
    let mut statement = connection.prepare_cached(&sql)?;
    let values = named_params! { ":app": app.as_bytes(), ":from": walk.from(), ":until": walk.until(), ":rows": walk.row_limit() };
    let found = statement.query_map(values, read_record)?;
    let endpoints = found.map(|row| endpoint_of(row?)).collect::<Result<_>>()?;
    Ok(walk.slice(endpoints))
}

pub(super) fn put_endpoint(
    connection: &Connection,
    endpoint: &Endpoint,
    expect: Option<u64>,
) -> Put<Endpoint> {
    let app = app_version(connection, endpoint.app)?;
    let created = connection
        .prepare_cached("SELECT created_version FROM endpoint WHERE app = ?1 AND id = ?2")?
        .query_row((endpoint.app.as_bytes(), endpoint.id.as_bytes()), |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    let refusal = match (created, expect) {
        _ if app == 0 => Some(Refusal::NoApplication),
        (Some(_), None) => Some(Refusal::Exists),
        (None, Some(_)) => Some(Refusal::Stale),
        (_, Some(expect)) if expect != app => Some(Refusal::Stale),
        _ if endpoint_uid_taken(connection, endpoint)? => Some(Refusal::UidTaken),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Ok(Changed::nothing(Err(refusal)));
    }
    let version = bump_application(connection, endpoint.app)?;
    let mut endpoint = endpoint.clone();
    endpoint.created_version = created.map_or(version, i64::unsigned_abs);
    write_endpoint(connection, &endpoint)?;
    Ok(Changed::app(endpoint.app, version, Ok(endpoint)))
}

pub(super) fn write_endpoint(connection: &Connection, endpoint: &Endpoint) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO endpoint (app, id, uid, created_version, record) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (app, id) DO UPDATE SET uid = ?3, record = ?5",
        )?
        .execute(params![
            endpoint.app.as_bytes(),
            endpoint.id.as_bytes(),
            endpoint.uid.as_ref().map(Uid::as_str),
            stored(endpoint.created_version),
            to_json(endpoint)?
        ])?;
    Ok(())
}

pub(super) fn endpoint_uid_taken(connection: &Connection, endpoint: &Endpoint) -> Result<bool> {
    let Some(uid) = &endpoint.uid else {
        return Ok(false);
    };
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM endpoint WHERE app = ?1 AND uid = ?2 AND id <> ?3")?;
    Ok(statement.exists((
        endpoint.app.as_bytes(),
        uid.as_str(),
        endpoint.id.as_bytes(),
    ))?)
}

pub(super) fn bump_application(connection: &Connection, app: AppId) -> Result<u64> {
    let version = bump(connection)?;
    connection
        .prepare_cached("UPDATE application SET version = ?2 WHERE id = ?1")?
        .execute((app.as_bytes(), stored(version)))?;
    Ok(version)
}

pub(super) fn delete_endpoint(
    connection: &Connection,
    app: AppId,
    endpoint: EndpointId,
) -> Result<Changed<bool>> {
    let deleted = connection
        .prepare_cached("DELETE FROM endpoint WHERE app = ?1 AND id = ?2")?
        .execute((app.as_bytes(), endpoint.as_bytes()))?;
    if deleted == 0 {
        return Ok(Changed::nothing(false));
    }
    Ok(Changed::app(app, bump_application(connection, app)?, true))
}

// --- event types ---

pub(super) fn event_type_of((record, version): (String, i64)) -> Result<EventType> {
    let mut event_type: EventType = from_json("the record of an event type", &record)?;
    event_type.version = version.unsigned_abs();
    Ok(event_type)
}

pub(super) fn event_type(
    connection: &Connection,
    org: OrgId,
    name: &EventTypeName,
) -> Result<Option<EventType>> {
    connection
        .prepare_cached("SELECT record, version FROM event_type WHERE org = ?1 AND name = ?2")?
        .query_row((org.as_bytes(), name.as_str()), read_record)
        .optional()?
        .map(event_type_of)
        .transpose()
}

pub(super) fn event_types(
    connection: &Connection,
    org: OrgId,
    include_archived: bool,
    walk: &Walk,
) -> Result<Slice<EventType>> {
    let clause = walk.clause("name");
    let sql = format!(
        "SELECT record, version FROM event_type WHERE org = :org AND archived <= :archived AND {clause}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = named_params! {
        ":org": org.as_bytes(), ":archived": include_archived, ":from": walk.from(), ":until": walk.until(), ":rows": walk.row_limit()
    };
    let found = statement.query_map(values, read_record)?;
    let event_types = found
        .map(|row| event_type_of(row?))
        .collect::<Result<_>>()?;
    Ok(walk.slice(event_types))
}

pub(super) fn put_event_type(
    connection: &Connection,
    event_type: &EventType,
    expect: Option<u64>,
) -> Put<EventType> {
    let stands = connection
        .prepare_cached("SELECT version FROM event_type WHERE org = ?1 AND name = ?2")?
        .query_row(
            (event_type.org.as_bytes(), event_type.name.as_str()),
            |row| row.get::<_, i64>(0),
        )
        .optional()?
        .map(i64::unsigned_abs);
    let refusal = match (stands, expect) {
        (Some(_), None) => Some(Refusal::Exists),
        (stands, Some(expect)) if stands != Some(expect) => Some(Refusal::Stale),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Ok(Changed::nothing(Err(refusal)));
    }
    let mut event_type = event_type.clone();
    event_type.version = bump(connection)?;
    write_event_type(connection, &event_type)?;
    let (org, version) = (event_type.org, event_type.version);
    Ok(Changed::types(org, version, Ok(event_type)))
}

pub(super) fn write_event_type(connection: &Connection, event_type: &EventType) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO event_type (org, name, archived, version, record) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (org, name) DO UPDATE SET archived = ?3, version = ?4, record = ?5",
        )?
        .execute(params![
            event_type.org.as_bytes(),
            event_type.name.as_str(),
            event_type.archived,
            stored(event_type.version),
            to_json(event_type)?
        ])?;
    Ok(())
}

pub(super) fn delete_event_type(
    connection: &Connection,
    org: OrgId,
    name: &EventTypeName,
) -> Result<Changed<bool>> {
    let deleted = connection
        .prepare_cached("DELETE FROM event_type WHERE org = ?1 AND name = ?2")?
        .execute((org.as_bytes(), name.as_str()))?;
    if deleted == 0 {
        return Ok(Changed::nothing(false));
    }
    Ok(Changed::types(org, bump(connection)?, true))
}

/// Looks through the records, which is asked for after changes of event types only.
pub(super) fn validating_types(connection: &Connection, org: OrgId) -> Result<ValidatingTypes> {
    let mark = version(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT name FROM event_type WHERE org = ?1 AND archived = 0 AND json_extract(record, '$.validate_payload') = 1",
    )?;
    let found = statement.query_map((org.as_bytes(),), |row| row.get::<_, String>(0))?;
    let name_of = |name: String| {
        let name = EventTypeName::new(&name);
        name.map_err(|cause| StoreError::unreadable("the name of an event type", cause))
    };
    let names = found.map(|name| name_of(name?)).collect::<Result<_>>()?;
    Ok(ValidatingTypes { mark, names })
}
