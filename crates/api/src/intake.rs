//! Messages that backends publish over AMQP: the same checks and the same way as `POST …/msg`, without anybody who waits for
//! an answer.
//!
//! | over HTTP | here |
//! |---|---|
//! | `Authorization: Bearer` | the header `postrider-key` |
//! | the application in the path | `application` in the body |
//! | `idempotency-key` | the property `message-id`, where there is no event id |
//! | 202 | acknowledged |
//! | 409 for an event id that comes again | the same bytes are absorbed; others are refused |
//! | 4xx, 500 | refused, with status, code and detail |
//! | 429, 503 | waits |

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use postrider_core::OrgId;
use postrider_core::ports::{Incoming, Intake, Refusal, Taken, Why};
use tracing::Instrument as _;

use crate::accept;
use crate::access;
use crate::error::{ApiError, RETRY_SOON};
use crate::idempotency::{self, Idempotency};
use crate::routes;
use crate::state::Shared;
use crate::tokens::Principal;

pub(crate) struct Taking {
    state: Shared,
}

impl Taking {
    pub(crate) const fn new(state: Shared) -> Self {
        Self { state }
    }
}

#[async_trait]
impl Intake for Taking {
    async fn take(&self, incoming: Incoming) -> Taken {
        let span = tracing::info_span!("incoming", id = incoming.id.as_deref());
        let outcome = AssertUnwindSafe(accept(&self.state, incoming).instrument(span.clone()))
            .catch_unwind()
            .await
            .unwrap_or(Err(ApiError::Internal("taking a message panicked")));
        let error = match outcome {
            Ok(()) => {
                self.state.metrics.incoming.accepted.inc();
                return Taken::Accepted;
            }
            Err(error) => error,
        };
        span.in_scope(|| self.refused(&error))
    }
}

impl Taking {
    fn refused(&self, error: &ApiError) -> Taken {
        let metrics = &self.state.metrics;
        let Some(refusal) = error.refusal() else {
            metrics.incoming.waited.inc();
            let throttled = matches!(error, ApiError::RateLimited { .. });
            return Taken::Wait(if throttled {
                Why::Throttled
            } else {
                Why::Unavailable
            });
        };
        let Refusal { status, code, .. } = refusal;
        tracing::info!(status, code, "a message from AMQP was refused");
        metrics.incoming.refused.inc();
        metrics.rejected(error.reason());
        Taken::Refused(refusal)
    }
}

async fn accept(state: &Shared, incoming: Incoming) -> Result<(), ApiError> {
    let org = operator(state, incoming.key.as_deref()).await?;
    let limit = state.config.max_body_bytes;
    if incoming.body.len() > limit {
        return Err(ApiError::TooLarge { limit });
    }
    let name = incoming.id.as_deref();
    idempotency::fits(name.unwrap_or_default().as_bytes(), "message-id")?;
    let (key, mut submission) = accept::read_addressed(&incoming.body, state.now())?;
    // As messages of a batch, each counts for as long as it is accepted.
    let Ok(_room) = state.batched.try_acquire() else {
        return Err(ApiError::Unavailable {
            detail: "too many messages are being accepted; this one was not",
            retry_after: RETRY_SOON,
        });
    };
    let app = routes::msg::target(state, org, &key, &mut submission).await?;
    let event_id = submission.message.event_id.as_ref();
    let idempotency = Idempotency::of_incoming(app.app.id, event_id, name);
    accept::accept(state, org, &app, submission, &idempotency).await?;
    Ok(())
}

/// The organisation that a message is published for.
async fn operator(state: &Shared, key: Option<&str>) -> Result<OrgId, ApiError> {
    let key = key.ok_or(ApiError::Unauthenticated)?;
    let caller = access::check(state, key).await?;
    match caller.principal {
        Principal::Operator { org } if !caller.read_only => Ok(org),
        _ => Err(ApiError::Forbidden),
    }
}
