//! Keys prepared for use.
//!
//! A secret is text at rest; a key is what signs or verifies thousands of times. For HMAC the
//! difference matters: mixing the key in costs two of the four or so compression rounds that a
//! small message needs, so it is done once and the resulting state is cloned for each message.

use std::{fmt, str::FromStr};

use ed25519_dalek::ed25519::signature::{MultipartSigner, MultipartVerifier};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::ZeroizeOnDrop;

use crate::{
    error::SecretError,
    secret::{Ed25519PublicKey, Ed25519Secret, Kind, Secret, SymmetricSecret},
    sign::{Content, Signature},
};

/// An HMAC-SHA256 key with its state prepared. As good as the secret, and wiped when dropped.
#[derive(Clone)]
pub struct SymmetricKey(Hmac<Sha256>);

impl SymmetricKey {
    fn new(secret: &SymmetricSecret) -> Self {
        let mac = Hmac::new_from_slice(secret.expose_bytes())
            .expect("HMAC is defined for keys of every length");
        Self(mac)
    }

    pub(crate) fn mac(&self, content: &Content<'_>) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in content.parts() {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl From<&SymmetricSecret> for SymmetricKey {
    fn from(secret: &SymmetricSecret) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(..)")
    }
}

impl ZeroizeOnDrop for SymmetricKey {}

/// Holds the promise above at compile time: without their `zeroize` features the hash and curve
/// crates would still build, and leave keys in freed memory.
const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Sha256>();
    wiped::<ed25519_dalek::SigningKey>();
};

impl Ed25519Secret {
    pub(crate) fn sign_content(&self, content: &Content<'_>) -> [u8; 64] {
        self.0.multipart_sign(&content.parts()).to_bytes()
    }
}

impl Ed25519PublicKey {
    pub(crate) fn accepts(&self, content: &Content<'_>, signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0
            .multipart_verify(&content.parts(), &signature)
            .is_ok()
    }
}

/// A key that signs. Cheap to use, worth caching; it is wiped when dropped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SigningKey {
    /// Makes `v1` signatures.
    Symmetric(SymmetricKey),
    /// Makes `v1a` signatures.
    Ed25519(Ed25519Secret),
}

impl SigningKey {
    /// Signs one message.
    ///
    /// `timestamp` is in seconds since the Unix epoch. The body is read in place, never copied.
    /// `id` must not contain a full stop, as the boundary between id and timestamp would be
    /// ambiguous; [`verify`](crate::verify()) rejects such ids.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Signature {
        let timestamp = timestamp.to_string();
        self.sign_content(&Content {
            id,
            timestamp: &timestamp,
            body,
        })
    }

    pub(crate) fn sign_content(&self, content: &Content<'_>) -> Signature {
        match self {
            Self::Symmetric(key) => Signature::V1(key.mac(content)),
            Self::Ed25519(key) => Signature::V1a(key.sign_content(content)),
        }
    }

    /// The key that accepts what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            Self::Symmetric(key) => VerifyingKey::Symmetric(key.clone()),
            Self::Ed25519(key) => VerifyingKey::Ed25519(key.public_key()),
        }
    }
}

impl From<&Secret> for SigningKey {
    fn from(secret: &Secret) -> Self {
        match secret {
            Secret::Symmetric(secret) => Self::Symmetric(secret.into()),
            Secret::Ed25519(secret) => Self::Ed25519(secret.clone()),
        }
    }
}

impl FromStr for SigningKey {
    type Err = SecretError;

    /// Parses a `whsec_` or `whsk_` secret.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        text.parse::<Secret>().map(|secret| secret.signing_key())
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VerifyingKey {
    /// Checks `v1` signatures. Whoever holds it can also sign.
    Symmetric(SymmetricKey),
    /// Checks `v1a` signatures and can do nothing else.
    Ed25519(Ed25519PublicKey),
}

impl FromStr for VerifyingKey {
    type Err = SecretError;

    /// Parses a `whsec_` secret or a `whpk_` public key. A private `whsk_` key is refused: a
    /// receiver has no business holding one.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        match Kind::split(text)?.0 {
            Kind::Symmetric => text
                .parse::<SymmetricSecret>()
                .map(|secret| Self::Symmetric((&secret).into())),
            Kind::Public | Kind::Private => text.parse().map(Self::Ed25519),
        }
    }
}
