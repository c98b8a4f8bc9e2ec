//! Signatures and the header value that carries them.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::{
    encoding::{append_base64, decode_exact},
    key::SigningKey,
};

/// What a signature covers, in pieces, so that nothing needs to be put together in memory.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) id: &'a str,
    /// Kept as text: a receiver must check the very characters that were signed.
    pub(crate) timestamp: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Content<'a> {
    pub(crate) fn parts(&self) -> [&'a [u8]; 5] {
        [
            self.id.as_bytes(),
            b".",
            self.timestamp.as_bytes(),
            b".",
            self.body,
        ]
    }
}

/// One signature of one message.
///
/// Its `Debug` shows the version only: within the tolerance a logged signature could be replayed.
/// Equality takes the same time wherever two signatures differ.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Signature {
    /// `v1`: HMAC-SHA256.
    V1([u8; 32]),
    /// `v1a`: ed25519.
    V1a([u8; 64]),
}

impl Signature {
    /// The version as it stands before the comma: `v1` or `v1a`.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        match self {
            Self::V1(_) => "v1",
            Self::V1a(_) => "v1a",
        }
    }

    /// The raw bytes: 32 for `v1`, 64 for `v1a`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V1(bytes) => bytes,
            Self::V1a(bytes) => bytes,
        }
    }

    /// The signature as one entry of the header: version, comma, base64.
    #[must_use]
    pub fn to_header_entry(&self) -> String {
        let mut entry = String::with_capacity(MAX_ENTRY_CHARS);
        self.append_to(&mut entry);
        entry
    }

    /// Reads one entry of the header; nothing if it is malformed or of an unknown version.
    pub(crate) fn from_header_entry(entry: &str) -> Option<Self> {
        match entry.split_once(',')? {
            ("v1", encoded) => decode_exact(encoded).map(Self::V1),
            ("v1a", encoded) => decode_exact(encoded).map(Self::V1a),
            _ => None,
        }
    }

    fn append_to(&self, out: &mut String) {
        out.push_str(self.version());
        out.push(',');
        append_base64(out, self.as_bytes());
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        // Slices of unequal length, that is unequal versions, compare as different.
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Signature {}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}, ..)", self.version())
    }
}

/// Signs one message with several keys and returns the value of the signature header.
///
/// Give the keys oldest first and the current one last; during a rotation that is the old key and
/// the new one. `timestamp` is in seconds since the Unix epoch. Without keys the value is empty.
///
/// The shape of the value is the one that every verification library in use reads: one space
/// between entries, nothing after the last, and the current `v1` at the end. Ed25519 entries hence
/// come before symmetric ones, whatever their age; within a kind the given order is kept.
///
/// ```
/// use postrider_signature::{SigningKey, sign_all};
///
/// let old: SigningKey = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse()?;
/// let current: SigningKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let value = sign_all([&old, &current], "msg_1", 1_700_000_000, b"{}");
/// assert_eq!(value.split(' ').count(), 2);
/// # Ok::<(), postrider_signature::SecretError>(())
/// ```
pub fn sign_all<'k>(
    keys: impl IntoIterator<Item = &'k SigningKey, IntoIter: Clone>,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> String {
    let timestamp = timestamp.to_string();
    let content = Content {
        id,
        timestamp: &timestamp,
        body,
    };
    let keys = keys.into_iter();
    let is_symmetric = |key: &&SigningKey| matches!(key, SigningKey::Symmetric(_));
    let others = keys.clone().filter(|key| !is_symmetric(key));
    let ordered = others.chain(keys.filter(is_symmetric));

    let mut value = String::with_capacity(MAX_ENTRY_CHARS);
    for key in ordered {
        if !value.is_empty() {
            value.push(' ');
        }
        key.sign_content(&content).append_to(&mut value);
    }
    value
}

/// The longest entry: `v1a,` and 64 bytes in base64. Two symmetric entries need about as much.
const MAX_ENTRY_CHARS: usize = 4 + 88;
