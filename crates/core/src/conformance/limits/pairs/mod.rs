//! Pair records: of everybody who carries an attempt, one makes it.

mod claims;
mod helpers;
mod keeping;
mod model;
mod outcomes;
mod races;

pub use claims::*;
pub use keeping::*;
pub use model::*;
pub use outcomes::*;
pub use races::*;
