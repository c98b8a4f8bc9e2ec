//! Endpoints: where an application's messages go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AppId, EndpointId};
use crate::name::{Channel, EventTypeName, Uid};
use crate::secret::SecretText;
use crate::time::Timestamp;

/// A URL that messages are delivered to, with its filters and its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub app: AppId,
    /// Unique within the application.
    pub uid: Option<Uid>,
    pub url: String,
    pub description: String,
    /// Event types it wants; `None` is all.
    pub event_types: Option<Vec<EventTypeName>>,
    /// Channels it listens on; `None` is all.
    pub channels: Option<Vec<Channel>>,
    pub disabled: bool,
    pub metadata: BTreeMap<String, String>,
    /// Sent with every request, beside those that delivery itself sets.
    pub headers: BTreeMap<String, SecretText>,
    /// Deliveries per second that the subscriber wants at most; `None` is no limit.
    pub throttle_rate: Option<u16>,
    /// Signing keys, oldest first; the last one is the current one and never expires.
    pub secrets: Vec<EndpointSecret>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The application's version at which it came into being: messages accepted before do not match it.
    pub created_version: u64,
    /// Grows when it is disabled. Work that carries an older era is canceled instead of sent.
    pub era: u32,
}

/// A signing key and how long it still signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSecret {
    /// `whsec_…` or `whsk_…`.
    pub key: SecretText,
    /// `None` for the current key.
    pub expires_at: Option<Timestamp>,
}

impl Endpoint {
    /// The keys that sign at `now`, oldest first.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
        self.secrets
            .iter()
            .filter(move |secret| secret.expires_at.is_none_or(|end| end > now))
    }

    /// The key that a subscriber is shown.
    #[must_use]
    pub fn current_secret(&self) -> Option<&EndpointSecret> {
        self.secrets.last()
    }

    /// Turns it off; whatever waits for it is canceled when its turn comes.
    pub fn disable(&mut self) {
        if !self.disabled {
            self.disabled = true;
            self.era += 1;
        }
    }
}
