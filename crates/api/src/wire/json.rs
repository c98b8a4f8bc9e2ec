//! From bytes to JSON text, within bounds that the parser itself does not set.

use memchr::memchr2;

use crate::error::{ApiError, kind};

/// How deep objects and arrays may be nested, payloads included: a subscriber's parser has to live with it, too.
pub(crate) const MAX_DEPTH: usize = 64;

/// The body as text that is safe to be parsed. Raw values within it are never looked at again, so what must hold
/// for them is checked here.
pub(crate) fn text(body: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        malformed(format!("the body is not UTF-8: see byte {at}"))
    })?;
    if is_too_deep(body) {
        return Err(too_deep());
    }
    Ok(text)
}

pub(crate) fn too_deep() -> ApiError {
    malformed(format!(
        "the body nests objects and arrays more than {MAX_DEPTH} deep"
    ))
}

pub(crate) fn malformed(message: String) -> ApiError {
    ApiError::invalid(&["body"], kind::JSON, message)
}

pub(crate) fn syntax(error: &serde_json::Error) -> ApiError {
    malformed(format!("the body is not valid JSON: {error}"))
}

/// Counts brackets outside of strings, which are most of a payload and passed over as a whole. Text that is no JSON may be
/// counted wrongly; the parser refuses it later.
fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'"' => at += string_length(&body[at..]),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// To behind the quotation mark that ends a string.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        // What is escaped ends nothing.
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn sixty_four_levels_are_the_limit() {
        assert!(text(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(text(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        let side_by_side = format!("[{}0]", "[],".repeat(1000));
        assert!(text(side_by_side.as_bytes()).is_ok());
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let brackets = "[{".repeat(100);
        let json = format!(r#"{{"a\"{brackets}":"{brackets}\\"}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        assert!(text(json.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn valid_json_is_measured_exactly(depth in 1usize..120, inside in "[a-z\\[\\]{}\\\\\"]{0,12}") {
            let inner = serde_json::to_string(&inside).unwrap();
            let json = format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            prop_assert_eq!(text(json.as_bytes()).is_ok(), depth <= MAX_DEPTH);
        }
    }
}
