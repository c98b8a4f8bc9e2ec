use super::super::kinds::flag_or;
use super::Op;

const ALL: &str = "/api/v1/event-type";
const ONE: &str = "/api/v1/event-type/{event_type_name}";
const IMPORT: &str = "/api/v1/event-type/import/openapi";

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(ALL, "v1.event-type.list", "List event types")
            .for_consumers()
            .ordered()
            .query("include_archived", flag_or(false))
            .with_content(false)
            .answers(200, "ListResponse_EventTypeOut_"),
        Op::post(ALL, "v1.event-type.create", "Create an event type")
            .takes("EventTypeIn")
            .answers(201, "EventTypeOut"),
        Op::get(ONE, "v1.event-type.get", "Get an event type")
            .for_consumers()
            .answers(200, "EventTypeOut"),
        Op::put(
            ONE,
            "v1.event-type.update",
            "Replace or create an event type",
        )
        .takes("EventTypeUpdate")
        .answers(200, "EventTypeOut")
        .answers(201, "EventTypeOut"),
        Op::patch(ONE, "v1.event-type.patch", "Change some of an event type")
            .takes("EventTypePatch")
            .answers(200, "EventTypeOut"),
        Op::delete(
            ONE,
            "v1.event-type.delete",
            "Archive or remove an event type",
        )
        .query("expunge", flag_or(false))
        .answers_empty(),
        Op::post(
            IMPORT,
            "v1.event-type.import-openapi",
            "Import event types from an OpenAPI document",
        )
        .takes("EventTypeImportOpenApiIn")
        .answers(200, "EventTypeImportOpenApiOut"),
    ]
}
