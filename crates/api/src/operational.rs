//! Where an organisation wants to be told what happens to its applications. They are few, and all of an organisation's are
//! one document: so a uid is unique by compare-and-set, as everything else about them is.

use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{DocumentKind, EndpointKey, Expect, NewDocument, Owner, Place};
use postrider_core::{Endpoint, EndpointId, EventTypeName, OrgId};

use crate::access::{name, unreadable};
use crate::change::{Miss, repeat};
use crate::error::ApiError;
use crate::state::State;

/// Endpoints of an organisation.
const MAX_ENDPOINTS: usize = 50;
/// Bytes that all of them may take together.
const MAX_BYTES: usize = 256 * 1024;
const DOCUMENT: &str = "all";

/// What there is to be told.
pub(crate) const EVENT_TYPES: [&str; 7] = [
    "endpoint.created",
    "endpoint.updated",
    "endpoint.deleted",
    "endpoint.disabled",
    "message.attempt.exhausted",
    "message.attempt.failing",
    "message.attempt.recovered",
];

fn place(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::OperationalEndpoint,
    }
}

/// An endpoint can only ask for what is told: a typing error would silence it.
pub(crate) fn must_be_told(types: &[EventTypeName]) -> Result<(), ApiError> {
    let unknown = types
        .iter()
        .find(|name| !EVENT_TYPES.contains(&name.as_str()));
    match unknown {
        Some(name) => {
            let problem = format!("there is no operational event `{name}`");
            Err(ApiError::body_value("eventTypes", problem))
        }
        None => Ok(()),
    }
}

/// All of an organisation's, and the version of their document.
async fn load(state: &State, org: OrgId) -> Result<(Vec<Endpoint>, Expect), ApiError> {
    let (documents, name) = (&state.ports.documents, name(DOCUMENT)?);
    let found = documents.get(state.now(), place(org), &name).await?;
    let Some(found) = found else {
        return Ok((Vec::new(), Expect::Nothing));
    };
    let read = serde_json::from_str(&found.body).map_err(|error| unreadable(&error))?;
    Ok((read, Expect::Version(found.version)))
}

/// Changes them all by compare-and-set.
pub(crate) async fn change<T>(
    state: &State,
    org: OrgId,
    change: impl Fn(&mut Vec<Endpoint>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    repeat(async || {
        let (mut all, expect) = load(state, org).await?;
        let done = change(&mut all)?;
        let body = serde_json::to_string(&all).map_err(|error| unreadable(&error))?;
        if all.len() > MAX_ENDPOINTS || body.len() > MAX_BYTES {
            return Err(limit_reached().into());
        }
        let document = NewDocument {
            name: name(DOCUMENT)?,
            until: None,
            body,
        };
        let documents = &state.ports.documents;
        let put = documents.put(state.now(), place(org), document, expect);
        match put.await? {
            Some(_) => Ok(done),
            None => Err(Miss::Again),
        }
    })
    .await
}

fn limit_reached() -> ApiError {
    ApiError::BadRequest {
        code: "limit_reached",
        detail: format!("at most {MAX_ENDPOINTS} endpoints, of {MAX_BYTES} bytes together").into(),
    }
}

pub(crate) async fn all(state: &State, org: OrgId) -> Result<Vec<Endpoint>, ApiError> {
    Ok(load(state, org).await?.0)
}

pub(crate) fn find<'a>(
    all: &'a mut [Endpoint],
    key: &EndpointKey,
) -> Result<&'a mut Endpoint, ApiError> {
    let found = all.iter_mut().find(|endpoint| is(endpoint, key));
    found.ok_or(ApiError::NotFound)
}

pub(crate) fn is(endpoint: &Endpoint, key: &EndpointKey) -> bool {
    match key {
        EndpointKey::Id(id) => endpoint.id == *id,
        EndpointKey::Uid(uid) => endpoint.uid.as_ref() == Some(uid),
    }
}

/// No two may have one uid.
pub(crate) fn must_be_unique(all: &[Endpoint], id: EndpointId) -> Result<(), ApiError> {
    let own = all.iter().find(|endpoint| endpoint.id == id);
    let Some(uid) = own.and_then(|own| own.uid.as_ref()) else {
        return Ok(());
    };
    let taken = |other: &Endpoint| other.id != id && other.uid.as_ref() == Some(uid);
    if all.iter().any(taken) {
        return Err(ApiError::conflict("the uid is in use by another record"));
    }
    Ok(())
}

/// A page of them, by identifier.
pub(crate) fn sliced(mut all: Vec<Endpoint>, page: &Page<EndpointId>) -> Slice<Endpoint> {
    all.sort_by_key(|endpoint| endpoint.id);
    if page.order == Order::Descending {
        all.reverse();
    }
    let precedes = |endpoint: &Endpoint, id: EndpointId| match page.order {
        Order::Ascending => endpoint.id < id,
        Order::Descending => endpoint.id > id,
    };
    match page.cursor {
        Cursor::Start => {}
        Cursor::After(id) => all.retain(|row| row.id != id && !precedes(row, id)),
        Cursor::Before(id) => {
            all.retain(|row| precedes(row, id));
            all.drain(..all.len().saturating_sub(page.limit));
            return Slice {
                items: all,
                more: true,
                stopped: None,
            };
        }
    }
    let more = all.len() > page.limit;
    all.truncate(page.limit);
    Slice {
        items: all,
        more,
        stopped: None,
    }
}
