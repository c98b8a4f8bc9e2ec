//! Base64 for secrets and signatures.
//!
//! Secrets are decoded leniently as to padding, because people copy them by hand; signatures are
//! decoded strictly, so that one signature has exactly one spelling. Intermediate buffers of
//! secrets live on the stack and are wiped.

use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use zeroize::Zeroizing;

use crate::error::SecretError;

/// The longest base64 text of a secret, in characters; it encodes 75 bytes.
pub(crate) const MAX_SECRET_CHARS: usize = 100;

const PADDING_OPTIONAL: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the part of a secret behind its prefix.
pub(crate) fn decode_secret(text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    if text.len() > MAX_SECRET_CHARS {
        return Err(SecretError::TooLong {
            max_chars: MAX_SECRET_CHARS,
        });
    }
    let mut buffer = Zeroizing::new([0_u8; MAX_SECRET_CHARS]);
    // The decoder's own error names the offending byte, which is a byte of the secret: dropped.
    let length = PADDING_OPTIONAL
        .decode_slice(text, buffer.as_mut_slice())
        .map_err(|_| SecretError::InvalidBase64)?;
    Ok(Zeroizing::new(buffer[..length].to_vec()))
}

/// Encodes at most 75 bytes of a secret behind `prefix`, leaving no copy behind.
pub(crate) fn encode_secret(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut buffer = Zeroizing::new([0_u8; MAX_SECRET_CHARS]);
    let length = STANDARD
        .encode_slice(bytes, buffer.as_mut_slice())
        .expect("secrets are at most 75 bytes by construction");
    // Sized up front: growing would leave the first part of the secret in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + length));
    text.push_str(prefix);
    text.extend(buffer[..length].iter().copied().map(char::from));
    text
}

/// Appends public bytes as base64.
pub(crate) fn append_base64(out: &mut String, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}

/// Decodes exactly `N` bytes, or nothing: padding and trailing bits must be canonical.
pub(crate) fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Two spare bytes, as the decoder estimates in whole groups of three.
    let mut buffer = [0_u8; MAX_SIGNATURE_BYTES + 2];
    if N > MAX_SIGNATURE_BYTES || text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    let length = STANDARD.decode_slice(text, &mut buffer).ok()?;
    buffer[..length].try_into().ok()
}

/// The size of an ed25519 signature, the longest there is.
const MAX_SIGNATURE_BYTES: usize = 64;
