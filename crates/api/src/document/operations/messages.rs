use super::super::kinds::{Kind, channel, list, name, some_text, told};
use super::Op;

const ALL: &str = "/api/v1/app/{app_id}/msg";
const BATCH: &str = "/api/v1/app/{app_id}/msg-batch";
const PRECHECK: &str = "/api/v1/app/{app_id}/msg/precheck/active";
const ONE: &str = "/api/v1/app/{app_id}/msg/{msg_id}";
const CONTENT: &str = "/api/v1/app/{app_id}/msg/{msg_id}/content";

/// Names with commas between them, or the parameter repeated.
pub(super) fn event_types() -> Kind {
    let about = "Repeated, or with commas between the names.";
    told(list(name()), about)
}

/// What lists of messages are filtered by.
pub(super) fn filtered(operation: Op) -> Op {
    operation
        .query("event_types", event_types())
        .query("channel", channel())
        .query("tag", some_text(Some(256)))
        .before_and_after()
        .with_content(true)
}

pub(super) fn operations() -> Vec<Op> {
    vec![
        filtered(Op::get(ALL, "v1.message.list", "List messages").paged())
            .for_consumers()
            .answers(200, "ListResponse_MessageOut_"),
        Op::post(ALL, "v1.message.create", "Send a message")
            .with_content(true)
            .takes("MessageIn")
            .answers(202, "MessageOut"),
        Op::post(BATCH, "v1.message.create-batch", "Send many messages")
            .takes("MessageBatchIn")
            .answers(202, "MessageBatchOut"),
        Op::post(
            PRECHECK,
            "v1.message.precheck-active",
            "Ask whether a message would go anywhere",
        )
        .takes("MessagePrecheckIn")
        .answers(200, "MessagePrecheckOut"),
        Op::get(ONE, "v1.message.get", "Get a message")
            .for_consumers()
            .with_content(true)
            .answers(200, "MessageOut"),
        Op::delete(
            CONTENT,
            "v1.message.expunge-content",
            "Delete a message's payload",
        )
        .answers_empty(),
    ]
}
