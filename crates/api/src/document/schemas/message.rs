use postrider_core::MessageId;

use super::super::kinds::{
    Field, Kind, any_object, between, channel, count, flag, id, list, map, may, must, name,
    nullable, object, or, refer, set, some_text, text, time, told,
};
use super::{Named, fields, page_of};

const MAX_CHANNELS: usize = 5;
const MAX_TAGS: usize = 10;
const LONGEST_TAG: usize = 256;
const MAX_BATCH: usize = 500;

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("MessageIn", fields([message_in(), implicit()])),
        ("TransformationsParams", params()),
        ("MessageOut", object(shown())),
        ("ListResponse_MessageOut_", page_of("MessageOut")),
        ("EventExampleIn", example_in()),
        ("MessagePrecheckIn", precheck_in()),
        ("MessagePrecheckOut", object(vec![must("active", flag())])),
        ("MessageBatchIn", batch_in()),
        ("BatchedMessageIn", fields([message_in(), keyed()])),
        ("MessageBatchOut", batch_out()),
        ("BatchedMessageOut", batched_out()),
    ]
}

fn tags() -> Kind {
    nullable(set(some_text(Some(LONGEST_TAG)), None, Some(MAX_TAGS)))
}

fn channels() -> Kind {
    nullable(set(channel(), Some(1), Some(MAX_CHANNELS)))
}

fn message_in() -> Vec<Field> {
    vec![
        must("eventType", name()),
        must(
            "payload",
            told(any_object(), "Sent byte for byte as it stands here."),
        ),
        may(
            "data",
            told(
                nullable(any_object()),
                "What `payload` is also called, and may stand alone.",
            ),
        ),
        may("eventId", nullable(name())),
        may("channels", channels()),
        may("tags", tags()),
        may("deliverAt", told(nullable(time()), "At most 7 days ahead.")),
        may(
            "payloadRetentionPeriod",
            told(or(nullable(between(5, 90)), 90), "Days."),
        ),
        may(
            "payloadRetentionHours",
            told(nullable(between(1, 2160)), "Not with the days."),
        ),
        may(
            "transformationsParams",
            nullable(refer("TransformationsParams")),
        ),
    ]
}

fn implicit() -> Vec<Field> {
    vec![may("application", nullable(refer("ApplicationIn")))]
}

fn params() -> Kind {
    let headers = "Headers that this message adds to its requests.";
    let payload = "The payload as text, in place of `payload`: an object as JSON.";
    object(vec![
        may("headers", told(nullable(map(text())), headers)),
        may("rawPayload", told(nullable(text()), payload)),
    ])
}

/// A message as it is shown.
pub(super) fn shown() -> Vec<Field> {
    vec![
        must("id", id(MessageId::PREFIX)),
        must("eventId", nullable(name())),
        must("eventType", name()),
        must("channels", nullable(list(channel()))),
        must("tags", nullable(list(text()))),
        must("payload", any_object()),
        must("data", told(any_object(), "What `payload` is also called.")),
        must("timestamp", time()),
        may("deliverAt", time()),
    ]
}

fn example_in() -> Kind {
    object(vec![must("eventType", name())])
}

fn precheck_in() -> Kind {
    object(vec![
        must("eventType", name()),
        may("channels", nullable(list(channel()))),
    ])
}

fn keyed() -> Vec<Field> {
    let key = nullable(some_text(Some(256)));
    vec![may(
        "idempotencyKey",
        told(
            key,
            "Within the application a message is accepted once per key.",
        ),
    )]
}

fn batch_in() -> Kind {
    let messages = set(refer("BatchedMessageIn"), Some(1), Some(MAX_BATCH));
    let about = "Each is read by itself; one that is wrong is told in its own result.";
    object(vec![must("messages", told(messages, about))])
}

fn batch_out() -> Kind {
    object(vec![
        must("accepted", count()),
        must("refused", count()),
        must(
            "data",
            told(
                list(refer("BatchedMessageOut")),
                "In the order of the messages.",
            ),
        ),
    ])
}

fn batched_out() -> Kind {
    let error = "The body that the message would have been answered with, had it come alone.";
    object(vec![
        must("status", between(200, 599)),
        may("id", id(MessageId::PREFIX)),
        may("eventId", name()),
        may("timestamp", time()),
        may("error", told(any_object(), error)),
    ])
}
