//! Idempotency: of everybody who asks for the same thing, one does it, and all get the same answer.

mod ends;
mod event_ids;
mod helpers;
mod races;
mod table;

pub use ends::*;
pub use event_ids::*;
pub use races::*;
pub use table::*;

pub(super) use helpers::answer;
