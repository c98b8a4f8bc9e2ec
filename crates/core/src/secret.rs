//! Text that must not end up in a log: signing secrets, header values that carry credentials.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text whose `Debug` form says nothing. It is stored and sent as it is; whoever wants it must ask.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
