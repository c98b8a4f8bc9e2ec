//! `…/endpoint/{endpoint_id}/send-example`: a message for this endpoint alone, to try it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use postrider_core::message::{Event, Item, MessageRecord, Target, Trigger, Work};
use postrider_core::ports::{LogRecord, Partition};
use postrider_core::{Application, ChainId, Endpoint, EventTypeName, MessageId, OrgId};

use super::Answered;
use crate::auth::OperatorInApp;
use crate::body::Body;
use crate::error::ApiError;
use crate::example;
use crate::idempotency::{self, Idempotency};
use crate::path::Path;
use crate::reply::Reply;
use crate::resend::must_be_enabled;
use crate::state::{self, Shared};
use crate::tokens::Principal;
use crate::validate;
use crate::wire::fields::Fields;
use crate::wire::message::MessageOut;

pub(crate) async fn send(
    State(state): State<Shared>,
    OperatorInApp(app): OperatorInApp,
    path: Path,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let mut fields = Fields::parse(&body)?;
    let wanted = fields.checked("eventType", validate::event_type)?.value();
    let event_type = wanted.ok_or_else(|| fields.missing("eventType"))?;
    let key = path.endpoint()?;
    let work = async |id, _| {
        let endpoint = state.endpoint(app.id, &key).await?;
        must_be_enabled(&endpoint)?;
        let payload = example(&state, app.org, &event_type).await?;
        let event = event(&state, &app, id, event_type, payload);
        publish(&state, &event, &endpoint).await?;
        Ok(Reply::ok(&MessageOut::of_event(&event, true)))
    };
    let (principal, partition) = (Principal::Operator { org: app.org }, Partition::App(app.id));
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}

async fn example(
    state: &state::State,
    org: OrgId,
    event_type: &EventTypeName,
) -> Result<Bytes, ApiError> {
    if let Some(payload) = example::built_in(event_type.as_str()) {
        return Ok(Bytes::from_static(payload.as_bytes()));
    }
    let Some(found) = state.event_type(org, event_type).await? else {
        let problem = format!("there is no event type `{event_type}`");
        return Err(ApiError::body_value("eventType", problem));
    };
    let payload = found.schemas.as_deref().and_then(example::of_schemas);
    payload.map(Bytes::from).ok_or(ApiError::BadRequest {
        code: "invalid_schema",
        detail: "the event type's newest schema gives no example that is an object".into(),
    })
}

fn event(
    state: &state::State,
    app: &Application,
    message: MessageId,
    event_type: EventTypeName,
    payload: Bytes,
) -> Arc<Event> {
    // As of the identifier, so that a repetition makes the very same event.
    let accepted_at = message.created_at();
    Arc::new(Event {
        org: app.org,
        app: app.id,
        message,
        event_id: None,
        event_type,
        channels: Vec::new(),
        tags: vec![example::TAG.to_owned()],
        headers: BTreeMap::new(),
        accepted_at,
        deliver_at: None,
        payload_until: accepted_at + state.config.payload_retention,
        registry_version: app.version,
        payload,
    })
}

/// Guarded, because the request may be repeated: whichever comes second finds that the attempt was made.
async fn publish(
    state: &state::State,
    event: &Arc<Event>,
    endpoint: &Endpoint,
) -> Result<(), ApiError> {
    let now = state.now();
    let target = Target {
        endpoint: endpoint.id,
        era: endpoint.era,
        chain: ChainId::FIRST,
        attempt: 1,
        due: now,
        trigger: Trigger::Manual,
    };
    let item = Item {
        event: Arc::clone(event),
        work: Work::Targets(vec![target]),
        maybe_dup: true,
    };
    state.ports.broker.publish(now, vec![item]).await?;
    let record = MessageRecord::from(Arc::clone(event));
    state.batches.record(LogRecord::Message(record));
    Ok(())
}
