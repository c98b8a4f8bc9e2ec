//! What was given up, and why.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{DeadLetterId, EndpointId};
use crate::message::Event;
use crate::pair::ChainId;
use crate::time::Timestamp;

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The last attempt of the schedule failed.
    Exhausted,
    /// The subscriber answered 410: it will never want this again.
    Gone,
    /// The work could not be read, or kills whoever touches it. Kept with its bytes.
    Poison,
}

impl DeadReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Gone => "gone",
            Self::Poison => "poison",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Exhausted, Self::Gone, Self::Poison]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

/// What is known when a delivery is given up; travels with the work until it is filed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadNote {
    pub id: DeadLetterId,
    pub endpoint: EndpointId,
    pub chain: ChainId,
    pub reason: DeadReason,
    /// Attempts made in this chain.
    pub attempts: u16,
    /// HTTP status of the last answer; 0 where there was none.
    pub last_status: u16,
    /// The last answer's body, or what went wrong; cut to [`NOTE_RESPONSE_LIMIT`].
    pub last_response: String,
    pub died_at: Timestamp,
}

/// Bytes of the last response that a dead letter keeps. The attempt in the log has more of it.
pub const NOTE_RESPONSE_LIMIT: usize = 1024;

/// A delivery that was given up, as filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetter {
    /// One message for one endpoint.
    Delivery { event: Arc<Event>, note: DeadNote },
    /// Work that could not be read: its bytes, and what is wrong with them. It belongs to no application.
    Unreadable {
        id: DeadLetterId,
        died_at: Timestamp,
        cause: String,
        raw: Bytes,
    },
}

impl DeadLetter {
    #[must_use]
    pub const fn id(&self) -> DeadLetterId {
        match self {
            Self::Delivery { note, .. } => note.id,
            Self::Unreadable { id, .. } => *id,
        }
    }
}
