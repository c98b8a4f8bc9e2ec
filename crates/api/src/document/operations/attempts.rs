use super::super::kinds::{channel, flag_or, name, refer};
use super::Op;
use super::messages::{event_types, filtered};

const BY_ENDPOINT: &str = "/api/v1/app/{app_id}/attempt/endpoint/{endpoint_id}";
const BY_MESSAGE: &str = "/api/v1/app/{app_id}/attempt/msg/{msg_id}";
const ONE: &str = "/api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}";
const CONTENT: &str = "/api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content";
const MESSAGES: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/msg";
const ENDPOINTS: &str = "/api/v1/app/{app_id}/msg/{msg_id}/endpoint";
const RESEND: &str = "/api/v1/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend";

fn listed(operation: Op) -> Op {
    operation
        .for_consumers()
        .paged()
        .query("status", refer("MessageStatus"))
        .query("status_code_class", refer("StatusCodeClass"))
        .query("event_types", event_types())
        .query("channel", channel())
        .before_and_after()
        .with_content(true)
        .query("with_msg", flag_or(false))
        .answers(200, "ListResponse_MessageAttemptOut_")
}

pub(super) fn operations() -> Vec<Op> {
    vec![
        listed(Op::get(
            BY_ENDPOINT,
            "v1.message-attempt.list-by-endpoint",
            "List attempts at an endpoint",
        )),
        listed(Op::get(
            BY_MESSAGE,
            "v1.message-attempt.list-by-msg",
            "List attempts with a message",
        ))
        .query("endpoint_id", name()),
        filtered(
            Op::get(
                MESSAGES,
                "v1.message-attempt.list-attempted-messages",
                "List messages of an endpoint",
            )
            .paged(),
        )
        .for_consumers()
        .query("status", refer("MessageStatus"))
        .answers(200, "ListResponse_EndpointMessageOut_"),
        Op::get(
            ENDPOINTS,
            "v1.message-attempt.list-attempted-destinations",
            "List endpoints of a message",
        )
        .for_consumers()
        .paged()
        .answers(200, "ListResponse_MessageEndpointOut_"),
        Op::get(ONE, "v1.message-attempt.get", "Get an attempt")
            .for_consumers()
            .with_content(true)
            .query("with_msg", flag_or(false))
            .answers(200, "MessageAttemptOut"),
        Op::delete(
            CONTENT,
            "v1.message-attempt.expunge-content",
            "Delete an attempt's response",
        )
        .answers_empty(),
        Op::post(
            RESEND,
            "v1.message-attempt.resend",
            "Send a message to an endpoint once more",
        )
        .for_consumers()
        .answers(202, "EmptyResponse"),
    ]
}
