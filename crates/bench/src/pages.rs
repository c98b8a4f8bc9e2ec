//! How long it takes to get the first page of a list, while everything that was sent is in the log.
//!
//! Lists are asked for one after the other, so that each has the machine to itself. What few rows or none match is asked
//! for on purpose: such a list has the most to look through.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;

use crate::clock;
use crate::figures::Percentiles;
use crate::load::TAG;

/// A list that takes long is asked for less often than was wished.
const PATIENCE: Duration = Duration::from_secs(20);

/// A list, and how long its first page took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paged {
    /// Which list.
    pub kind: String,
    /// What was asked for.
    pub path: String,
    /// How many times.
    pub asked: u32,
    /// From sending the request to the last byte of the answer.
    #[serde(flatten)]
    pub times: Percentiles,
    /// Rows of the page.
    pub rows: usize,
    /// `false`: more follows.
    pub done: bool,
}

/// Where lists are asked for.
#[derive(Debug)]
pub struct Desk<'a> {
    /// With a limit of time on requests.
    pub client: &'a reqwest::Client,
    /// An ingest's.
    pub address: SocketAddr,
    /// An operator's.
    pub token: &'a str,
}

/// What there is to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    app: String,
    message: String,
    endpoint: String,
    /// In the first second of the load, and in its middle; RFC 3339.
    early: String,
    middle: String,
}

impl Desk<'_> {
    /// Asks for each list of an application `times` times. `since`: when the load began.
    ///
    /// # Errors
    /// Where there is nothing in the log, or an answer is no list.
    pub async fn ask(
        &self,
        app: &str,
        since: u64,
        times: u32,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Vec<Paged>> {
        let sample = self.sample(app, since).await?;
        let mut all = Vec::new();
        for (kind, path) in kinds(&sample) {
            progress(kind);
            all.push(self.measure(kind, path, times).await?);
        }
        Ok(all)
    }

    async fn measure(&self, kind: &str, path: String, times: u32) -> anyhow::Result<Paged> {
        let (begun, mut took) = (clock::now(), Vec::new());
        let mut page = Value::Null;
        while took.len() < times as usize {
            let sent = clock::now();
            let answer = self.get(&path).await?;
            took.push(clock::now().saturating_sub(sent));
            page = serde_json::from_slice(&answer)?;
            if u128::from(clock::now().saturating_sub(begun)) > PATIENCE.as_nanos() {
                break;
            }
        }
        Ok(Paged {
            kind: kind.to_owned(),
            asked: u32::try_from(took.len()).unwrap_or(u32::MAX),
            times: Percentiles::of(took),
            rows: page["data"].as_array().context("a list has rows")?.len(),
            done: page["done"].as_bool().context("a list says `done`")?,
            path,
        })
    }

    async fn sample(&self, app: &str, since: u64) -> anyhow::Result<Sample> {
        let newest = self.first(&format!("/app/{app}/msg?limit=1")).await?;
        let text = |row: &Value, name: &str| {
            let text = row[name].as_str().map(str::to_owned);
            text.with_context(|| format!("a row of the log has no `{name}`"))
        };
        let message = text(&newest, "id")?;
        let attempts = format!("/app/{app}/attempt/msg/{message}?limit=1");
        let endpoint = text(&self.first(&attempts).await?, "endpointId")?;
        Ok(Sample {
            app: app.to_owned(),
            message,
            endpoint,
            early: rfc3339(since + 1_000_000_000),
            middle: rfc3339(u64::midpoint(since, clock::now())),
        })
    }

    async fn first(&self, path: &str) -> anyhow::Result<Value> {
        let mut page: Value = serde_json::from_slice(&self.get(path).await?)?;
        match page["data"].get_mut(0) {
            Some(row) => Ok(row.take()),
            None => bail!("GET {path} has no row: nothing was recorded, or it is gone already"),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let url = format!("http://{}/api/v1{path}", self.address);
        let request = self.client.get(url).bearer_auth(self.token);
        let answer = request
            .send()
            .await
            .with_context(|| format!("GET {path}"))?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            bail!("GET {path} was answered {status}: {said}");
        }
        Ok(body.into())
    }
}

fn kinds(sample: &Sample) -> Vec<(&'static str, String)> {
    let Sample {
        app,
        message,
        endpoint,
        early,
        middle,
    } = sample;
    let messages = |filter: &str| format!("/app/{app}/msg?{filter}");
    let at_endpoint = |filter: &str| format!("/app/{app}/attempt/endpoint/{endpoint}?{filter}");
    vec![
        ("messages", messages("")),
        ("messages, type of all", messages("event_types=bench.event")),
        (
            "messages, type of none",
            messages("event_types=bench.other"),
        ),
        ("messages, tag of few", messages(&format!("tag={TAG}"))),
        ("messages, tag of none", messages("tag=none")),
        ("messages, channel of none", messages("channel=none")),
        (
            "messages before the second",
            messages(&format!("before={early}")),
        ),
        (
            "messages before the middle",
            messages(&format!("before={middle}")),
        ),
        (
            "messages after the middle",
            messages(&format!("after={middle}")),
        ),
        ("attempts at an endpoint", at_endpoint("")),
        ("attempts at it, succeeded", at_endpoint("status=0")),
        ("attempts at it, failed", at_endpoint("status=2")),
        ("attempts at it, 5xx", at_endpoint("status_code_class=500")),
        (
            "attempts at it, type of none",
            at_endpoint("event_types=bench.other"),
        ),
        (
            "attempts at it before the second",
            at_endpoint(&format!("before={early}")),
        ),
        (
            "attempts of a message",
            format!("/app/{app}/attempt/msg/{message}"),
        ),
    ]
}

fn rfc3339(nanoseconds: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn sample() -> Sample {
        Sample {
            app: "app_1".to_owned(),
            message: "msg_1".to_owned(),
            endpoint: "ep_1".to_owned(),
            early: rfc3339(1_000_000_000),
            middle: rfc3339(1_700_000_000_250_000_000),
        }
    }

    #[test]
    fn each_list_is_asked_for_under_a_name_of_its_own() {
        let all = kinds(&sample());
        let names: HashSet<_> = all.iter().map(|(kind, _)| kind).collect();
        let paths: HashSet<_> = all.iter().map(|(_, path)| path).collect();
        assert_eq!((names.len(), paths.len()), (all.len(), all.len()));
        assert!(all.iter().all(|(_, path)| path.starts_with("/app/app_1/")));
    }

    #[test]
    fn times_are_told_as_the_api_reads_them() {
        assert_eq!(sample().early, "1970-01-01T00:00:01.000Z");
        assert_eq!(sample().middle, "2023-11-14T22:13:20.250Z");
    }
}
