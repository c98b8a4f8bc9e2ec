//! How an event is accepted: the way every message takes into Postrider.
//!
//! ```text
//!  body ──read──▶ Submission          nothing but text and limits, one pass; no store, no clock but `now`
//!                     │
//!                  examine            the payload, where its event type validates; else two look-ups in memory
//!                     │
//!                  reserve            one round trip: key and event id, and the application's version
//!         ┌───────────┼──────────────┐
//!       done        fresh    resumed: the first try's identifier, may be a duplicate
//!         │           └──────┬───────┘
//!         │               publish     durable when it returns
//!         │           ┌──────┴──────────────────┐
//!         ▼           ▼ done                    ▼ failed
//!     202 again   202; the log's record and    503; released where nothing was published for certain,
//!                 the reservation's end are    else a repetition resumes it a moment later, under the
//!                 written later, in batches    same identifier
//! ```
//!
//! From the reservation on nobody can stop it: the request runs in a task of its own (see `edge`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::message::{Event, Item, MessageRecord, Work};
use postrider_core::ports::{
    Answer, AppKey, HandOff, LogRecord, Partition, PortError, RateRequest, Reservation,
    ReservationKey, Until,
};
use postrider_core::schedule::MAX_DELAY;
use postrider_core::{AppSnapshot, Application, MessageId, OrgId, Timestamp};
use tracing::Instrument as _;

use crate::error::{ApiError, RETRY_SOON};
use crate::idempotency::{self, Admission, Idempotency};
use crate::state::{Shared, State};
use crate::tokens::Principal;
use crate::wire::message::MessageIn;

/// A body that is this small is copied out of the connection's buffer, so that the copy alone is kept in memory.
const COPIED: usize = 16 * 1024;

/// The first try of a resumed message may have been published: it is delivered first, so that the second one finds that
/// it was, instead of being made at the same time.
const AFTER_ITS_TWIN: Duration = Duration::from_secs(1);

/// A message as it was submitted, checked.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) message: MessageIn,
    /// The bytes to be signed and sent, as they came.
    payload: Bytes,
    body_hash: [u8; 16],
    /// What is wrong with the payload by the schema of its event type. It is told once it is known that this is no repetition
    /// of what was accepted before.
    fault: Option<ApiError>,
}

impl Submission {
    /// Holds the payload against the schema of its event type, where there is one that counts.
    pub(crate) async fn examine(&mut self, state: &State, org: OrgId) -> Result<(), ApiError> {
        let kind = &self.message.event_type;
        self.fault = state.schemas.faults(org, kind, &self.payload).await?;
        Ok(())
    }

    /// What was found wrong, for whoever need not look for repetitions.
    pub(crate) fn must_be_right(&mut self) -> Result<(), ApiError> {
        self.fault.take().map_or(Ok(()), Err)
    }
}

/// Reads and checks a request's body.
pub(crate) fn read(body: &Bytes, now: Timestamp) -> Result<Submission, ApiError> {
    let (message, payload) = MessageIn::read(body)?;
    checked(body, message, payload, now)
}

/// The same for a message that names its application itself.
pub(crate) fn read_addressed(
    body: &Bytes,
    now: Timestamp,
) -> Result<(AppKey, Submission), ApiError> {
    let (app, message, payload) = MessageIn::read_addressed(body)?;
    Ok((app, checked(body, message, payload, now)?))
}

fn checked(
    body: &Bytes,
    message: MessageIn,
    payload: Cow<'_, str>,
    now: Timestamp,
) -> Result<Submission, ApiError> {
    if message.deliver_at.is_some_and(|at| at > now + MAX_DELAY) {
        let problem = "must be at most 7 days ahead";
        return Err(ApiError::body_value("deliverAt", problem));
    }
    let payload = match payload {
        Cow::Owned(text) => Bytes::from(text),
        Cow::Borrowed(text) if text.len() <= COPIED => Bytes::copy_from_slice(text.as_bytes()),
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
    };
    Ok(Submission {
        payload,
        body_hash: idempotency::body_hash(body),
        message,
        fault: None,
    })
}

/// Accepts a message, once: what is returned is durable.
pub(crate) async fn accept(
    state: &Shared,
    org: OrgId,
    app: &AppSnapshot,
    mut submission: Submission,
    idempotency: &Idempotency,
) -> Result<Arc<Event>, ApiError> {
    let now = state.now();
    let fault = submission.fault.take();
    if fault.is_none() {
        throttle(state, &app.app, now).await?;
    }
    let reservation = reservation(state, org, app, &submission, idempotency, now);
    let key = reservation.key.clone();
    let admission = idempotency::reserve(state, reservation).await?;
    // A first try that may have been published was right when it was made: it is brought to its end.
    if let (Admission::Go { again: false, .. }, Some(fault)) = (&admission, fault) {
        idempotency::release(state, &key).await;
        return Err(fault);
    }
    match admission {
        Admission::Done(answer) => {
            // Without a key nothing says that this is a repetition: it is a second message of the same event.
            if key.key.is_none() && !idempotency.absorbs_events {
                let taken = format!("the event id belongs to message {}", answer.id);
                return Err(ApiError::conflict(taken));
            }
            // What was answered the first time, made again from the request that is the same.
            let event = event(state, app, submission, answer.id, answer.at, 0);
            Ok(Arc::new(event))
        }
        // What is in memory knows of changes that the store does not: they are lost, and an event that was accepted as of
        // the store's version would be kept from endpoints that were there before it.
        Admission::Go { version, again, .. } if version < app.version() => {
            // The first try of a resumed one may have been published: its identifier is kept.
            if !again {
                idempotency::release(state, &key).await;
            }
            Err(gone_or_lost(state, app).await)
        }
        Admission::Go { id, version, again } => {
            let accepted_at = if again { id.created_at() } else { now };
            let event = event(state, app, submission, id, accepted_at, version);
            publish(state, key, Arc::new(event), again).await
        }
    }
}

/// Why the store has no application at the version that is in memory: it was deleted, or the store has lost it.
async fn gone_or_lost(state: &State, app: &AppSnapshot) -> ApiError {
    state.cache.outdated(app.app.id, 0);
    match state.cache.app(app.app.id, app.version()).await {
        Ok(None) => ApiError::NotFound,
        Ok(Some(_)) => PortError::Unavailable {
            part: "registry",
            cause: "it is being brought up to date".to_owned(),
        }
        .into(),
        Err(error) => error.into(),
    }
}

async fn throttle(state: &State, app: &Application, now: Timestamp) -> Result<(), ApiError> {
    let Some(rate) = app.throttle_rate.filter(|rate| *rate > 0) else {
        return Ok(());
    };
    let mut subject = b"accept:".to_vec();
    subject.extend_from_slice(app.id.as_bytes());
    let request = RateRequest {
        subject,
        interval: Duration::from_secs(1) / u32::from(rate),
        burst: u32::from(rate),
        want: 1,
    };
    let grant = state.ports.limits.take(now, &request).await?;
    if grant.granted > 0 {
        return Ok(());
    }
    let retry_after = grant.next_at.map_or(RETRY_SOON, |at| at.since(now));
    Err(ApiError::RateLimited { retry_after })
}

fn reservation(
    state: &State,
    org: OrgId,
    app: &AppSnapshot,
    submission: &Submission,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Reservation {
    let event_id_from = submission.message.deliver_at.unwrap_or(now).max(now);
    Reservation {
        key: ReservationKey {
            partition: Partition::App(app.app.id),
            key: idempotency.key(Principal::Operator { org }),
            event_id: submission.message.event_id.clone(),
        },
        candidate: state.new_id(now),
        body: submission.body_hash,
        lease_until: now + idempotency::LEASE,
        key_until: now + idempotency.kept(),
        event_id_until: event_id_from + state.config.event_id_retention,
    }
}

/// How long an application's payloads are kept, where it says so.
fn of_app(app: &Application) -> Option<Duration> {
    let hours = app.payload_retention_hours?;
    Some(Duration::from_secs(u64::from(hours) * 3600))
}

/// Makes the event as of `accepted_at`.
fn event(
    state: &State,
    app: &AppSnapshot,
    submission: Submission,
    message: MessageId,
    accepted_at: Timestamp,
    registry_version: u64,
) -> Event {
    let Submission {
        message: wanted,
        payload,
        ..
    } = submission;
    let kept = wanted.retention.or_else(|| of_app(&app.app));
    let kept = kept.unwrap_or(state.config.payload_retention);
    Event {
        org: app.app.org,
        app: app.app.id,
        message,
        event_id: wanted.event_id,
        event_type: wanted.event_type,
        channels: wanted.channels,
        tags: wanted.tags,
        headers: wanted.headers,
        accepted_at,
        deliver_at: wanted.deliver_at.filter(|at| *at > accepted_at),
        payload_until: accepted_at + kept,
        registry_version,
        payload,
    }
}

async fn publish(
    state: &Shared,
    key: ReservationKey,
    event: Arc<Event>,
    maybe_dup: bool,
) -> Result<Arc<Event>, ApiError> {
    let publishing = settle(Arc::clone(state), key, event, maybe_dup);
    let mut publishing = Box::pin(publishing);
    match tokio::time::timeout(state.config.publish_timeout, &mut publishing).await {
        Ok(published) => published,
        Err(_) => {
            // To repeat it now would be to send it twice. As soon as it is known what became of it, the reservation says so, and
            // a repetition need not wait for the end of its lease.
            tokio::spawn(publishing.in_current_span());
            Err(no_confirm().into())
        }
    }
}

/// Publishes, and brings the reservation to its end.
async fn settle(
    state: Shared,
    key: ReservationKey,
    event: Arc<Event>,
    maybe_dup: bool,
) -> Result<Arc<Event>, ApiError> {
    let item = Item {
        event: Arc::clone(&event),
        work: Work::Match,
        maybe_dup,
    };
    match make_durable(&state, item).await {
        Ok(()) => {
            state.metrics.accepted.inc();
            remember(&state, key, &event);
            Ok(event)
        }
        // A resumed reservation may belong to a message that was published: it must keep its identifier.
        Err(error) if error.changed_nothing() && !maybe_dup => {
            idempotency::release(&state, &key).await;
            Err(error.into())
        }
        Err(error) => {
            idempotency::lapse(&state, &key, event.message).await;
            Err(error.into())
        }
    }
}

fn no_confirm() -> PortError {
    PortError::Unknown {
        part: "broker",
        cause: "it did not confirm in time".to_owned(),
    }
}

async fn make_durable(state: &State, item: Item) -> Result<(), PortError> {
    let now = state.now();
    let until = match item.event.deliver_at.filter(|at| *at > now) {
        Some(at) => Until::Exactly(at),
        None if item.maybe_dup => Until::After(AFTER_ITS_TWIN),
        None => return state.ports.broker.publish(now, vec![item]).await,
    };
    let later = vec![HandOff { item, until }];
    state.ports.broker.hand_off(now, later).await
}

/// Queues what is written after the answer.
fn remember(state: &State, key: ReservationKey, event: &Arc<Event>) {
    if key.key.is_some() || key.event_id.is_some() {
        let answer = Answer {
            id: event.message,
            at: event.accepted_at,
            status: 0,
            body: Bytes::new(),
        };
        state.batches.complete(key, answer);
    }
    let record = MessageRecord::from(Arc::clone(event));
    state.batches.record(LogRecord::Accepted(record));
}
