//! The six ports: what Postrider needs from a broker and a store, and nothing about how they do it.
//!
//! | port | holds | lost with it |
//! |---|---|---|
//! | [`Broker`] | work that is left to do, payloads included | accepted events: must be durable |
//! | [`Registry`] | applications, endpoints, event types | who subscribed to what |
//! | [`DeliveryLog`] | what happened | history only, never a delivery |
//! | [`DeadLetters`] | what was given up | the chance to send it again |
//! | [`Limits`] | pair records, reservations, rate limits, breakers, trials | protection against duplicates |
//! | [`Documents`] | API keys, revocations, background tasks, operational endpoints | who may call, what was begun |
//!
//! [`Intake`] is none of them: it is what the API is to a broker that takes messages in.
//!
//! Rules that hold for all of them:
//!
//! - **Verbs, never loops.** A port does one thing and returns; the delivery loop exists once, in the engine.
//! - **Time is an argument.** Whatever depends on the time of day takes `now`. What lasts until a time is over at
//!   that time: a lease until `t` lives while `now < t`, a record kept until `t` is absent from `t` on. A backend
//!   that goes by a server's clock instead of `now` says so.
//! - **Durable when it returns.** A method that writes returns after the write would survive the death of the
//!   process (and, where the backend promises that, of a machine). Exceptions say so.
//! - **All or nothing.** A method that takes a list applies all of it or none of it, and the error tells which:
//!   see [`PortError`].
//! - **Cancel-safe.** Dropping a future never corrupts anything; a write that was begun may still happen.
//! - Differences between backends are visible as capabilities, and the conformance suites ask for them.

mod broker;
mod dead_letters;
mod delivery_log;
mod documents;
mod intake;
mod limits;
mod registry;
mod transfer;

use std::sync::Arc;

use async_trait::async_trait;

pub use broker::{
    Broker, BrokerCapabilities, Depth, HandOff, Leased, Pack, RETURN_DELAY, Receipt, Source, Until,
    Window,
};
pub use dead_letters::{DeadLetterFilter, DeadLetters};
pub use delivery_log::{
    AttemptFilter, AttemptScope, Attempted, AttemptedFilter, DeliveryLog, Destination,
    DestinationStatus, EXPUNGED, LogRecord, MessageFilter, MessageKey, MessageKind, Tally,
};
pub use documents::{
    Document, DocumentKind, Documents, Expect, LARGEST_DOCUMENT, NewDocument, Owner, Place,
    next_version,
};
pub use intake::{Incoming, Intake, Refusal, Taken, Why};
pub use limits::{
    Answer, BreakerRecord, BreakerState, Claim, IdempotencyKey, Limits, Partition, RateGrant,
    RateRequest, Reservation, ReservationKey, Reserved, Settlement, TrialEnd, TrialKey,
};
pub use registry::{
    AppKey, Changes, Cursor as ChangeCursor, EndpointKey, Registry, RegistryError, ValidatingTypes,
};
pub use transfer::{ExportCursor, Exported, Imported, RegistryRecord};

/// Why a port could not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// Out of reach. Nothing was changed; try again later.
    #[error("{part} is unavailable: {cause}")]
    Unavailable { part: &'static str, cause: String },
    /// No room to write. Nothing was changed; reading goes on.
    #[error("{part} has no room left to write: {cause}")]
    Full { part: &'static str, cause: String },
    /// Contact was lost in the middle: it may or may not have happened. Repeat it as a possible duplicate.
    #[error("{part} did not say whether it did it: {cause}")]
    Unknown { part: &'static str, cause: String },
    /// What is stored cannot be read. Nobody can mend that by waiting.
    #[error("{part} holds something that cannot be read: {cause}")]
    Corrupt { part: &'static str, cause: String },
    /// The arguments cannot be served, whatever the state of the backend.
    #[error("{0}")]
    Invalid(String),
}

impl PortError {
    /// Whether nothing was changed for certain.
    #[must_use]
    pub const fn changed_nothing(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}

/// What each port can say about itself for `/health`.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Reaches for whatever the port depends on, and for a port that writes, checks that writing would work.
    async fn probe(&self) -> Result<(), PortError>;
}

/// The six ports of one installation.
#[derive(Clone)]
pub struct Ports {
    pub broker: Arc<dyn Broker>,
    pub registry: Arc<dyn Registry>,
    pub log: Arc<dyn DeliveryLog>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub limits: Arc<dyn Limits>,
    pub documents: Arc<dyn Documents>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}
