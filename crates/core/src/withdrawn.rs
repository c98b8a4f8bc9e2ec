//! Scheduled messages that were taken back before they were due.
//!
//! The broker holds them where nobody can reach them, so a note is left instead, which whoever matches a scheduled message looks
//! for. Nothing else is looked for: events that are due at once cost no question.

use std::time::Duration;

use crate::id::OrgId;
use crate::message::Event;
use crate::name::DocumentName;
use crate::ports::{DocumentKind, Documents, Expect, NewDocument, Owner, Place, PortError};
use crate::time::Timestamp;

/// A message can be late: nobody works for days, or its application is out of reach.
const KEPT_AFTER_DUE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Takes a message back, where it is not due yet. Doing it twice is doing it once.
///
/// # Errors
/// Where the note cannot be stored: the message goes out when it is due.
pub async fn withdraw(
    documents: &dyn Documents,
    now: Timestamp,
    event: &Event,
) -> Result<(), PortError> {
    let Some(due) = event.deliver_at.filter(|due| *due > now) else {
        return Ok(());
    };
    let note = NewDocument {
        name: name(event)?,
        until: Some(due + KEPT_AFTER_DUE),
        body: String::new(),
    };
    let put = documents.put(now, place(event.org), note, Expect::Anything);
    put.await.map(|_| ())
}

/// Whether a message was taken back.
///
/// # Errors
/// Where that cannot be told.
pub async fn is_withdrawn(
    documents: &dyn Documents,
    now: Timestamp,
    event: &Event,
) -> Result<bool, PortError> {
    if event.deliver_at.is_none() {
        return Ok(false);
    }
    let note = documents.get(now, place(event.org), &name(event)?).await?;
    Ok(note.is_some())
}

const fn place(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::Withdrawn,
    }
}

fn name(event: &Event) -> Result<DocumentName, PortError> {
    DocumentName::new(&event.message.to_string())
        .map_err(|error| PortError::Invalid(error.to_string()))
}
