use super::super::kinds::time;
use super::Op;

const ALL: &str = "/api/v1/app/{app_id}/endpoint";
const ONE: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}";
const HEADERS: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/headers";
const SECRET: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret";
const ROTATE: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate";
const STATS: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/stats";
const EXAMPLE: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example";
const RECOVER: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/recover";
const REPLAY: &str = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/replay-missing";

pub(super) fn operations() -> Vec<Op> {
    let mut all = records();
    all.extend(parts());
    all.into_iter()
        .map(Op::for_consumers)
        .chain([example()])
        .collect()
}

fn records() -> Vec<Op> {
    vec![
        Op::get(ALL, "v1.endpoint.list", "List an application's endpoints")
            .ordered()
            .answers(200, "ListResponse_EndpointOut_"),
        Op::post(ALL, "v1.endpoint.create", "Create an endpoint")
            .takes("EndpointIn")
            .answers(201, "EndpointOut"),
        Op::get(ONE, "v1.endpoint.get", "Get an endpoint").answers(200, "EndpointOut"),
        Op::put(ONE, "v1.endpoint.update", "Replace or create an endpoint")
            .takes("EndpointUpdate")
            .answers(200, "EndpointOut")
            .answers(201, "EndpointOut"),
        Op::patch(ONE, "v1.endpoint.patch", "Change some of an endpoint")
            .takes("EndpointPatch")
            .answers(200, "EndpointOut"),
        Op::delete(ONE, "v1.endpoint.delete", "Delete an endpoint").answers_empty(),
    ]
}

fn parts() -> Vec<Op> {
    vec![
        Op::get(
            HEADERS,
            "v1.endpoint.get-headers",
            "Get the headers that an endpoint adds",
        )
        .answers(200, "EndpointHeadersOut"),
        Op::put(HEADERS, "v1.endpoint.update-headers", "Replace the headers")
            .takes("EndpointHeadersIn")
            .answers_empty(),
        Op::patch(
            HEADERS,
            "v1.endpoint.patch-headers",
            "Set and remove headers",
        )
        .takes("EndpointHeadersPatchIn")
        .answers_empty(),
        Op::get(SECRET, "v1.endpoint.get-secret", "Get the signing key")
            .answers(200, "EndpointSecretOut"),
        Op::post(
            ROTATE,
            "v1.endpoint.rotate-secret",
            "Change the signing key",
        )
        .may_take("EndpointSecretRotateIn")
        .answers_empty()
        .answers(200, "EndpointSecretOut"),
        Op::get(
            STATS,
            "v1.endpoint.get-stats",
            "Count an endpoint's messages",
        )
        .query("since", time())
        .query("until", time())
        .answers(200, "EndpointStats"),
        Op::post(
            RECOVER,
            "v1.endpoint.recover",
            "Send again what was given up",
        )
        .takes("RecoverIn")
        .answers(202, "RecoverOut"),
        Op::post(
            REPLAY,
            "v1.endpoint.replay-missing",
            "Send what was never tried",
        )
        .takes("RecoverIn")
        .answers(202, "RecoverOut"),
    ]
}

fn example() -> Op {
    Op::post(
        EXAMPLE,
        "v1.endpoint.send-example",
        "Send an example to this endpoint",
    )
    .takes("EventExampleIn")
    .answers(200, "MessageOut")
}
