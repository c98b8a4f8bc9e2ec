use super::Op;

const ALL: &str = "/api/v1/operational-webhook/endpoint";
const ONE: &str = "/api/v1/operational-webhook/endpoint/{endpoint_id}";
const HEADERS: &str = "/api/v1/operational-webhook/endpoint/{endpoint_id}/headers";
const SECRET: &str = "/api/v1/operational-webhook/endpoint/{endpoint_id}/secret";
const ROTATE: &str = "/api/v1/operational-webhook/endpoint/{endpoint_id}/secret/rotate";

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(ALL, "v1.operational-webhook.endpoint.list", "List them")
            .ordered()
            .answers(200, "ListResponse_EndpointOut_"),
        Op::post(ALL, "v1.operational-webhook.endpoint.create", "Create one")
            .takes("EndpointIn")
            .answers(201, "EndpointOut"),
        Op::get(ONE, "v1.operational-webhook.endpoint.get", "Get one").answers(200, "EndpointOut"),
        Op::put(
            ONE,
            "v1.operational-webhook.endpoint.update",
            "Replace or create one",
        )
        .takes("EndpointUpdate")
        .answers(200, "EndpointOut")
        .answers(201, "EndpointOut"),
        Op::patch(
            ONE,
            "v1.operational-webhook.endpoint.patch",
            "Change some of one",
        )
        .takes("EndpointPatch")
        .answers(200, "EndpointOut"),
        Op::delete(ONE, "v1.operational-webhook.endpoint.delete", "Delete one").answers_empty(),
        Op::get(
            HEADERS,
            "v1.operational-webhook.endpoint.get-headers",
            "Get its headers",
        )
        .answers(200, "EndpointHeadersOut"),
        Op::put(
            HEADERS,
            "v1.operational-webhook.endpoint.update-headers",
            "Replace its headers",
        )
        .takes("EndpointHeadersIn")
        .answers_empty(),
        Op::patch(
            HEADERS,
            "v1.operational-webhook.endpoint.patch-headers",
            "Set and remove headers",
        )
        .takes("EndpointHeadersPatchIn")
        .answers_empty(),
        Op::get(
            SECRET,
            "v1.operational-webhook.endpoint.get-secret",
            "Get its signing key",
        )
        .answers(200, "EndpointSecretOut"),
        Op::post(
            ROTATE,
            "v1.operational-webhook.endpoint.rotate-secret",
            "Change its signing key",
        )
        .may_take("EndpointSecretRotateIn")
        .answers_empty(),
    ]
}
