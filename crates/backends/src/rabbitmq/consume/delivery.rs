//! What the headers of a message say about its past.

use bytes::Bytes;
use lapin::BasicProperties;
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

/// How often a message of any queue was delivered and came back by itself.
pub(in super::super) fn earlier(properties: &BasicProperties) -> u32 {
    let past = properties.headers().as_ref().map(Past::read);
    past.unwrap_or_default().deliveries
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Past {
    /// It came here by dead-lettering: it was rejected, or its time in another queue was over.
    has_died: bool,
    was_rejected: bool,
    /// It was published again, because its queue was deleted.
    was_held: bool,
    /// How often it was delivered and came back by itself. `x-acquired-count` is what 4.x counts beside.
    deliveries: u32,
}

impl Past {
    fn read(headers: &FieldTable) -> Self {
        let headers = headers.inner();
        let deaths = match headers.get("x-death") {
            Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice(),
            _ => &[],
        };
        let rejections: u32 = deaths.iter().map(rejections).sum();
        // Since 4.0 a message takes its counts along when it is dead-lettered, and what was given back in order would count
        // like what its holder died of. Older servers begin anew in each queue; they do not tell the last death.
        let counts_go_along = headers.contains_key("x-last-death-reason");
        let count = |name| {
            let count = headers.get(name).and_then(number).unwrap_or_default();
            match count.checked_sub(rejections) {
                Some(others) if counts_go_along => others,
                _ => count,
            }
        };
        Self {
            has_died: !deaths.is_empty(),
            was_rejected: rejections > 0,
            was_held: headers.contains_key(HELD_BEFORE),
            deliveries: count("x-delivery-count").max(count("x-acquired-count")),
        }
    }
}

/// How often it was rejected from one queue.
fn rejections(death: &AMQPValue) -> u32 {
    let AMQPValue::FieldTable(death) = death else {
        return 0;
    };
    match death.inner().get("reason") {
        Some(AMQPValue::LongString(reason)) if reason.as_bytes() == b"rejected" => {
            death.inner().get("count").and_then(number).unwrap_or(1)
        }
        _ => 0,
    }
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
    fn what_was_given_back_in_order_does_not_count_where_counts_go_along() {
        let past = |deliveries, deaths: &[(&str, i64)], names_the_last: bool| {
            let mut array = FieldArray::default();
            for (reason, count) in deaths {
                let AMQPValue::FieldTable(mut table) = death(reason) else {
                    unreachable!()
                };
                table.insert("count".into(), AMQPValue::LongLongInt(*count));
                array.push(AMQPValue::FieldTable(table));
            }
            let mut entries = vec![
                ("x-delivery-count", AMQPValue::LongLongInt(deliveries)),
                ("x-death", AMQPValue::FieldArray(array)),
            ];
            if names_the_last {
                let reason = AMQPValue::LongString("expired".into());
                entries.push(("x-last-death-reason", reason));
            }
            past(&entries).deliveries
        };
        let thrice = [("expired", 3), ("rejected", 3)];
        assert_eq!(past(3, &thrice, true), 0);
        assert_eq!(past(5, &thrice, true), 2);
        assert_eq!(past(4, &[("expired", 9)], true), 4);
        assert_eq!(past(2, &thrice, true), 2, "it begins anew in each queue");
        assert_eq!(past(4, &thrice, false), 4, "an older server");
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
