//! The domain of Postrider: plain data, pure decisions, and the ports that backends implement.
//!
//! What is deliberately absent: no HTTP, no AMQP, no Redis, no SQL, no configuration, no clock and no
//! source of randomness. A decision takes `now` and, where it needs chance, a number; somebody else acts
//! on it. That is what lets a retry schedule of more than a day run in milliseconds in a test, and what
//! lets a second backend replace the first without touching a rule.

pub mod application;
pub mod attempt;
pub mod base62;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dead_letter;
pub mod endpoint;
pub mod envelope;
pub mod event_type;
pub mod id;
pub mod ladder;
pub mod matching;
pub mod message;
pub mod name;
pub mod page;
pub mod pair;
pub mod ports;
pub mod rate;
pub mod registry_cache;
pub mod registry_file;
pub mod retry_after;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
pub mod schedule;
pub mod secret;
pub mod target;
pub mod time;
pub mod withdrawn;

pub use application::{AppSnapshot, Application};
pub use attempt::{AttemptRecord, Disposition, Failure, Reply};
pub use dead_letter::{DeadLetter, DeadReason};
pub use endpoint::Endpoint;
pub use event_type::EventType;
pub use id::{ApiKeyId, AppId, AttemptId, DeadLetterId, EndpointId, MessageId, OrgId, TaskId};
pub use message::{Event, Item, MessageRecord, Target, Trigger, Work};
pub use name::{Channel, DocumentName, EventTypeName, NameError, Uid};
pub use pair::{ChainId, PairKey};
pub use time::{Clock, Timestamp};
