use postrider_core::{AppId, DeadLetterId, EndpointId, MessageId};

use super::super::kinds::{
    Kind, any_object, between, channel, count, id, list, must, name, nullable, object, refer, text,
    time, told, words,
};
use super::{Named, page_of};

pub(super) fn schemas() -> Vec<Named> {
    vec![
        ("DeadLetterOut", dead_letter_out()),
        ("DeadLetterReason", words(&["exhausted", "gone", "poison"])),
        ("ListResponse_DeadLetterOut_", page_of("DeadLetterOut")),
    ]
}

fn dead_letter_out() -> Kind {
    object(vec![
        must("id", id(DeadLetterId::PREFIX)),
        must("appId", id(AppId::PREFIX)),
        must("endpointId", id(EndpointId::PREFIX)),
        must("msgId", id(MessageId::PREFIX)),
        must("eventId", nullable(name())),
        must("eventType", name()),
        must("channels", nullable(list(channel()))),
        must("tags", nullable(list(text()))),
        must("payload", any_object()),
        must("reason", refer("DeadLetterReason")),
        must("attempts", count()),
        must("lastResponseStatusCode", between(0, 999)),
        must("lastResponse", text()),
        must("timestamp", told(time(), "When the message was accepted.")),
        must("diedAt", time()),
    ])
}
