//! Identifiers: a prefix that names the kind, an underscore, and 27 base62 digits of a KSUID with
//! millisecond time (4 bytes of seconds since 2014-05-13, 1 byte of 4 ms steps, 15 random bytes), so that
//! sorting identifiers sorts by time of creation. Kept as 20 bytes in memory and in every store; the text
//! form exists only at the edges.
//!
//! Layout of the KSUID with milliseconds: <https://github.com/svix/rust-ksuid>.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base62;
use crate::time::Timestamp;

/// Seconds between the Unix epoch and the epoch of KSUIDs.
const KSUID_EPOCH_SECS: i64 = 1_400_000_000;
/// Random bytes in an identifier.
pub const RANDOM_LEN: usize = 15;

/// A text that should have been an identifier and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of this kind: expected `{prefix}` followed by 27 letters or digits")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; base62::DECODED_LEN]);

        impl $name {
            /// What the text form starts with.
            pub const PREFIX: &'static str = $prefix;
            /// The smallest and the largest value: bounds for range queries.
            pub const MIN: Self = Self([0; base62::DECODED_LEN]);
            pub const MAX: Self = Self([0xff; base62::DECODED_LEN]);

            /// An identifier made at `now` from random bytes.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; RANDOM_LEN]) -> Self {
                Self(assemble(now, random))
            }

            #[must_use]
            pub const fn from_bytes(bytes: [u8; base62::DECODED_LEN]) -> Self {
                Self(bytes)
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; base62::DECODED_LEN] {
                &self.0
            }

            /// When it was made, to 4 ms.
            #[must_use]
            pub fn created_at(&self) -> Timestamp {
                time_of(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                let digits = base62::encode(&self.0);
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(base62::decode)
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteArray::deserialize(deserializer)?;
                    Ok(Self(bytes.into_array()))
                }
            }
        }
    };
}

identifier!(
    /// An organisation: one operator of Postrider, the owner of applications.
    OrgId, "org_"
);
identifier!(
    /// An application: one customer of the operator, the owner of endpoints and messages.
    AppId, "app_"
);
identifier!(
    /// An endpoint: one URL that an application's messages are delivered to.
    EndpointId, "ep_"
);
identifier!(
    /// A message: one event, accepted once. Its text form is the `webhook-id` of every attempt.
    MessageId, "msg_"
);
identifier!(
    /// One attempt to deliver one message to one endpoint.
    AttemptId, "atmpt_"
);
identifier!(
    /// A delivery that was given up.
    DeadLetterId, "dead_"
);
identifier!(
    /// A piece of work that goes on after its request was answered.
    TaskId, "qtask_"
);
identifier!(
    /// A key with which programs call.
    ApiKeyId, "key_"
);

fn assemble(now: Timestamp, random: [u8; RANDOM_LEN]) -> [u8; base62::DECODED_LEN] {
    let seconds = now.as_secs() - KSUID_EPOCH_SECS;
    let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
    let steps = u8::try_from(now.as_millis().rem_euclid(1000) / 4).unwrap_or(u8::MAX);
    let mut bytes = [0; base62::DECODED_LEN];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4] = steps;
    bytes[5..].copy_from_slice(&random);
    bytes
}

fn time_of(bytes: &[u8; base62::DECODED_LEN]) -> Timestamp {
    let seconds = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Timestamp::from_millis((i64::from(seconds) + KSUID_EPOCH_SECS) * 1000 + i64::from(bytes[4]) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use svix_ksuid::{KsuidLike, KsuidMs};

    proptest! {
        #[test]
        fn round_trips(millis in 1_400_000_000_000i64..5_000_000_000_000, random: [u8; RANDOM_LEN]) {
            let now = Timestamp::from_millis(millis);
            let id = MessageId::new(now, random);
            let text = id.to_string();
            prop_assert_eq!(text.parse::<MessageId>(), Ok(id));
            prop_assert_eq!(id.created_at().as_millis(), millis / 4 * 4);
            let reference: KsuidMs = text[MessageId::PREFIX.len()..].parse().unwrap();
            prop_assert_eq!(reference.bytes(), id.as_bytes());
            prop_assert_eq!(reference.timestamp_millis(), millis / 4 * 4);
        }

        #[test]
        fn sorts_by_time(a in 1_400_000_000_000i64..5_000_000_000_000, apart in 4i64..1_000_000, r: [u8; RANDOM_LEN], s: [u8; RANDOM_LEN]) {
            let first = AttemptId::new(Timestamp::from_millis(a), r);
            let second = AttemptId::new(Timestamp::from_millis(a + apart), s);
            prop_assert!(first < second);
            prop_assert!(first.to_string() < second.to_string());
        }
    }

    #[test]
    fn is_text_for_people_and_bytes_for_machines() {
        let id = AppId::new(Timestamp::from_millis(1_700_000_000_000), [7; RANDOM_LEN]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<AppId>(&json).unwrap(), id);
        let packed = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(packed.len(), 22);
        assert_eq!(rmp_serde::from_slice::<AppId>(&packed).unwrap(), id);
    }

    #[test]
    fn a_wrong_kind_is_refused_with_a_hint() {
        let error = "ep_0".parse::<AppId>().unwrap_err();
        assert!(error.to_string().contains("app_"));
    }
}
