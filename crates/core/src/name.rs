//! Names that people choose: uids, event types, channels. All share one alphabet, so that any of them can
//! stand in a URL path unescaped.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text cannot be such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {limit} characters")]
    TooLong { limit: usize },
    #[error("may contain only letters, digits, `-`, `_` and `.`")]
    Alphabet,
}

fn check(text: &str, limit: usize) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match text {
        "" => Err(NameError::Empty),
        _ if text.len() > limit => Err(NameError::TooLong { limit }),
        _ if !text.bytes().all(allowed) => Err(NameError::Alphabet),
        _ => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $limit:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most characters such a name may have.
            pub const MAX_LEN: usize = $limit;

            /// Checks the alphabet and the length.
            ///
            /// # Errors
            /// Says which of them is wrong.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, Self::MAX_LEN)?;
                Ok(Self(text.into()))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// An identifier of the operator's own choosing: an application's or endpoint's `uid`, a message's `eventId`.
    Uid, 256
);
name!(
    /// The name of an event type, `order.paid` for instance.
    EventTypeName, 256
);
name!(
    /// A channel: a second dimension, beside the event type, by which an endpoint filters messages.
    Channel, 128
);
name!(
    /// What a document is called within its place.
    DocumentName, 256
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(Uid::new(""), Err(NameError::Empty));
        assert_eq!(
            Uid::new(&"a".repeat(257)),
            Err(NameError::TooLong { limit: 256 })
        );
        assert_eq!(Channel::new("a b"), Err(NameError::Alphabet));
        assert_eq!(EventTypeName::new("grüße"), Err(NameError::Alphabet));
        assert_eq!(
            EventTypeName::new("order.paid-2_x").unwrap().as_str(),
            "order.paid-2_x"
        );
    }
}
