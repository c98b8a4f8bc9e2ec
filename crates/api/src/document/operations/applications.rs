use super::super::kinds::flag_or;
use super::Op;

const ALL: &str = "/api/v1/app";
const ONE: &str = "/api/v1/app/{app_id}";

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(ALL, "v1.application.list", "List applications")
            .ordered()
            .answers(200, "ListResponse_ApplicationOut_"),
        Op::post(ALL, "v1.application.create", "Create an application")
            .query("get_if_exists", flag_or(false))
            .takes("ApplicationIn")
            .answers(200, "ApplicationOut")
            .answers(201, "ApplicationOut"),
        Op::get(ONE, "v1.application.get", "Get an application")
            .for_consumers()
            .answers(200, "ApplicationOut"),
        Op::put(
            ONE,
            "v1.application.update",
            "Replace or create an application",
        )
        .takes("ApplicationIn")
        .answers(200, "ApplicationOut")
        .answers(201, "ApplicationOut"),
        Op::patch(ONE, "v1.application.patch", "Change some of an application")
            .takes("ApplicationPatch")
            .answers(200, "ApplicationOut"),
        Op::delete(ONE, "v1.application.delete", "Delete an application").answers_empty(),
    ]
}
