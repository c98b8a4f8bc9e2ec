//! How each pair ended, read through the API.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::history::{Accepted, End, Pair};
use crate::{Api, PATIENCE, Tenant};

const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A dead letter is filed a little after the attempt that led to it; what has none by then was canceled.
const FILED_WITHIN: Duration = Duration::from_secs(3);

/// Reads the ends of all accepted pairs, and again while some are pending: the log is written beside the deliveries.
/// After [`PATIENCE`] what is pending stays so.
pub async fn read_ends(
    api: &Api,
    tenants: &[Tenant],
    accepted: &[Accepted],
) -> BTreeMap<Pair, End> {
    let deadline = Instant::now() + PATIENCE;
    let mut ends = BTreeMap::new();
    let mut failed = HashMap::new();
    loop {
        for tenant in tenants {
            let own = accepted.iter().filter(|event| event.app == tenant.id);
            let open: Vec<_> = own.filter(|event| is_open(event, &ends)).collect();
            if !open.is_empty() {
                Reader { api, tenant }
                    .read(&open, &mut ends, &mut failed)
                    .await;
            }
        }
        let all_ended = ends.values().all(|end| *end != End::Pending);
        if all_ended || Instant::now() >= deadline {
            return ends;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Since when a pair has been seen to have failed for good.
type Failed = HashMap<Pair, Instant>;

fn is_open(event: &Accepted, ends: &BTreeMap<Pair, End>) -> bool {
    let mut pairs = event
        .endpoints
        .iter()
        .map(|endpoint| Pair::new(&event.message, endpoint));
    pairs.any(|pair| ends.get(&pair).is_none_or(|end| *end == End::Pending))
}

/// Whether it was seen to have failed for so long that it is no dead letter.
fn was_failed(failed: &mut Failed, pair: &Pair) -> bool {
    let since = failed.entry(pair.clone()).or_insert_with(Instant::now);
    since.elapsed() > FILED_WITHIN
}

/// What the API says of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Delivered,
    /// A dead letter, or canceled.
    Failed,
    UnderWay,
}

struct Reader<'a> {
    api: &'a Api,
    tenant: &'a Tenant,
}

impl Reader<'_> {
    /// Most have been delivered, and lists tell so by the page; the rest is looked up one by one.
    async fn read(&self, open: &[&Accepted], ends: &mut BTreeMap<Pair, End>, failed: &mut Failed) {
        ends.extend(self.delivered().await);
        ends.extend(self.dead().await);
        let rest: Vec<_> = open.iter().filter(|event| is_open(event, ends)).collect();
        for event in rest {
            let statuses = self.destinations(&event.message).await;
            for name in &event.endpoints {
                let pair = Pair::new(&event.message, name);
                let end = match statuses.get(name) {
                    Some(Status::Delivered) => End::Delivered,
                    Some(Status::Failed) if was_failed(failed, &pair) => End::Canceled,
                    _ => End::Pending,
                };
                let known = ends.entry(pair).or_insert(end);
                if *known == End::Pending {
                    *known = end;
                }
            }
        }
    }

    async fn delivered(&self) -> Vec<(Pair, End)> {
        let mut ends = Vec::new();
        for endpoint in &self.tenant.subscribers {
            let path = format!(
                "/api/v1/app/{}/attempt/endpoint/{}?status=0&with_content=false",
                self.tenant.id, endpoint.id
            );
            let attempts = self.api.list(&path).await;
            let messages = attempts.iter().map(|attempt| text(attempt, "msgId"));
            ends.extend(messages.map(|id| (Pair::new(id, &endpoint.name), End::Delivered)));
        }
        ends
    }

    async fn dead(&self) -> Vec<(Pair, End)> {
        let names = self.names();
        let path = format!(
            "/api/v1/app/{}/dead-letter?with_content=false",
            self.tenant.id
        );
        let letters = self.api.list(&path).await;
        let pairs = letters.iter().filter_map(|letter| {
            let name = names.get(text(letter, "endpointId"))?;
            Some((Pair::new(text(letter, "msgId"), name), End::Dead))
        });
        pairs.collect()
    }

    /// How far a message has come, by the endpoints' names. The end of a delivery may be known although the log has lost
    /// its attempt.
    async fn destinations(&self, message: &str) -> HashMap<String, Status> {
        let names = self.names();
        let path = format!("/api/v1/app/{}/msg/{message}/endpoint", self.tenant.id);
        let destinations = self.api.list(&path).await;
        let statuses = destinations.iter().filter_map(|destination| {
            let status = match destination["status"].as_i64() {
                Some(0) => Status::Delivered,
                Some(2) if destination["nextAttempt"].is_null() => Status::Failed,
                _ => Status::UnderWay,
            };
            let name = names.get(text(destination, "id"))?;
            Some(((*name).to_owned(), status))
        });
        statuses.collect()
    }

    fn names(&self) -> HashMap<&str, &str> {
        let endpoints = self.tenant.subscribers.iter();
        endpoints
            .map(|endpoint| (endpoint.id.as_str(), endpoint.name.as_str()))
            .collect()
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
