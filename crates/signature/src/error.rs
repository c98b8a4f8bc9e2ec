//! Errors of the crate: one type for secrets that cannot be used, one for webhooks that cannot be
//! trusted.
//!
//! Both are made to be logged as they are, so neither carries any part of a secret nor the
//! signature that would have been right.

use thiserror::Error;

/// Why a secret or public key was not accepted. The message says what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The text starts with a prefix that this crate does not know.
    #[error(
        "unknown prefix of the secret: expected `whsec_` (symmetric), `whsk_` (ed25519 private \
         key) or `whpk_` (ed25519 public key)"
    )]
    UnknownPrefix,
    /// A key of one kind was given where another kind is needed.
    #[error("this is a `{found}` key, but a `{expected}` key is needed here")]
    WrongKind {
        /// The prefix that would have been right.
        expected: &'static str,
        /// The prefix that was found.
        found: &'static str,
    },
    /// The part after the prefix is not base64.
    #[error(
        "the secret is not valid base64: use the standard alphabet (A-Z a-z 0-9 + /), optionally \
         padded with `=`, and remove spaces, line breaks and quotes"
    )]
    InvalidBase64,
    /// The text is longer than any valid secret.
    #[error("the secret is too long: at most {max_chars} base64 characters may follow the prefix")]
    TooLong {
        /// The longest accepted text after the prefix, in characters.
        max_chars: usize,
    },
    /// A symmetric secret decodes to too few or too many bytes.
    #[error(
        "a symmetric secret must be 24 to 75 bytes, this one has {bytes}: generate 32 random \
         bytes and encode them as base64 behind `whsec_`"
    )]
    SymmetricLength {
        /// The number of bytes found.
        bytes: usize,
    },
    /// An ed25519 private key does not decode to 64 (or 32) bytes.
    #[error(
        "an ed25519 private key must be 64 bytes (seed, then public key) or the 32 byte seed \
         alone, this one has {bytes}"
    )]
    Ed25519Length {
        /// The number of bytes found.
        bytes: usize,
    },
    /// The second half of a 64 byte ed25519 private key does not belong to the first.
    #[error(
        "the public half of the ed25519 private key does not belong to its seed: export the key \
         again, or give the 32 byte seed alone"
    )]
    MismatchedPublicHalf,
    /// An ed25519 public key does not decode to 32 bytes.
    #[error("an ed25519 public key must be 32 bytes, this one has {bytes}")]
    PublicKeyLength {
        /// The number of bytes found.
        bytes: usize,
    },
    /// The 32 bytes are no usable ed25519 public key.
    #[error(
        "these bytes are not a usable ed25519 public key: copy the `whpk_` key from the sender \
         again"
    )]
    InvalidPublicKey,
}

/// Why a webhook was not accepted. A receiver answers all of these alike, with status 401 or 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is absent or empty.
    #[error("the header `{name}` is missing")]
    MissingHeader {
        /// The lower-case name of the first header that was not found.
        name: &'static str,
    },
    /// The message id is empty or contains a full stop.
    #[error("the message id is empty or contains a full stop")]
    BadId,
    /// The timestamp is not a whole number of seconds written in decimal digits.
    #[error("the timestamp is not a whole number of seconds since 1970")]
    BadTimestamp,
    /// The webhook was signed longer ago than the tolerance allows.
    #[error("the webhook was signed {age_seconds} s ago, longer than is tolerated")]
    TooOld {
        /// The age of the timestamp by the receiver's clock, in seconds.
        age_seconds: u64,
    },
    /// The timestamp lies further in the future than the tolerance allows.
    #[error("the timestamp is {ahead_seconds} s ahead of this clock, more than is tolerated")]
    TooNew {
        /// How far the timestamp is ahead of the receiver's clock, in seconds.
        ahead_seconds: u64,
    },
    /// No signature in the header was made by one of the keys over this id, timestamp and body.
    #[error(
        "no signature matches: check that the secret is that of this endpoint and that the body \
         is verified as received, before any parsing"
    )]
    NoMatchingSignature,
}
