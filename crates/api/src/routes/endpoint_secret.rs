//! `…/endpoint/{endpoint_id}/secret` and `…/secret/rotate`.

use axum::extract::State;
use postrider_core::endpoint::EndpointSecret;
use postrider_core::ports::Partition;
use postrider_core::secret::SecretText;
use postrider_core::{Endpoint, Timestamp};
use std::time::Duration;

use super::Answered;
use super::endpoint::generate_secret;
use crate::auth::InApp;
use crate::body::Body;
use crate::error::ApiError;
use crate::idempotency::{self, Idempotency};
use crate::library::Library;
use crate::path::Path;
use crate::reply::Reply;
use crate::state::Shared;
use crate::wire::fields::Fields;
use crate::wire::secret::{RotateIn, SecretOut};

/// Old keys that may sign beside the current one: each makes every request longer.
const MAX_OLD_KEYS: usize = 10;

pub(crate) async fn get(State(state): State<Shared>, app: InApp, path: Path) -> Answered {
    shown(&state.endpoint(app.id(), &path.endpoint()?).await?)
}

/// What a receiver of this endpoint's messages needs.
pub(super) fn shown(endpoint: &Endpoint) -> Answered {
    let shown = endpoint
        .current_secret()
        .and_then(|secret| SecretOut::of(&secret.key));
    let shown = shown.ok_or(ApiError::Internal("an endpoint has no readable key"))?;
    Ok(Reply::ok(&shown))
}

/// Answers with the key where the client library reads it. What is stored for a repetition is not the key: it is read
/// anew.
pub(crate) async fn rotate(
    State(state): State<Shared>,
    InApp { principal, app }: InApp,
    path: Path,
    idempotency: Idempotency,
    library: Library,
    Body { bytes: body, .. }: Body,
) -> Answered {
    let wanted = RotateIn::read(Fields::parse_optional(&body)?)?;
    let key = path.endpoint()?;
    let work = async |_, _| {
        let fresh = wanted.key.map_or_else(generate_secret, Ok)?;
        let now = state.now();
        let change = |endpoint: &mut Endpoint| install(endpoint, &fresh, wanted.grace, now);
        state.change_endpoint(&app, &key, change).await?;
        Ok(Reply::no_content())
    };
    let (id, partition) = (app.id, Partition::App(app.id));
    let done = idempotency::once(&state, principal, partition, &idempotency, &body, work).await?;
    if !library.reads_rotated_key() {
        return Ok(done);
    }
    shown(&state.endpoint(id, &key).await?)
}

/// Makes `fresh` the current key; the one before it signs for `grace` longer.
pub(super) fn install(
    endpoint: &mut Endpoint,
    fresh: &SecretText,
    grace: Duration,
    now: Timestamp,
) -> Result<(), ApiError> {
    let ends = now + grace;
    let retire = |secret: &EndpointSecret| EndpointSecret {
        key: secret.key.clone(),
        expires_at: Some(secret.expires_at.unwrap_or(ends)),
    };
    let mut live: Vec<EndpointSecret> = endpoint.secrets.iter().map(retire).collect();
    live.retain(|secret| secret.expires_at > Some(now));
    if live.len() > MAX_OLD_KEYS {
        return Err(ApiError::BadRequest {
            code: "limit_reached",
            detail: format!("at most {MAX_OLD_KEYS} old keys can be valid at once").into(),
        });
    }
    endpoint.secrets = live;
    endpoint.secrets.push(EndpointSecret {
        key: fresh.clone(),
        expires_at: None,
    });
    endpoint.updated_at = now;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn endpoint() -> Endpoint {
        Endpoint {
            id: postrider_core::EndpointId::MIN,
            app: postrider_core::AppId::MIN,
            uid: None,
            url: "https://hooks.example.org/".to_owned(),
            description: String::new(),
            event_types: None,
            channels: None,
            disabled: false,
            metadata: std::collections::BTreeMap::new(),
            headers: std::collections::BTreeMap::new(),
            throttle_rate: None,
            secrets: vec![EndpointSecret {
                key: SecretText::new("first".to_owned()),
                expires_at: None,
            }],
            created_at: NOW,
            updated_at: NOW,
            created_version: 1,
            era: 0,
        }
    }

    fn rotate(endpoint: &mut Endpoint, key: &str, grace: Duration, now: Timestamp) -> bool {
        install(endpoint, &SecretText::new(key.to_owned()), grace, now).is_ok()
    }

    fn keys(endpoint: &Endpoint) -> Vec<&str> {
        endpoint.secrets.iter().map(|s| s.key.expose()).collect()
    }

    #[test]
    fn the_old_key_signs_until_its_grace_is_over() {
        let mut endpoint = endpoint();
        assert!(rotate(&mut endpoint, "second", DAY, NOW));
        assert_eq!(keys(&endpoint), ["first", "second"]);
        assert_eq!(endpoint.live_secrets(NOW + DAY).count(), 1);
        assert!(rotate(&mut endpoint, "third", Duration::ZERO, NOW));
        assert_eq!(keys(&endpoint), ["first", "third"]);
        assert!(rotate(&mut endpoint, "fourth", DAY, NOW + DAY));
        assert_eq!(keys(&endpoint), ["third", "fourth"]);
    }

    #[test]
    fn ten_old_keys_are_the_limit() {
        let mut endpoint = endpoint();
        for turn in 0..MAX_OLD_KEYS {
            assert!(rotate(&mut endpoint, &turn.to_string(), DAY, NOW), "{turn}");
        }
        let before = endpoint.clone();
        assert!(!rotate(&mut endpoint, "one too many", DAY, NOW));
        assert_eq!(endpoint.current_secret(), before.current_secret());
        assert!(rotate(&mut endpoint, "later", DAY, NOW + DAY));
    }
}
