//! Payloads that say which event they are.

use std::sync::LazyLock;

/// The smallest payload that can be made.
pub const LEAST: usize = 32;

const MARK: &[u8] = b"\"n\":";

/// Letters and digits in no order, so that compressing gains what it gains of real payloads at most.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 58) as usize])
    };
    (0..TEXT_LENGTH).map(letter).collect()
});
const TEXT_LENGTH: usize = 2 * 1024 * 1024;

/// JSON of `size` bytes, at most 1 MiB; of [`LEAST`] where that is more.
#[must_use]
pub fn make(number: u32, size: usize) -> String {
    let start = format!(r#"{{"n":{number},"p":""#);
    let end = r#""}"#;
    let padding = size.max(LEAST) - start.len() - end.len();
    // Each event has another part.
    let from = number as usize * 7_919 % (TEXT_LENGTH / 2);
    format!("{start}{}{end}", &TEXT[from..from + padding])
}

/// The number of the event that a request carries, wherever in it the payload begins.
#[must_use]
pub fn number(body: &[u8]) -> Option<u32> {
    let at = body.windows(MARK.len()).position(|bytes| bytes == MARK)?;
    let digits = &body[at + MARK.len()..];
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_its_number() {
        for number in [0, 7, u32::MAX] {
            for size in [0, LEAST, 512, 65_536] {
                let payload = make(number, size);
                assert_eq!(payload.len(), size.max(LEAST));
                assert_eq!(super::number(payload.as_bytes()), Some(number));
                let wrapped = format!(r#"{{"eventType":"a","payload":{payload}}}"#);
                assert_eq!(super::number(wrapped.as_bytes()), Some(number));
            }
        }
        assert_eq!(number(b"{}"), None);
        assert_eq!(number(b"{\"n\":x"), None);
    }
}
