//! All routes on one page, and what surrounds them.

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post, put};
use http::Uri;
use http::uri::PathAndQuery;
use tower::ServiceBuilder;

use crate::edge;
use crate::error::ApiError;
use crate::routes::{
    api_key, app, attempt, auth, background_task, content, dead_letter, document, endpoint,
    endpoint_headers, endpoint_msg, endpoint_secret, endpoint_stats, event_type, event_type_import,
    health, msg, msg_batch, operational, precheck, recover, send_example, usage,
};
use crate::state::Shared;

/// What the health checks' paths begin with: they are answered under overload, too.
pub(crate) const HEALTH: &str = "/api/v1/health";
/// Where messages are posted.
pub(crate) const POSTED_MESSAGES: &str = "/api/v1/app/{app_id}/msg";

#[rustfmt::skip]
fn routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/api/v1/health", get(health::check)),
        ("/api/v1/health/ping", get(health::ping)),
        ("/api/v1/openapi.json", get(document::json)),
        ("/api/v1/docs", get(document::page)),

        ("/api/v1/auth/app-portal-access/{app_id}", post(auth::portal)),
        ("/api/v1/auth/app/{app_id}/expire-all", post(auth::expire_all)),
        ("/api/v1/auth/logout", post(auth::logout)),
        ("/api/v1/api-key", get(api_key::list).post(api_key::create)),
        ("/api/v1/api-key/{key_id}", get(api_key::get).delete(api_key::revoke)),
        ("/api/v1/background-task", get(background_task::list)),
        ("/api/v1/background-task/{task_id}", get(background_task::get)),

        ("/api/v1/operational-webhook/endpoint", get(operational::list).post(operational::create)),
        ("/api/v1/operational-webhook/endpoint/{endpoint_id}",
            get(operational::get).put(operational::upsert).patch(operational::patch).delete(operational::delete)),
        ("/api/v1/operational-webhook/endpoint/{endpoint_id}/headers",
            get(operational::get_headers).put(operational::replace_headers).patch(operational::patch_headers)),
        ("/api/v1/operational-webhook/endpoint/{endpoint_id}/secret", get(operational::get_secret)),
        ("/api/v1/operational-webhook/endpoint/{endpoint_id}/secret/rotate", post(operational::rotate)),
        ("/api/v1/stats/usage/app", post(usage::apps)),
        ("/api/v1/stats/usage/event-types", put(usage::event_types)),

        ("/api/v1/event-type", get(event_type::list).post(event_type::create)),
        ("/api/v1/event-type/import/openapi", post(event_type_import::import)),
        ("/api/v1/event-type/{event_type_name}",
            get(event_type::get).put(event_type::upsert).patch(event_type::patch).delete(event_type::delete)),

        ("/api/v1/app", get(app::list).post(app::create)),
        ("/api/v1/app/{app_id}", get(app::get).put(app::upsert).patch(app::patch).delete(app::delete)),

        ("/api/v1/app/{app_id}/endpoint", get(endpoint::list).post(endpoint::create)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}",
            get(endpoint::get).put(endpoint::upsert).patch(endpoint::patch).delete(endpoint::delete)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/headers",
            get(endpoint_headers::get).put(endpoint_headers::replace).patch(endpoint_headers::patch)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/msg", get(endpoint_msg::list)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/stats", get(endpoint_stats::get)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example", post(send_example::send)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/recover", post(recover::recover)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/replay-missing", post(recover::replay_missing)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret", get(endpoint_secret::get)),
        ("/api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", post(endpoint_secret::rotate)),

        (POSTED_MESSAGES, get(msg::list).post(msg::create)),
        ("/api/v1/app/{app_id}/msg-batch", post(msg_batch::create)),
        ("/api/v1/app/{app_id}/msg/precheck/active", post(precheck::active)),
        ("/api/v1/app/{app_id}/msg/{msg_id}", get(msg::get)),
        ("/api/v1/app/{app_id}/msg/{msg_id}/content", delete(content::expunge_message)),
        ("/api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}", get(attempt::get)),
        ("/api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content", delete(content::expunge_attempt)),
        ("/api/v1/app/{app_id}/msg/{msg_id}/endpoint", get(attempt::destinations)),
        ("/api/v1/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend", post(attempt::resend)),
        ("/api/v1/app/{app_id}/attempt/endpoint/{endpoint_id}", get(attempt::by_endpoint)),
        ("/api/v1/app/{app_id}/attempt/msg/{msg_id}", get(attempt::by_message)),

        ("/api/v1/app/{app_id}/dead-letter", get(dead_letter::list)),
        ("/api/v1/app/{app_id}/dead-letter/{dead_letter_id}", get(dead_letter::get)),
    ]
}

/// The paths with their parameters unfilled: what metrics are labelled with.
pub(crate) fn templates() -> Vec<&'static str> {
    routes().into_iter().map(|(template, _)| template).collect()
}

pub(crate) fn router(state: &Shared) -> Router {
    let routed = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(state.clone(), edge::guard))
        .with_state(state.clone());
    // A slash at the end has to go before routing, which a layer of the same router is too late for.
    let trimmed = ServiceBuilder::new()
        .map_request(without_trailing_slash)
        .service(routed);
    Router::new().fallback_service(trimmed)
}

fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.len() == path.len() {
        return request;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    if let Ok(target) = PathAndQuery::try_from(target) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
