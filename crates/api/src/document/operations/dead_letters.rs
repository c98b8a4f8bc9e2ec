use super::super::kinds::{name, refer};
use super::Op;

const ALL: &str = "/api/v1/app/{app_id}/dead-letter";
const ONE: &str = "/api/v1/app/{app_id}/dead-letter/{dead_letter_id}";

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(ALL, "v1.dead-letter.list", "List dead letters")
            .for_consumers()
            .paged()
            .query("endpoint_id", name())
            .query("reason", refer("DeadLetterReason"))
            .before_and_after()
            .with_content(true)
            .answers(200, "ListResponse_DeadLetterOut_"),
        Op::get(ONE, "v1.dead-letter.get", "Get a dead letter")
            .for_consumers()
            .with_content(true)
            .answers(200, "DeadLetterOut"),
    ]
}
