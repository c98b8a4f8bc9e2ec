//! Base62 of 20-byte identifiers, as KSUID defines it: 27 digits of `0-9A-Za-z`, zero-padded.
//!
//! Written here rather than taken from a crate because every delivery prints an identifier, and the
//! general-purpose encoders allocate big integers for it. The tests hold it against such a crate.

/// Digits of an encoded identifier.
pub const ENCODED_LEN: usize = 27;
/// Bytes of an identifier.
pub const DECODED_LEN: usize = 20;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LIMBS: usize = DECODED_LEN / 4;
/// The largest power of 62 below 2^32: five digits leave the big number in one pass over its limbs.
const CHUNK: u64 = 62 * 62 * 62 * 62 * 62;
const CHUNK_DIGITS: usize = 5;

/// Encodes `bytes` as 27 ASCII digits. The order of the texts is the order of the bytes.
#[must_use]
pub fn encode(bytes: &[u8; DECODED_LEN]) -> [u8; ENCODED_LEN] {
    let mut limbs = [0u32; LIMBS];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(4)) {
        *limb = chunk
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
    }
    let mut digits = [b'0'; ENCODED_LEN];
    let mut end = ENCODED_LEN;
    while end > 0 {
        let mut rest = divide(&mut limbs);
        let start = end.saturating_sub(CHUNK_DIGITS);
        for digit in digits[start..end].iter_mut().rev() {
            *digit = ALPHABET[(rest % 62) as usize];
            rest /= 62;
        }
        end = start;
    }
    digits
}

/// Decodes 27 digits; `None` where the text has another length, another alphabet, or a value of more than 160 bits.
#[must_use]
pub fn decode(text: &str) -> Option<[u8; DECODED_LEN]> {
    if text.len() != ENCODED_LEN {
        return None;
    }
    let mut limbs = [0u32; LIMBS];
    for digit in text.bytes() {
        multiply_add(&mut limbs, digit_value(digit)?)?;
    }
    let mut bytes = [0; DECODED_LEN];
    for (chunk, limb) in bytes.chunks_exact_mut(4).zip(limbs) {
        chunk.copy_from_slice(&limb.to_be_bytes());
    }
    Some(bytes)
}

fn divide(limbs: &mut [u32; LIMBS]) -> u64 {
    let mut rest = 0u64;
    for limb in limbs.iter_mut() {
        let value = rest << 32 | u64::from(*limb);
        *limb = u32::try_from(value / CHUNK).unwrap_or(u32::MAX);
        rest = value % CHUNK;
    }
    rest
}

fn multiply_add(limbs: &mut [u32; LIMBS], digit: u32) -> Option<()> {
    let mut carry = u64::from(digit);
    for limb in limbs.iter_mut().rev() {
        let value = u64::from(*limb) * 62 + carry;
        *limb = (value & u64::from(u32::MAX)) as u32;
        carry = value >> 32;
    }
    (carry == 0).then_some(())
}

fn digit_value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'Z' => digit - b'A' + 10,
        b'a'..=b'z' => digit - b'a' + 36,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use svix_ksuid::{KsuidLike, KsuidMs};

    proptest! {
        #[test]
        fn agrees_with_the_reference_encoder(bytes: [u8; DECODED_LEN]) {
            let ours = encode(&bytes);
            let text = std::str::from_utf8(&ours).unwrap();
            prop_assert_eq!(text, KsuidMs::from_bytes(bytes).to_string());
            prop_assert_eq!(decode(text), Some(bytes));
        }

        #[test]
        fn keeps_the_order_of_the_bytes(a: [u8; DECODED_LEN], b: [u8; DECODED_LEN]) {
            prop_assert_eq!(a.cmp(&b), encode(&a).cmp(&encode(&b)));
        }

        #[test]
        fn never_panics_on_any_text(text in ".{0,40}") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn refuses_what_is_no_identifier() {
        assert_eq!(decode("2".repeat(26).as_str()), None);
        assert_eq!(decode("z".repeat(27).as_str()), None, "more than 160 bits");
        assert_eq!(decode("-00000000000000000000000000"), None);
    }
}
