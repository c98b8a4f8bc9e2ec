//! Messages that backends publish over AMQP: the same checks and the same way as `POST …/msg`, without anybody who waits for
//! an answer.
//!
//! | over HTTP | here |
//! |---|---|
//! | `Authorization: Bearer` | the header `postrider-key` |
//! | JSON | or MessagePack, which is made JSON first |
//! | the application in the path | `application` in the body |
//! | `idempotency-key` | the property `message-id`, where there is no event id |
//! | 202 | acknowledged |
//! | 409 for an event id that comes again | the same bytes are absorbed; others are refused |
//! | 4xx, 500 | refused, with status, code and detail |
//! | 429, 503 | waits |
//! | a connection that breaks off | it comes again; where that goes on, it is tried alone: see `trial` |

mod form;
mod trial;

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use postrider_core::OrgId;
use postrider_core::ports::{Incoming, Intake, Refusal, Taken, Why};
use tokio::sync::RwLock;
use tokio::time::timeout;
use tracing::Instrument as _;

use self::trial::Trial;
use crate::accept;
use crate::access;
use crate::error::{ApiError, RETRY_SOON};
use crate::idempotency::{self, Idempotency};
use crate::routes;
use crate::state::{Shared, State};
use crate::tokens::Principal;

pub(crate) struct Taking {
    state: Shared,
    /// Written by whoever is on trial, read by all others.
    alone: RwLock<()>,
}

impl Taking {
    pub(crate) fn new(state: Shared) -> Self {
        Self {
            state,
            alone: RwLock::default(),
        }
    }
}

#[async_trait]
impl Intake for Taking {
    async fn take(&self, incoming: Incoming) -> Taken {
        let span = tracing::info_span!("incoming", id = incoming.id.as_deref());
        let taking = async {
            if trial::is_suspected(&incoming) {
                return self.on_trial(incoming).await;
            }
            let _beside = self.alone.read().await;
            self.in_time(incoming).await
        };
        taking.instrument(span).await
    }
}

impl Taking {
    /// What cannot be counted is not tried.
    async fn on_trial(&self, incoming: Incoming) -> Taken {
        let alone = self.alone.write().await;
        let (limits, now) = (&*self.state.ports.limits, || self.state.now());
        let trial = match Trial::begin(limits, now(), &incoming).await {
            Ok(trial) => trial,
            Err(error) => {
                tracing::warn!(%error, "a message from AMQP that came back often cannot be tried; it waits");
                return self.waits(Why::Unavailable);
            }
        };
        if trial.is_over() {
            tracing::error!("a message from AMQP ends whoever takes it; it is refused");
            return self.set_aside(trial::refusal(), trial::CODE);
        }
        let taken = self.in_time(incoming).await;
        drop(alone);
        if taken != Taken::Unfinished {
            trial.acquit(limits, now, &taken).await;
        }
        taken
    }

    async fn in_time(&self, incoming: Incoming) -> Taken {
        let limit = self.state.config.intake_timeout;
        let Ok(taken) = timeout(limit, self.judged(incoming)).await else {
            tracing::error!("taking a message from AMQP does not end; it is put back and counted");
            self.state.metrics.incoming.unfinished.inc();
            return Taken::Unfinished;
        };
        taken
    }

    async fn judged(&self, incoming: Incoming) -> Taken {
        touch(&self.state, &incoming.body);
        let outcome = AssertUnwindSafe(accept(&self.state, incoming))
            .catch_unwind()
            .await
            .unwrap_or(Err(ApiError::Internal("taking a message panicked")));
        match outcome {
            Ok(()) => {
                self.state.metrics.incoming.accepted.inc();
                Taken::Accepted
            }
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&self, error: &ApiError) -> Taken {
        match error.refusal() {
            Some(refusal) => self.set_aside(refusal, error.reason()),
            None if matches!(error, ApiError::RateLimited { .. }) => self.waits(Why::Throttled),
            None => self.waits(Why::Unavailable),
        }
    }

    fn set_aside(&self, refusal: Refusal, reason: &'static str) -> Taken {
        let Refusal { status, code, .. } = refusal;
        tracing::info!(status, code, "a message from AMQP was refused");
        self.state.metrics.incoming.refused.inc();
        self.state.metrics.rejected(reason);
        Taken::Refused(refusal)
    }

    fn waits(&self, why: Why) -> Taken {
        self.state.metrics.incoming.waited.inc();
        Taken::Wait(why)
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
    let body = form::json(&incoming, limit)?;
    let (key, mut submission) = accept::read_addressed(&body, state.now())?;
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

/// Ends the process where a test has asked for it: what is tested is what becomes of the others.
#[expect(
    clippy::disallowed_methods,
    reason = "it is to skip the drain and every destructor"
)]
fn touch(state: &State, body: &[u8]) {
    let Some(marker) = state.config.abort_on.as_deref() else {
        return;
    };
    if memchr::memmem::find(body, marker).is_some() {
        std::process::abort();
    }
}
