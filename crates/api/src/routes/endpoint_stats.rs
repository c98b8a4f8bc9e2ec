//! `…/endpoint/{endpoint_id}/stats`: how many messages have come how far there.

use std::time::Duration;

use axum::extract::State;
use postrider_core::Timestamp;
use postrider_core::ports::Tally;
use serde::Serialize;

use super::Answered;
use crate::auth::InApp;
use crate::error::ApiError;
use crate::path::Path;
use crate::query::Query;
use crate::reply::Reply;
use crate::state::Shared;

/// The longest time that is counted over.
const LONGEST: Duration = Duration::from_secs(28 * 24 * 3600);

#[derive(Debug, Serialize)]
struct StatsOut {
    success: u64,
    pending: u64,
    fail: u64,
    sending: u64,
    canceled: u64,
}

impl From<Tally> for StatsOut {
    fn from(tally: Tally) -> Self {
        Self {
            success: tally.delivered,
            pending: tally.pending,
            fail: tally.failed,
            sending: tally.sending,
            canceled: tally.canceled,
        }
    }
}

pub(crate) async fn get(
    State(state): State<Shared>,
    app: InApp,
    path: Path,
    query: Query,
) -> Answered {
    let (from, until) = range(&query, state.now())?;
    let endpoint = state.endpoint(app.id(), &path.endpoint()?).await?;
    let log = &state.ports.log;
    let tally = log.tally(app.id(), endpoint.id, from, until);
    let tally = state.counting.of(app.id(), tally).await?;
    Ok(Reply::ok(&StatsOut::from(tally)))
}

/// `since` to `until`: by default the 28 days that end now.
pub(super) fn range(query: &Query, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
    // Until the end of this millisecond: what was accepted just now counts.
    let until = query.time("until")?.unwrap_or(now) + Duration::from_millis(1);
    let earliest = until - LONGEST - Duration::from_millis(1);
    let since = query.time("since")?.unwrap_or(earliest);
    if since < earliest || since > until {
        return Err(ApiError::BadRequest {
            code: "invalid_range",
            detail: "`since` must lie before `until`, and at most 28 days".into(),
        });
    }
    Ok((since, until))
}
