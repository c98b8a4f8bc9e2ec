//! Signing keys.

use std::time::Duration;

use postrider_core::secret::SecretText;
use postrider_signature::Secret;
use serde::Serialize;

use super::fields::Fields;
use crate::error::ApiError;
use crate::validate;

/// Seconds that an old key goes on signing.
const DEFAULT_GRACE: u64 = 24 * 3600;
const MAX_GRACE: u64 = 7 * 24 * 3600;

/// A change of keys.
#[derive(Debug, Clone)]
pub(crate) struct RotateIn {
    pub(crate) key: Option<SecretText>,
    pub(crate) grace: Duration,
}

impl RotateIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let key = fields.checked("key", validate::secret)?.value();
        let grace = fields.integer("gracePeriodSeconds", 0..=MAX_GRACE)?.value();
        Ok(Self {
            key,
            grace: Duration::from_secs(grace.unwrap_or(DEFAULT_GRACE)),
        })
    }
}

/// What a receiver needs to verify: the key itself, or its public half where there are two.
#[derive(Debug, Serialize)]
pub(crate) struct SecretOut {
    key: String,
}

impl SecretOut {
    /// `None` where what is stored is no key.
    pub(crate) fn of(stored: &SecretText) -> Option<Self> {
        let key = match stored.expose().parse().ok()? {
            Secret::Ed25519(pair) => pair.public_key().to_public_string(),
            secret => secret.to_secret_string().to_string(),
        };
        Some(Self { key })
    }
}
