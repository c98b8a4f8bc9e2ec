use postrider_core::{AttemptId, EndpointId, MessageId};

use super::super::kinds::{
    Field, between, count, id, may, must, nullable, numbers, object, refer, text, time, told, url,
    words,
};
use super::{Named, endpoint, fields, message, page_of};

pub(super) fn schemas() -> Vec<Named> {
    vec![
        (
            "MessageStatus",
            told(
                numbers(&[0, 1, 2, 3]),
                "0 success, 1 pending, 2 fail, 3 sending.",
            ),
        ),
        (
            "MessageStatusText",
            words(&["success", "pending", "fail", "sending"]),
        ),
        (
            "MessageAttemptTriggerType",
            told(numbers(&[0, 1]), "0 by schedule, 1 by hand."),
        ),
        (
            "StatusCodeClass",
            told(
                numbers(&[0, 100, 200, 300, 400, 500]),
                "0: there was no answer.",
            ),
        ),
        ("MessageAttemptOut", object(attempt_out())),
        (
            "ListResponse_MessageAttemptOut_",
            page_of("MessageAttemptOut"),
        ),
        ("MessageEndpointOut", fields([endpoint::shown(), how_far()])),
        (
            "ListResponse_MessageEndpointOut_",
            page_of("MessageEndpointOut"),
        ),
        ("EndpointMessageOut", fields([message::shown(), how_far()])),
        (
            "ListResponse_EndpointMessageOut_",
            page_of("EndpointMessageOut"),
        ),
    ]
}

fn attempt_out() -> Vec<Field> {
    vec![
        must("id", id(AttemptId::PREFIX)),
        must("msgId", id(MessageId::PREFIX)),
        must("endpointId", id(EndpointId::PREFIX)),
        must("url", url()),
        must("response", text()),
        must(
            "responseStatusCode",
            told(between(0, 999), "0: there was no answer."),
        ),
        must("responseDurationMs", count()),
        must("status", refer("MessageStatus")),
        must("statusText", refer("MessageStatusText")),
        must("triggerType", refer("MessageAttemptTriggerType")),
        must("timestamp", time()),
        must("attemptNumber", told(count(), "The first is 1.")),
        may("msg", refer("MessageOut")),
    ]
}

/// How far a message has come at an endpoint.
fn how_far() -> Vec<Field> {
    vec![
        must("status", refer("MessageStatus")),
        must("statusText", refer("MessageStatusText")),
        must("nextAttempt", nullable(time())),
    ]
}
