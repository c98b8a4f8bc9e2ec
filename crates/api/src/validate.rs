//! What names and values must look like. Pure: a text in, the narrower type or a sentence out.

use std::collections::BTreeMap;

use http::HeaderName;
use postrider_core::ports::AppKey;
use postrider_core::secret::SecretText;
use postrider_core::{AppId, Channel, EndpointId, EventTypeName, MessageId, Timestamp, Uid};
use postrider_signature::Secret;

use crate::wire::fields::Check;

/// Bytes that metadata may have as JSON.
const MAX_METADATA: usize = 4096;
/// Bytes that the value of one header may have.
const MAX_HEADER_VALUE: usize = 4096;
/// Headers that an endpoint or a message may add; receivers refuse requests with many more.
const MAX_HEADERS: usize = 64;
/// Characters of a tag.
const MAX_TAG: usize = 256;
/// Tags of a message.
pub(crate) const MAX_TAGS: usize = 10;

fn uid(text: &str, own_prefix: &str) -> Check<Uid> {
    // It could not be told from an identifier in a path.
    if text.starts_with(own_prefix) {
        return Err(format!("must not start with `{own_prefix}`"));
    }
    Uid::new(text).map_err(|error| error.to_string())
}

pub(crate) fn app_uid(text: &str) -> Check<Uid> {
    uid(text, AppId::PREFIX)
}

/// An application, by its identifier or its uid.
pub(crate) fn app_key(text: &str) -> Check<AppKey> {
    match text.parse() {
        Ok(id) => Ok(AppKey::Id(id)),
        Err(_) => app_uid(text).map(AppKey::Uid),
    }
}

pub(crate) fn endpoint_uid(text: &str) -> Check<Uid> {
    uid(text, EndpointId::PREFIX)
}

pub(crate) fn event_id(text: &str) -> Check<Uid> {
    uid(text, MessageId::PREFIX)
}

pub(crate) fn event_type(text: &str) -> Check<EventTypeName> {
    EventTypeName::new(text).map_err(|error| error.to_string())
}

pub(crate) fn channel(text: &str) -> Check<Channel> {
    Channel::new(text).map_err(|error| error.to_string())
}

/// Feature flags share the alphabet of event types.
pub(crate) fn feature_flag(text: &str) -> Check<String> {
    event_type(text).map(|_| text.to_owned())
}

pub(crate) fn tag(text: &str) -> Check<String> {
    let length = text.chars().count();
    if !(1..=MAX_TAG).contains(&length) || text.chars().any(char::is_control) {
        return Err(format!(
            "each must have 1 to {MAX_TAG} characters, none of them a control character"
        ));
    }
    Ok(text.to_owned())
}

pub(crate) fn time(text: &str) -> Check<Timestamp> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "must be a time as of RFC 3339".to_owned())
}

pub(crate) fn not_empty(text: &str) -> Check<String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(text.to_owned())
}

pub(crate) fn metadata(metadata: &BTreeMap<String, String>) -> Check<()> {
    let size = serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len());
    if size > MAX_METADATA {
        return Err(format!("must have at most {MAX_METADATA} bytes as JSON"));
    }
    Ok(())
}

/// A signing secret in any of its spellings, as it is stored.
pub(crate) fn secret(text: &str) -> Check<SecretText> {
    let secret: Secret = text
        .parse()
        .map_err(|error: postrider_signature::SecretError| error.to_string())?;
    Ok(SecretText::new(secret.to_secret_string().to_string()))
}

/// Headers that delivery sets itself, or that would change how a request is framed or routed. Names in lower case;
/// a `*` at the end stands for anything.
const FORBIDDEN_HEADERS: [&str; 13] = [
    "host",
    "content-*",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-*",
    "webhook-*",
    "svix-*",
    "ce-*",
];

fn is_forbidden(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FORBIDDEN_HEADERS
        .iter()
        .any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *rule,
        })
}

fn header(name: &str, value: &str) -> Check<()> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("{name:?} cannot be the name of a header"));
    }
    if is_forbidden(name) {
        return Err(format!("the header `{name}` cannot be set"));
    }
    if value.len() > MAX_HEADER_VALUE {
        return Err(format!(
            "the value of `{name}` has more than {MAX_HEADER_VALUE} bytes"
        ));
    }
    // What lies beyond ASCII has no agreed meaning in a header, and receivers reject it.
    if !value
        .bytes()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    {
        return Err(format!(
            "the value of `{name}` may contain only visible ASCII characters, spaces and tabs"
        ));
    }
    Ok(())
}

/// Headers that requests are to carry. Names are kept as they were written, and compared without regard to case.
pub(crate) fn headers(headers: &BTreeMap<String, String>) -> Check<()> {
    if headers.len() > MAX_HEADERS {
        return Err(format!("at most {MAX_HEADERS} headers can be set"));
    }
    let mut names = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        header(name, value)?;
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            return Err(format!("the header `{name}` is given twice"));
        }
        names.push(name);
    }
    Ok(())
}

/// Words in a header's name that make its value a credential.
const SENSITIVE_WORDS: [&str; 10] = [
    "auth",
    "token",
    "secret",
    "key",
    "apikey",
    "cookie",
    "password",
    "credential",
    "signature",
    "session",
];

/// Whether the value of this header is shown to nobody: its name looks like that of a credential.
pub(crate) fn is_sensitive_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SENSITIVE_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn one(name: &str, value: &str) -> Check<()> {
        headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_uid_cannot_pass_for_an_identifier_of_its_own_kind() {
        assert!(app_uid("app_customer").is_err());
        assert!(app_uid("ep_customer").is_ok());
        assert!(endpoint_uid("ep_1").is_err());
        assert!(event_id("msg_1").is_err());
        assert!(event_id("order-1042").is_ok());
        assert!(app_uid(&"a".repeat(256)).is_ok());
        assert!(app_uid(&"a".repeat(257)).is_err());
        assert!(app_uid("with space").is_err());
    }

    #[test]
    fn headers_that_delivery_needs_for_itself_are_refused() {
        for name in [
            "Host",
            "content-type",
            "Content-Length",
            "Transfer-Encoding",
            "connection",
            "TE",
            "trailer",
            "Upgrade",
            "expect",
            "Proxy-Authorization",
            "webhook-id",
            "Svix-Signature",
            "ce-id",
            "",
            "a b",
            "a:b",
            "a\r\nb",
            "ü",
        ] {
            assert!(one(name, "x").is_err(), "{name}");
        }
        for name in ["X-Api-Key", "authorization", "contents", "tea", "hostname"] {
            assert!(one(name, "x").is_ok(), "{name}");
        }
    }

    #[test]
    fn header_values_are_short_and_printable() {
        assert!(one("x", &"v".repeat(4096)).is_ok());
        assert!(one("x", &"v".repeat(4097)).is_err());
        for value in ["a\nb", "a\rb", "a\0b", "ü"] {
            assert!(one("x", value).is_err(), "{value:?}");
        }
        let twice = BTreeMap::from([
            ("X-A".to_owned(), String::new()),
            ("x-a".to_owned(), String::new()),
        ]);
        assert!(headers(&twice).is_err());
    }

    #[test]
    fn credentials_are_recognised_by_the_headers_name() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "Cookie",
            "x-auth-token",
            "X-Hub-Signature",
        ] {
            assert!(is_sensitive_header(name), "{name}");
        }
        for name in ["accept-language", "X-Region", "traceparent"] {
            assert!(!is_sensitive_header(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_stored_in_their_full_spelling() {
        let bare = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(secret(bare).unwrap().expose(), format!("whsec_{bare}"));
        assert!(secret("whsec_short").is_err());
        assert!(secret("").is_err());
    }

    #[test]
    fn metadata_is_bounded_as_json() {
        let of = |length| BTreeMap::from([("k".to_owned(), "v".repeat(length))]);
        assert!(metadata(&of(4096 - 8)).is_ok());
        assert!(metadata(&of(4096 - 7)).is_err());
    }

    proptest! {
        #[test]
        fn accepted_headers_can_be_sent(name in "\\PC{0,12}", value in "\\PC{0,40}") {
            if one(&name, &value).is_ok() {
                prop_assert!(HeaderName::from_bytes(name.as_bytes()).is_ok());
                prop_assert!(HeaderValue::from_str(&value).is_ok());
            }
        }
    }
}
