//! `/stats/usage/…`: background tasks that count messages.

use axum::extract::State;
use http::StatusCode;
use postrider_core::ports::{AppKey, Partition};
use postrider_core::{MessageId, OrgId, TaskId, Timestamp};

use super::Answered;
use crate::auth::Operator;
use crate::body::Body;
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::reply::Reply;
use crate::state::{self, Shared};
use crate::tasks::{self, Period, Task, Work};
use crate::wire::fields::Fields;
use crate::wire::task::TaskOut;
use crate::wire::usage::{AppUsageIn, AppUsageOut};

/// How many messages each application has sent.
pub(crate) async fn apps(
    State(state): State<Shared>,
    operator: Operator,
    idempotency: Idempotency,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = AppUsageIn::read(Fields::parse(&body)?)?;
    let Operator(org) = operator;
    let work = async |id: MessageId, _| {
        let (apps, unresolved) = resolve(&state, org, wanted.apps).await?;
        let period = Period {
            since: wanted.since,
            until: wanted.until,
            apps,
        };
        let id = TaskId::from_bytes(*id.as_bytes());
        let task = Task::new(id, org, None, Work::AppUsage(period), state.now());
        let begun = tasks::begin(&state, task).await?;
        let shown = AppUsageOut::new(&begun, unresolved);
        Ok(Reply::json(StatusCode::ACCEPTED, &shown))
    };
    let (principal, partition) = (operator.principal(), Partition::Org(org));
    idempotency::once(&state, principal, partition, &idempotency, &body, work).await
}

/// The identifiers of those that are there, in order, and the names of the others.
async fn resolve(
    state: &state::State,
    org: OrgId,
    named: Option<Vec<(String, AppKey)>>,
) -> Result<(Option<Vec<postrider_core::AppId>>, Vec<String>), ApiError> {
    let Some(named) = named else {
        return Ok((None, Vec::new()));
    };
    let (mut apps, mut unresolved) = (Vec::new(), Vec::new());
    for (name, key) in named {
        match state.ports.registry.application(org, &key).await? {
            Some(app) => apps.push(app.id),
            None => unresolved.push(name),
        }
    }
    apps.sort();
    apps.dedup();
    Ok((Some(apps), unresolved))
}

/// How many messages of each event type the log has.
pub(crate) async fn event_types(State(state): State<Shared>, Operator(org): Operator) -> Answered {
    let now = state.now();
    let period = Period {
        since: Timestamp::EPOCH,
        until: now,
        apps: None,
    };
    let id = TaskId::new(now, rand::random());
    let task = Task::new(id, org, None, Work::EventTypeUsage(period), now);
    let begun = tasks::begin(&state, task).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &TaskOut::begun(&begun)))
}
