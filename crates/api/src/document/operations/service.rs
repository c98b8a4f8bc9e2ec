use super::Op;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(
            "/api/v1/health",
            "v1.health.get",
            "Ask whether requests are served",
        )
        .for_anybody(&[503])
        .and_head()
        .answers_empty(),
        Op::get(
            "/api/v1/health/ping",
            "v1.health.ping",
            "Ask whether the process answers",
        )
        .for_anybody(&[])
        .and_head()
        .answers_empty(),
        Op::get(
            "/api/v1/openapi.json",
            "v1.document.get",
            "Get this document",
        )
        .for_anybody(&[503])
        .answers(200, "EmptyResponse"),
        Op::get(
            "/api/v1/docs",
            "v1.document.show",
            "Read this document as a page",
        )
        .for_anybody(&[503])
        .answers_as("text/html"),
    ]
}
