//! Idempotency keys and event ids.
//!
//! A reservation is one row of `reservation`, under its name: the key, or where there is none, the event id.
//! Beside it, `event_id` says to which message an event id belongs, whoever reserved it and whether or not that
//! reservation is still remembered; each of the two rows expires at its own time.

use bytes::Bytes;
use postrider_core::id::MessageId;
use postrider_core::name::Uid;
use postrider_core::ports::{Answer, Partition, Reservation, ReservationKey, Reserved};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::embedded::columns::{Result, id, time};
use crate::embedded::filing;
use crate::embedded::registry::app_version;

/// Where a reservation lies, as bytes.
fn place(partition: Partition) -> Vec<u8> {
    let (kind, id) = match &partition {
        Partition::Org(id) => (0, id.as_bytes()),
        Partition::App(id) => (1, id.as_bytes()),
    };
    [&[kind], &id[..]].concat()
}

/// What a reservation is found by; `None` where it stores nothing.
fn name(key: &ReservationKey) -> Option<Vec<u8>> {
    match (&key.key, &key.event_id) {
        (Some(key), _) => Some([&[0], &key.hash[..]].concat()),
        (None, Some(event_id)) => Some([&[1], event_id.as_str().as_bytes()].concat()),
        (None, None) => None,
    }
}

pub(super) fn is_named(key: &ReservationKey) -> bool {
    key.key.is_some() || key.event_id.is_some()
}

/// The version of the application whose partition it is.
pub(super) fn version(connection: &Connection, key: &ReservationKey) -> Result<u64> {
    match key.partition {
        Partition::Org(_) => Ok(0),
        Partition::App(app) => app_version(connection, app),
    }
}

/// A reservation as it is stored.
#[derive(Debug)]
struct Stored {
    n: i64,
    message: MessageId,
    body: [u8; 16],
    event_id: Option<String>,
    lease_until: Timestamp,
    until: Timestamp,
    answer: Option<Answer>,
}

fn find(connection: &Connection, place: &[u8], name: &[u8]) -> Result<Option<Stored>> {
    let mut statement = connection.prepare_cached(
        "SELECT n, message, body, event_id, lease_until, until, status, answered_at, answer \
         FROM reservation WHERE name = ?1 AND place = ?2",
    )?;
    let mut rows = statement.query((name, place))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let message = id!(row, 1, MessageId);
    let answer = match row.get::<_, Option<u16>>(6)? {
        None => None,
        Some(status) => Some(Answer {
            id: message,
            at: time(row, 7)?,
            status,
            body: Bytes::from(row.get::<_, Vec<u8>>(8)?),
        }),
    };
    Ok(Some(Stored {
        n: row.get(0)?,
        message,
        body: row.get(2)?,
        event_id: row.get(3)?,
        lease_until: time(row, 4)?,
        until: time(row, 5)?,
        answer,
    }))
}

/// The table of [`postrider_core::ports::Limits::reserve`].
pub(super) fn reserve(
    connection: &Connection,
    now: Timestamp,
    wish: &Reservation,
) -> Result<Reserved> {
    let place = place(wish.key.partition);
    let name = name(&wish.key).unwrap_or_default();
    let stored = find(connection, &place, &name)?;
    if let Some(stored) = &stored
        && stored.until > now
    {
        return reserve_stored(connection, now, wish, &place, stored);
    }
    if let Some(event_id) = &wish.key.event_id
        && let Some(by) = owner(connection, now, &place, event_id)?
    {
        return Ok(Reserved::EventIdTaken { by });
    }
    if let Some(expired) = stored {
        delete(connection, expired.n)?;
    }
    insert(connection, wish, &place, &name)?;
    Ok(Reserved::Fresh {
        version: version(connection, &wish.key)?,
    })
}

fn reserve_stored(
    connection: &Connection,
    now: Timestamp,
    wish: &Reservation,
    place: &[u8],
    stored: &Stored,
) -> Result<Reserved> {
    if stored.body != wish.body {
        return Ok(Reserved::KeyReused);
    }
    if let Some(answer) = &stored.answer {
        return Ok(Reserved::Done(answer.clone()));
    }
    if stored.lease_until > now {
        let latest = wish.lease_until + Reservation::SAME_LEASE;
        if stored.message == wish.candidate && stored.lease_until <= latest {
            let version = version(connection, &wish.key)?;
            return Ok(Reserved::Fresh { version });
        }
        return Ok(Reserved::Pending {
            until: stored.lease_until,
        });
    }
    resume(connection, wish, place, stored)?;
    Ok(Reserved::Resume {
        first: stored.message,
        version: version(connection, &wish.key)?,
    })
}

/// Leases a lapsed reservation to another caller, its event id with it.
fn resume(
    connection: &Connection,
    wish: &Reservation,
    place: &[u8],
    stored: &Stored,
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE reservation SET lease_until = ?2, until = max(until, ?3) WHERE n = ?1",
        )?
        .execute((
            stored.n,
            wish.lease_until.as_millis(),
            named_until(wish).as_millis(),
        ))?;
    connection
        .prepare_cached(
            "UPDATE event_id SET until = max(until, ?4) WHERE place = ?1 AND event_id = ?2 AND message = ?3",
        )?
        .execute(params![
            place,
            stored.event_id,
            stored.message.as_bytes(),
            wish.event_id_until.as_millis()
        ])?;
    Ok(())
}

/// How long the name of a reservation is remembered.
fn named_until(wish: &Reservation) -> Timestamp {
    if wish.key.key.is_some() {
        wish.key_until
    } else {
        wish.event_id_until
    }
}

/// Whom an event id belongs to at `now`.
fn owner(
    connection: &Connection,
    now: Timestamp,
    place: &[u8],
    event_id: &Uid,
) -> Result<Option<MessageId>> {
    let mut statement = connection.prepare_cached(
        "SELECT message FROM event_id WHERE place = ?1 AND event_id = ?2 AND until > ?3",
    )?;
    let found = statement.query_row((place, event_id.as_str(), now.as_millis()), |row| {
        row.get(0)
    });
    Ok(found.optional()?.map(MessageId::from_bytes))
}

fn insert(connection: &Connection, wish: &Reservation, place: &[u8], name: &[u8]) -> Result<()> {
    let until = named_until(wish);
    connection
        .prepare_cached(
            "INSERT INTO reservation (n, place, name, message, body, event_id, lease_until, until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            filing::next(connection, "reservation", until)?,
            place,
            name,
            wish.candidate.as_bytes(),
            wish.body,
            wish.key.event_id.as_ref().map(Uid::as_str),
            wish.lease_until.as_millis(),
            until.as_millis()
        ])?;
    match &wish.key.event_id {
        Some(event_id) => insert_event_id(connection, wish, place, event_id),
        None => Ok(()),
    }
}

fn insert_event_id(
    connection: &Connection,
    wish: &Reservation,
    place: &[u8],
    event_id: &Uid,
) -> Result<()> {
    // Whatever is still there has expired.
    connection
        .prepare_cached("DELETE FROM event_id WHERE place = ?1 AND event_id = ?2")?
        .execute((place, event_id.as_str()))?;
    connection
        .prepare_cached(
            "INSERT INTO event_id (n, place, event_id, message, until) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            filing::next(connection, "event_id", wish.event_id_until)?,
            place,
            event_id.as_str(),
            wish.candidate.as_bytes(),
            wish.event_id_until.as_millis()
        ])?;
    Ok(())
}

fn delete(connection: &Connection, n: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM reservation WHERE n = ?1")?
        .execute([n])?;
    Ok(())
}

/// Only the reservation that the answer belongs to is completed.
pub(super) fn complete(connection: &Connection, done: &[(ReservationKey, Answer)]) -> Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE reservation SET status = ?4, answered_at = ?5, answer = ?6 \
         WHERE name = ?1 AND place = ?2 AND message = ?3",
    )?;
    for (key, answer) in done {
        let Some(name) = name(key) else { continue };
        update.execute(params![
            name,
            place(key.partition),
            answer.id.as_bytes(),
            answer.status,
            answer.at.as_millis(),
            &*answer.body
        ])?;
    }
    Ok(())
}

/// Only a lease of that message, and never made longer.
pub(super) fn lapse(
    connection: &Connection,
    key: &ReservationKey,
    message: MessageId,
    until: Timestamp,
) -> Result<()> {
    let Some(name) = name(key) else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "UPDATE reservation SET lease_until = ?4 \
             WHERE name = ?1 AND place = ?2 AND message = ?3 AND status IS NULL AND lease_until > ?4",
        )?
        .execute(params![
            name,
            place(key.partition),
            message.as_bytes(),
            until.as_millis()
        ])?;
    Ok(())
}

pub(super) fn release(connection: &Connection, key: &ReservationKey) -> Result<()> {
    let (place, Some(name)) = (place(key.partition), name(key)) else {
        return Ok(());
    };
    let Some(stored) = find(connection, &place, &name)?.filter(|stored| stored.answer.is_none())
    else {
        return Ok(());
    };
    delete(connection, stored.n)?;
    connection
        .prepare_cached("DELETE FROM event_id WHERE place = ?1 AND event_id = ?2 AND message = ?3")?
        .execute(params![place, stored.event_id, stored.message.as_bytes()])?;
    Ok(())
}
