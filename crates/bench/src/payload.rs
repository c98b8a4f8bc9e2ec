//! Payloads that say which event they are.

/// The smallest payload that can be made.
pub const LEAST: usize = 32;

const MARK: &[u8] = b"\"n\":";

/// JSON of `size` bytes; of [`LEAST`] where that is more.
#[must_use]
pub fn make(number: u32, size: usize) -> String {
    let start = format!(r#"{{"n":{number},"p":""#);
    let end = r#""}"#;
    let padding = size.max(LEAST) - start.len() - end.len();
    format!("{start}{}{end}", "x".repeat(padding))
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
