//! What stands beside a message's body: the key on its way in, the reason on its way to those refused.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use postrider_core::ports::Refusal;

const KEY: &str = "postrider-key";
const STATUS: &str = "postrider-status";
const CODE: &str = "postrider-code";
const DETAIL: &str = "postrider-detail";
/// Instead of a message's own headers, where there are too many to go along.
const WITHOUT_HEADERS: &str = "postrider-headers-dropped";

/// Survives a restart of the server.
const PERSISTENT: u8 = 2;
/// Bytes. All headers have to fit into one frame of ours (32 KiB), together with the reason.
const MAX_HEADERS: usize = 16 * 1024;
const MAX_DETAIL: usize = 4 * 1024;

/// The key that a message shows.
pub(super) fn key(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    let (_, value) = headers
        .into_iter()
        .find(|(name, _)| name.as_str().eq_ignore_ascii_case(KEY))?;
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.trim().to_owned())
}

/// The properties of a refused message: its own, as far as they may be published again, and the reason.
pub(super) fn refused(own: &BasicProperties, refusal: &Refusal) -> BasicProperties {
    let headers = own.headers().as_ref().map(kept).unwrap_or_default();
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(with_reason(headers, refusal));
    // Not the user (the server refuses another one than ours), nor the expiration: it is for the first queue.
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortString>, With); 8] = [
        (own.content_type(), BasicProperties::with_content_type),
        (
            own.content_encoding(),
            BasicProperties::with_content_encoding,
        ),
        (own.correlation_id(), BasicProperties::with_correlation_id),
        (own.reply_to(), BasicProperties::with_reply_to),
        (own.message_id(), BasicProperties::with_message_id),
        (own.kind(), BasicProperties::with_type),
        (own.app_id(), BasicProperties::with_app_id),
        (own.cluster_id(), BasicProperties::with_cluster_id),
    ];
    let properties = texts
        .into_iter()
        .fold(properties, |properties, (text, with)| match text {
            Some(text) => with(properties, text.clone()),
            None => properties,
        });
    match own.timestamp() {
        Some(timestamp) => properties.with_timestamp(*timestamp),
        None => properties,
    }
}

fn kept(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    if size_of_table(headers) > MAX_HEADERS {
        kept.insert(WITHOUT_HEADERS.into(), AMQPValue::Boolean(true));
        return kept;
    }
    for (name, value) in headers {
        if !is_dropped(name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// What nobody may find there (keys), what would send the copy elsewhere (`CC`, `BCC`), and what the server notes for itself.
fn is_dropped(name: &str) -> bool {
    const OTHERS: [&str; 4] = ["cc", "bcc", "x-delivery-count", "x-acquired-count"];
    let name = name.to_ascii_lowercase();
    let is_key = name == KEY || name == "authorization";
    let is_death = ["x-death", "x-first-death-", "x-last-death-"]
        .iter()
        .any(|start| name.starts_with(start));
    is_key || is_death || OTHERS.contains(&name.as_str())
}

fn with_reason(mut headers: FieldTable, refusal: &Refusal) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert(STATUS.into(), AMQPValue::LongInt(refusal.status.into()));
    headers.insert(CODE.into(), text(refusal.code));
    headers.insert(DETAIL.into(), text(shortened(&refusal.detail)));
    headers
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_DETAIL)]
}

/// About as many bytes as it takes on the wire.
fn size_of_table(table: &FieldTable) -> usize {
    let fields = table.into_iter();
    fields
        .map(|(name, value)| name.as_str().len() + size(value))
        .sum()
}

fn size(value: &AMQPValue) -> usize {
    const SCALAR: usize = 16;
    SCALAR
        + match value {
            AMQPValue::LongString(text) => text.len(),
            AMQPValue::ShortString(text) => text.as_str().len(),
            AMQPValue::ByteArray(bytes) => bytes.as_slice().len(),
            AMQPValue::FieldArray(array) => array.as_slice().iter().map(size).sum(),
            AMQPValue::FieldTable(table) => size_of_table(table),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn with_headers(entries: &[(&str, AMQPValue)]) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in entries {
            headers.insert((*name).into(), value.clone());
        }
        BasicProperties::default().with_headers(headers)
    }

    fn refusal(detail: &str) -> Refusal {
        Refusal {
            status: 422,
            code: "validation",
            detail: detail.to_owned(),
        }
    }

    fn headers(properties: &BasicProperties) -> Vec<(String, AMQPValue)> {
        let headers = properties.headers().as_ref().unwrap();
        let entry = |(name, value): (&ShortString, &AMQPValue)| (name.to_string(), value.clone());
        headers.into_iter().map(entry).collect()
    }

    #[test]
    fn a_key_is_text_of_any_kind_under_a_name_of_any_case() {
        let keys = [
            ("postrider-key", text("sk_1")),
            ("Postrider-Key", AMQPValue::ShortString(" sk_1 ".into())),
            (
                "POSTRIDER-KEY",
                AMQPValue::ByteArray(b"sk_1".to_vec().into()),
            ),
        ];
        for entry in keys {
            assert_eq!(key(&with_headers(&[entry])).as_deref(), Some("sk_1"));
        }
        assert_eq!(key(&with_headers(&[(KEY, AMQPValue::LongInt(7))])), None);
        assert_eq!(
            key(&with_headers(&[(KEY, text("\u{0}"))])).as_deref(),
            Some("\u{0}")
        );
        assert_eq!(key(&BasicProperties::default()), None);
    }

    #[test]
    fn what_is_refused_keeps_its_headers_but_never_a_key() {
        let own = with_headers(&[
            ("Postrider-KEY", text("secret")),
            ("authorization", text("Bearer secret")),
            ("CC", text("elsewhere")),
            ("x-death", AMQPValue::Void),
            ("x-last-death-queue", text("q")),
            ("trace", text("abc")),
        ])
        .with_message_id("m-1".into())
        .with_user_id("shop".into())
        .with_expiration("1000".into());
        let refused = refused(&own, &refusal("no"));
        let found = headers(&refused);
        let expected = [
            (CODE, text("validation")),
            (DETAIL, text("no")),
            (STATUS, AMQPValue::LongInt(422)),
            ("trace", text("abc")),
        ];
        let expected: Vec<_> = expected
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        assert_eq!(found, expected);
        assert_eq!(refused.message_id().as_ref().unwrap().as_str(), "m-1");
        assert_eq!(refused.delivery_mode(), &Some(PERSISTENT));
        assert!(refused.user_id().is_none() && refused.expiration().is_none());
    }

    #[test]
    fn a_refused_message_fits_into_a_frame() {
        let own = with_headers(&[("long", text(&"x".repeat(2 * MAX_HEADERS)))]);
        let refused = refused(&own, &refusal(&"ü".repeat(MAX_DETAIL)));
        let headers = refused.headers().as_ref().unwrap();
        assert!(headers.contains_key(WITHOUT_HEADERS) && !headers.contains_key("long"));
        assert!(size_of_table(headers) < MAX_DETAIL + 1024);
    }
}
