//! Sign and verify webhooks by the [Standard Webhooks][spec] specification.
//!
//! Why a crate of its own: the sender and the receiver of a webhook must agree to the byte, and a
//! receiver should not have to pull in a delivery platform to check one. Hence what is absent:
//! no I/O, no clock, no random numbers, no HTTP types. The time is an argument, random bytes come
//! from the caller, and headers are plain strings.
//!
//! What is signed is `{id}.{timestamp}.{body}`, with the timestamp in whole seconds since the Unix
//! epoch and the body exactly as it travels. Two schemes exist:
//!
//! | scheme | signature | secret of the sender | what the receiver holds |
//! |---|---|---|---|
//! | HMAC-SHA256 | `v1,<base64>` | `whsec_<base64>`, 24–75 bytes | the same secret |
//! | ed25519 | `v1a,<base64>` | `whsk_<base64>`, seed and public half | `whpk_<base64>`, 32 bytes |
//!
//! # Example
//!
//! ```
//! use postrider_signature::{
//!     DEFAULT_TOLERANCE, Secret, SigningKey, VerifyingKey, WebhookHeaders, sign_all, verify,
//! };
//!
//! // The sender: parse once, keep the prepared key, sign every delivery with it.
//! let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let keys: Vec<SigningKey> = vec![secret.signing_key()];
//! let body = br#"{"type":"invoice.paid"}"#;
//! let signature = sign_all(&keys, "msg_1", 1_700_000_000, body);
//!
//! // The receiver: the same three header values, the raw body, its own clock in seconds.
//! let key: VerifyingKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let headers = WebhookHeaders { id: "msg_1", timestamp: "1700000000", signature: &signature };
//! verify([&key], &headers, body, 1_700_000_002, DEFAULT_TOLERANCE)?;
//!
//! assert!(verify([&key], &headers, b"forged", 1_700_000_002, DEFAULT_TOLERANCE).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [spec]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

#![warn(missing_docs)]

mod encoding;
mod error;
mod header;
mod key;
mod secret;
mod sign;
mod verify;

pub use error::{SecretError, VerifyError};
pub use header::{
    SVIX_ID, SVIX_SIGNATURE, SVIX_TIMESTAMP, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    WebhookHeaders,
};
pub use key::{SigningKey, SymmetricKey, VerifyingKey};
pub use secret::{Ed25519PublicKey, Ed25519Secret, Secret, SymmetricSecret};
pub use sign::{Signature, sign_all};
pub use verify::{DEFAULT_TOLERANCE, MAX_SIGNATURES, verify};
/// The wrapper in which secrets leave this crate as text; it wipes its memory when dropped.
pub use zeroize::Zeroizing;

/// Compiles and runs the examples of the readme.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
