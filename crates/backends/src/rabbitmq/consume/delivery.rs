//! What the headers of a message say about its past.

use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use super::super::topology::HELD_BEFORE;

/// A message as it was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) tag: u64,
    pub(super) bytes: Bytes,
    pub(super) redelivered: bool,
    pub(super) returned: bool,
    pub(super) earlier_deliveries: u32,
}

impl From<Delivery> for Fetched {
    fn from(delivery: Delivery) -> Self {
        let past = delivery.properties.headers().as_ref().map(Past::read);
        let past = past.unwrap_or_default();
        Self {
            tag: delivery.delivery_tag,
            bytes: Bytes::from(delivery.data),
            // What has changed queues may have been held before it did.
            redelivered: delivery.redelivered || past.has_died || past.was_held,
            returned: past.was_rejected,
            earlier_deliveries: past.deliveries,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Past {
    /// It came here by dead-lettering: it was rejected, or its time in another queue was over.
    has_died: bool,
    was_rejected: bool,
    /// It was published again, because its queue was deleted.
    was_held: bool,
    /// In the queue that it is in now. `x-acquired-count` is what 4.x counts beside.
    deliveries: u32,
}

impl Past {
    fn read(headers: &FieldTable) -> Self {
        let headers = headers.inner();
        let count = |name| headers.get(name).and_then(number).unwrap_or_default();
        let deaths = match headers.get("x-death") {
            Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice(),
            _ => &[],
        };
        Self {
            has_died: !deaths.is_empty(),
            was_rejected: deaths.iter().any(is_rejection),
            was_held: headers.contains_key(HELD_BEFORE),
            deliveries: count("x-delivery-count").max(count("x-acquired-count")),
        }
    }
}

fn is_rejection(death: &AMQPValue) -> bool {
    let AMQPValue::FieldTable(death) = death else {
        return false;
    };
    matches!(death.inner().get("reason"), Some(AMQPValue::LongString(reason)) if reason.as_bytes() == b"rejected")
}

fn number(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    };
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn death(reason: &str) -> AMQPValue {
        let mut table = FieldTable::default();
        table.insert("reason".into(), AMQPValue::LongString(reason.into()));
        AMQPValue::FieldTable(table)
    }

    fn past(entries: &[(&str, AMQPValue)]) -> Past {
        let mut headers = FieldTable::default();
        for (name, value) in entries {
            headers.insert((*name).into(), value.clone());
        }
        Past::read(&headers)
    }

    #[test]
    fn nothing_is_known_of_what_is_new() {
        assert_eq!(past(&[]), Past::default());
        assert_eq!(past(&[("x-death", AMQPValue::Void)]), Past::default());
    }

    #[test]
    fn the_ladder_is_no_return_but_a_rejection_on_the_way_is() {
        let deaths = |reasons: &[&str]| {
            let mut array = FieldArray::default();
            reasons.iter().for_each(|reason| array.push(death(reason)));
            past(&[("x-death", AMQPValue::FieldArray(array))])
        };
        let waited = deaths(&["expired"]);
        assert!(waited.has_died && !waited.was_rejected);
        assert!(deaths(&["expired", "rejected", "expired"]).was_rejected);
    }

    #[test]
    fn the_larger_count_counts() {
        let counted = past(&[
            ("x-delivery-count", AMQPValue::LongLongInt(2)),
            ("x-acquired-count", AMQPValue::LongInt(5)),
        ]);
        assert_eq!(counted.deliveries, 5);
        assert_eq!(
            past(&[("x-delivery-count", AMQPValue::LongLongInt(-1))]).deliveries,
            0
        );
    }
}
