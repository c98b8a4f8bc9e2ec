//! Why a repeated POST does not happen twice.
//!
//! A client may send `idempotency-key` with a POST; its libraries do so with every one. The key is reserved before
//! anything is done, together with a hash of the body; what was answered is kept under it and sent again:
//!
//! | the key | then |
//! |---|---|
//! | unknown | do it |
//! | in use by a request that is still running | wait for that one, then send its answer |
//! | in use by a request whose process died, or that ended without knowing | do it under the identifier of the first try, so that it cannot be two |
//! | known, the same body | send the answer again |
//! | known, another body | 409 |
//!
//! A key belongs to whoever asks (operator or consumer), the method and the path. Only 2xx are kept: after any other
//! answer the key is free.

use std::future::Future;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use postrider_core::ports::{
    Answer, IdempotencyKey, Partition, Reservation, ReservationKey, Reserved,
};
use postrider_core::{AppId, MessageId, Timestamp, Uid};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::error::{ApiError, kind};
use crate::reply::Reply;
use crate::state::{Shared, State};
use crate::tokens::Principal;

const HEADER: &str = "idempotency-key";
const MAX_KEY: usize = 256;
/// Keys that client libraries make by themselves guard one call and its retries, which end within minutes.
const AUTO_PREFIX: &[u8] = b"auto_";
const AUTO_KEPT: Duration = Duration::from_secs(600);
const CHOSEN_KEPT: Duration = Duration::from_secs(12 * 3600);
/// For how long nobody else takes a reservation over.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// Who repeats a request of which nobody knows what came of it need not wait any longer than `Retry-After` says.
const RESUMABLE_AFTER: Duration = Duration::from_secs(1);
/// How long a request waits for its twin.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// What the request says about repeating it.
#[derive(Debug, Clone)]
pub(crate) struct Idempotency {
    /// Method and path, and the key.
    given: Option<(Vec<u8>, Vec<u8>)>,
    /// The same event a second time is a repetition, not a mistake.
    pub(crate) absorbs_events: bool,
}

impl FromRequestParts<Shared> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let key = parts.headers.get(HEADER).map(|value| value.as_bytes());
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Ok(Self::of(None));
        };
        fits(key, HEADER)?;
        let target = format!("{} {}", parts.method, parts.uri.path()).into_bytes();
        Ok(Self::of(Some((target, key.to_vec()))))
    }
}

impl Idempotency {
    const fn of(given: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        Self {
            given,
            absorbs_events: false,
        }
    }

    /// That of a message which nobody waits for an answer about: it may come more than once. An event is known by its event
    /// id, any other message by the name that its publisher gave it.
    pub(crate) fn of_incoming(app: AppId, event_id: Option<&Uid>, name: Option<&str>) -> Self {
        let name = name.filter(|name| !name.is_empty() && event_id.is_none());
        let target = || format!("AMQP message for {app}").into_bytes();
        Self {
            absorbs_events: true,
            ..Self::of(name.map(|name| (target(), name.as_bytes().to_vec())))
        }
    }

    /// The key, scoped; `None` where there is none.
    pub(crate) fn key(&self, principal: Principal) -> Option<IdempotencyKey> {
        let (target, key) = self.given.as_ref()?;
        // Lengths are part of what is hashed, so that no two scopes run into each other.
        let mut hash = Sha256::new();
        hash.update(principal.scope());
        hash.update((target.len() as u64).to_be_bytes());
        hash.update(target);
        hash.update(key);
        Some(IdempotencyKey {
            hash: half(hash),
            automatic: self.is_automatic(),
        })
    }

    /// That of one message of a batch: by a key of its own, else by its place under the request's key.
    pub(crate) fn of_message(&self, app: AppId, own: Option<String>, place: usize) -> Self {
        let given = match (own, &self.given) {
            (Some(own), _) => {
                let target = format!("POST message of a batch for {app}");
                Some((target.into_bytes(), own.into_bytes()))
            }
            (None, Some((target, key))) => {
                let place = format!("/{place}").into_bytes();
                Some((target.clone(), [key.as_slice(), &place].concat()))
            }
            (None, None) => None,
        };
        Self::of(given)
    }

    fn is_automatic(&self) -> bool {
        let given = self.given.as_ref();
        given.is_some_and(|(_, key)| key.starts_with(AUTO_PREFIX))
    }

    pub(crate) fn kept(&self) -> Duration {
        if self.is_automatic() {
            AUTO_KEPT
        } else {
            CHOSEN_KEPT
        }
    }
}

/// Whether a key, from this header or property, is short enough.
pub(crate) fn fits(key: &[u8], name: &str) -> Result<(), ApiError> {
    if key.len() > MAX_KEY {
        let message = format!("must have at most {MAX_KEY} bytes");
        return Err(ApiError::invalid(&["header", name], kind::VALUE, message));
    }
    Ok(())
}

fn half(hash: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// The hash by which two bodies are compared.
pub(crate) fn body_hash(body: &[u8]) -> [u8; 16] {
    half(Sha256::new_with_prefix(body))
}

/// What a reservation allows its caller to do.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Do it, under this identifier. `again`: somebody may have done some of it before.
    Go {
        id: MessageId,
        version: u64,
        again: bool,
    },
    /// It was done.
    Done(Answer),
}

/// What one look at a reservation means.
enum Look {
    Admitted(Admission),
    /// A twin is at it, until then at the latest.
    Wait(Timestamp),
}

fn look(reserved: Reserved, wanted: &Reservation) -> Result<Look, ApiError> {
    let candidate = wanted.candidate;
    match reserved {
        Reserved::Fresh { version } => Ok(Look::Admitted(Admission::Go {
            id: candidate,
            version,
            again: false,
        })),
        Reserved::Resume { first, version } => Ok(Look::Admitted(Admission::Go {
            id: first,
            version,
            again: true,
        })),
        Reserved::Done(answer) => Ok(Look::Admitted(Admission::Done(answer))),
        Reserved::Pending { until } => Ok(Look::Wait(until)),
        Reserved::KeyReused if wanted.key.key.is_none() => Err(ApiError::conflict(
            "the event id was used for another message",
        )),
        Reserved::KeyReused => Err(ApiError::conflict(
            "the idempotency key was used for another request",
        )),
        Reserved::EventIdTaken { by } => Err(ApiError::conflict(format!(
            "the event id belongs to message {by}"
        ))),
    }
}

/// Reserves, and waits for a twin that is still at it.
pub(crate) async fn reserve(
    state: &State,
    mut reservation: Reservation,
) -> Result<Admission, ApiError> {
    let patience_ends = Instant::now() + PATIENCE;
    let mut pause = FIRST_LOOK;
    loop {
        let now = state.now();
        reservation.lease_until = now + LEASE;
        let reserved = match state.ports.limits.reserve(now, &reservation).await {
            Ok(reserved) => reserved,
            Err(error) => {
                // It may be reserved, and nobody is at it: whoever repeats the request would wait for it in vain.
                if !error.changed_nothing() {
                    let Reservation { key, candidate, .. } = reservation;
                    state.batches.lapse(key, candidate);
                }
                return Err(error.into());
            }
        };
        let until = match look(reserved, &reservation)? {
            Look::Admitted(admission) => return Ok(admission),
            Look::Wait(until) => until,
        };
        if Instant::now() + pause > patience_ends {
            return Err(ApiError::Unavailable {
                detail: "the same request is still in progress; repeat it with the same key",
                retry_after: until.since(now),
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// Gives a reservation up after nothing was done. Where that fails, its lease ends by itself.
pub(crate) async fn release(state: &State, key: &ReservationKey) {
    if let Err(error) = state.ports.limits.release(key).await {
        tracing::debug!(%error, "a reservation was not released; its lease will end");
    }
}

/// Lets whoever repeats the request go on under the same identifier soon, since this try has ended.
pub(crate) async fn lapse(state: &State, key: &ReservationKey, message: MessageId) {
    let now = state.now();
    let limits = &state.ports.limits;
    if let Err(error) = limits.lapse(now, key, message, now + RESUMABLE_AFTER).await {
        tracing::debug!(%error, "a reservation did not lapse; its lease will end");
    }
}

/// Does `work` once per idempotency key. It is handed an identifier to derive the new thing's from: the same one
/// when it is done again because the process died in the middle, which `again` tells.
pub(crate) async fn once<F>(
    state: &State,
    principal: Principal,
    partition: Partition,
    idempotency: &Idempotency,
    body: &[u8],
    work: impl FnOnce(MessageId, bool) -> F,
) -> Result<Reply, ApiError>
where
    F: Future<Output = Result<Reply, ApiError>>,
{
    let now = state.now();
    let candidate = state.new_id(now);
    let Some(key) = idempotency.key(principal) else {
        return work(candidate, false).await;
    };
    let key = ReservationKey {
        partition,
        key: Some(key),
        event_id: None,
    };
    let reservation = Reservation {
        key: key.clone(),
        candidate,
        body: body_hash(body),
        lease_until: now + LEASE,
        key_until: now + idempotency.kept(),
        event_id_until: now,
    };
    let (id, again) = match reserve(state, reservation).await? {
        Admission::Go { id, again, .. } => (id, again),
        Admission::Done(answer) => return replay(answer),
    };
    let outcome = work(id, again).await;
    match &outcome {
        Ok(reply) if reply.status.is_success() => {
            let answer = Answer {
                id,
                at: now,
                status: reply.status.as_u16(),
                body: reply.body.clone(),
            };
            state.batches.complete(key, answer);
        }
        // It may have happened, now or at an earlier try: whoever repeats it goes on under the same identifier.
        Err(ApiError::Port(error)) if again || !error.changed_nothing() => {
            lapse(state, &key, id).await;
        }
        _ => release(state, &key).await,
    }
    outcome
}

fn replay(answer: Answer) -> Result<Reply, ApiError> {
    let status = StatusCode::from_u16(answer.status)
        .map_err(|_| ApiError::Internal("a stored answer has no valid status"))?;
    Ok(Reply {
        status,
        body: answer.body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::OrgId;

    fn idempotency(target: &str, key: &str) -> Idempotency {
        Idempotency::of(Some((target.into(), key.into())))
    }

    #[test]
    fn keys_are_scoped_to_caller_method_and_path() {
        let org = OrgId::from_bytes([1; 20]);
        let operator = Principal::Operator { org };
        let consumer = Principal::Consumer {
            org,
            app: AppId::from_bytes([2; 20]),
        };
        let base = idempotency("POST /a", "k").key(operator);
        assert_eq!(base, idempotency("POST /a", "k").key(operator));
        assert_ne!(base, idempotency("POST /a", "k").key(consumer));
        assert_ne!(base, idempotency("POST /b", "k").key(operator));
        assert_ne!(base, idempotency("POST /a", "l").key(operator));
        assert_ne!(
            idempotency("POST /a", "bk").key(operator),
            idempotency("POST /ab", "k").key(operator)
        );
        assert_eq!(Idempotency::of(None).key(operator), None);
    }

    #[test]
    fn automatic_keys_are_kept_for_minutes_and_chosen_ones_for_hours() {
        assert_eq!(idempotency("POST /a", "auto_x").kept(), AUTO_KEPT);
        assert_eq!(idempotency("POST /a", "order-1").kept(), CHOSEN_KEPT);
    }
}
