use super::Op;

const PORTAL: &str = "/api/v1/auth/app-portal-access/{app_id}";
const EXPIRE: &str = "/api/v1/auth/app/{app_id}/expire-all";
const LOGOUT: &str = "/api/v1/auth/logout";
const KEYS: &str = "/api/v1/api-key";
const KEY: &str = "/api/v1/api-key/{key_id}";

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::post(
            PORTAL,
            "v1.authentication.app-portal-access",
            "Let a consumer in",
        )
        .may_take("AppPortalAccessIn")
        .answers(200, "AppPortalAccessOut"),
        Op::post(
            EXPIRE,
            "v1.authentication.expire-all",
            "Revoke an application's tokens",
        )
        .may_take("ApplicationTokenExpireIn")
        .answers_empty(),
        Op::post(
            LOGOUT,
            "v1.authentication.logout",
            "Revoke the token that calls",
        )
        .for_consumers()
        .answers_empty(),
        Op::get(KEYS, "v1.api-key.list", "List API keys")
            .ordered()
            .answers(200, "ListResponse_ApiKeyOut_"),
        Op::post(KEYS, "v1.api-key.create", "Create an API key")
            .takes("ApiKeyIn")
            .answers(201, "ApiKeyOut"),
        Op::get(KEY, "v1.api-key.get", "Get an API key").answers(200, "ApiKeyOut"),
        Op::delete(KEY, "v1.api-key.revoke", "Revoke an API key").answers_empty(),
    ]
}
