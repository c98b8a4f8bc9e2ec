//! The tour of `postrider dev`: some events, delivered before the user's eyes, and what to try next.
//!
//! It uses the server like any user: over HTTP, with a token. Only what it shows comes from inside, by the engine's
//! observer. Its receiver is ready, and the endpoint points at it, before the engine makes its first request: so
//! what an earlier run left undelivered arrives here, too.

mod client;
mod events;
mod receiver;
mod show;
mod watch;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use postrider_core::attempt::Disposition;
use postrider_core::id::MessageId;
use postrider_core::schedule::RetrySchedule;
use postrider_core::time::Clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use client::{Client, Subscription};
use events::{EVENT_TYPES, REFUSED_TYPE, TourEvent};
use receiver::Receiver;
use watch::Sight;

pub use watch::{Sights, watch};

/// How long the tour waits for its events to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the tour is told about the server it tours.
#[derive(Debug)]
pub struct Place {
    pub api: SocketAddr,
    pub metrics: SocketAddr,
    /// Where the data is, for people.
    pub data: String,
    pub schedule: RetrySchedule,
    /// For the operator of the default organisation.
    pub token: String,
    pub clock: Arc<dyn Clock>,
}

/// A tour that is ready to begin.
#[derive(Debug)]
pub struct Tour {
    place: Place,
    client: Client,
    subscription: Subscription,
    receiver: Receiver,
    events: Vec<TourEvent>,
    zone: TimeZone,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    AllArrived,
    /// What did not, one line each.
    Missing(Vec<String>),
    /// The user wanted to stop.
    Stopped,
}

impl Tour {
    /// Sets the stage: a receiver, and an endpoint that points at it.
    ///
    /// # Errors
    /// Where the API does not answer as it should.
    pub async fn prepare(place: Place) -> anyhow::Result<Self> {
        let now = place.clock.now();
        let run = format!("{:x}", now.as_millis());
        let refused = events::refused_id(&run);
        let receiver = Receiver::start(Arc::clone(&place.clock), refused)
            .await
            .context("the receiver cannot listen")?;
        let client = Client::new(format!("http://{}/api/v1", place.api), place.token.clone())?;
        let subscription = client
            .subscribe(&receiver.url())
            .await
            .context("the tour cannot set up its endpoint")?;
        receiver.trust(
            subscription
                .secret
                .parse()
                .context("the endpoint's secret cannot be read")?,
        );
        let events = events::events(now, &run);
        Ok(Self {
            place,
            client,
            subscription,
            receiver,
            events,
            zone: TimeZone::system(),
        })
    }

    /// Sends the events and shows what happens to them.
    ///
    /// # Errors
    /// Where an event is not accepted.
    pub async fn run(
        &self,
        sights: &mut Sights,
        stop: &CancellationToken,
    ) -> anyhow::Result<Verdict> {
        self.introduce();
        let begun = Instant::now();
        let mut progress = Progress::default();
        let watched = tokio::time::timeout(PATIENCE, self.watch(sights, &mut progress));
        tokio::select! {
            () = stop.cancelled() => return Ok(Verdict::Stopped),
            watched = watched => if let Ok(watched) = watched { watched?; },
        }
        let missing = progress.missing();
        if missing.is_empty() {
            self.conclude(&progress, begun.elapsed());
            return Ok(Verdict::AllArrived);
        }
        Ok(Verdict::Missing(missing))
    }

    /// Until every event has ended.
    async fn watch(&self, sights: &mut Sights, progress: &mut Progress) -> anyhow::Result<()> {
        let mut sending = std::pin::pin!(self.send());
        let mut sent = false;
        while !(sent && progress.all_ended()) {
            tokio::select! {
                accepted = &mut sending, if !sent => {
                    progress.expected = accepted?;
                    sent = true;
                }
                sight = sights.next() => {
                    self.show(&sight);
                    progress.note(&sight);
                }
            }
        }
        Ok(())
    }

    async fn send(&self) -> anyhow::Result<Vec<(MessageId, &'static str)>> {
        let mut accepted = Vec::with_capacity(self.events.len());
        for event in &self.events {
            let message = self.client.send(&self.subscription.app, event).await?;
            accepted.push((message, event.event_type));
        }
        Ok(accepted)
    }

    /// Shows whatever else is delivered, until it is time to stop.
    pub async fn linger(&self, sights: &mut Sights, stop: &CancellationToken) {
        self.invite();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                sight = sights.next() => self.show(&sight),
            }
            let missed = sights.missed();
            if missed > 0 {
                show::fact("", &format!("… and {missed} more"));
            }
        }
    }

    /// What was still under way when everything stopped.
    pub async fn close(&self, sights: &mut Sights) {
        while let Some(sight) = sights.try_next() {
            self.show(&sight);
        }
        self.receiver.stop().await;
    }

    fn show(&self, sight: &Sight) {
        let ours = sight.endpoint == self.subscription.endpoint;
        let opinion = ours
            .then(|| self.receiver.opinion(&sight.message.to_string()))
            .flatten();
        show::sight(sight, opinion.as_ref(), &self.zone);
    }

    fn introduce(&self) {
        let Place {
            api,
            metrics,
            data,
            schedule,
            ..
        } = &self.place;
        let Subscription {
            app,
            endpoint,
            found,
            ..
        } = &self.subscription;
        let known = if *found {
            "found, from an earlier run"
        } else {
            "made"
        };
        let delays: Vec<String> = schedule
            .delays()
            .iter()
            .map(|delay| show::length(*delay))
            .collect();
        show::title(&format!("Postrider {}: a tour", env!("CARGO_PKG_VERSION")));
        show::blank();
        show::fact("API", &format!("http://{api}/api/v1"));
        show::fact("health", &format!("http://{api}/health"));
        show::fact("metrics", &format!("http://{metrics}/metrics"));
        show::fact("data", data);
        show::fact(
            "retries",
            &format!("after {} (times 1 to 1.42)", delays.join(", ")),
        );
        show::blank();
        show::fact("application", &format!("{app} ({known})"));
        show::fact(
            "endpoint",
            &format!("{endpoint} at {}", self.receiver.url()),
        );
        show::fact(
            "",
            "a receiver in this process that verifies every signature",
        );
        show::blank();
        show::title(&format!(
            "Sending {} events; the receiver refuses {REFUSED_TYPE} twice, on purpose.",
            self.events.len()
        ));
        show::blank();
        show::header();
    }

    fn conclude(&self, progress: &Progress, took: Duration) {
        let events = EVENT_TYPES.len();
        let (attempts, failed) = progress.attempts();
        show::blank();
        show::title(&format!(
            "All {events} events arrived: {attempts} attempts in {:.1} s, {failed} of them failed and were repeated.",
            took.as_secs_f64()
        ));
        show::blank();
    }

    fn invite(&self) {
        let Place {
            api,
            metrics,
            token,
            ..
        } = &self.place;
        let Subscription { app, endpoint, .. } = &self.subscription;
        let auth = "-H \"Authorization: Bearer $TOKEN\"";
        show::title("Go on in another terminal; what you send shows up here.");
        show::blank();
        show::command(
            "who you are, for the commands below",
            &format!("export TOKEN={token}"),
        );
        show::command(
            "send an event of your own",
            &format!(
                "curl -sS http://{api}/api/v1/app/{app}/msg {auth} -H 'Content-Type: application/json' \\\n     \
                 -d '{{\"eventType\": \"order.paid\", \"payload\": {{\"order\": 1042}}}}'"
            ),
        );
        show::command(
            "add an endpoint of your own",
            &format!(
                "curl -sS http://{api}/api/v1/app/{app}/endpoint {auth} -H 'Content-Type: application/json' \\\n     \
                 -d '{{\"url\": \"http://127.0.0.1:3000/hooks\", \"eventTypes\": [\"order.paid\"]}}'"
            ),
        );
        show::command(
            "what has been tried",
            &format!("curl -sS http://{api}/api/v1/app/{app}/attempt/endpoint/{endpoint} {auth}"),
        );
        show::command(
            "what was given up",
            &format!("curl -sS http://{api}/api/v1/app/{app}/dead-letter {auth}"),
        );
        show::command(
            "how it is",
            &format!("curl -sS http://{api}/health\ncurl -sS http://{metrics}/metrics"),
        );
        show::title("Ctrl-C ends it.");
        show::blank();
        show::header();
    }
}

/// How far the tour's own events have come.
#[derive(Debug, Default)]
struct Progress {
    expected: Vec<(MessageId, &'static str)>,
    /// By message: attempts so far, failures among them, and what follows from the latest.
    seen: HashMap<MessageId, (u32, u32, Option<Disposition>)>,
}

impl Progress {
    fn note(&mut self, sight: &Sight) {
        let (attempts, failed, latest) = self.seen.entry(sight.message).or_default();
        *attempts += 1;
        *failed += u32::from(sight.next != Disposition::Delivered);
        *latest = Some(sight.next);
    }

    fn latest(&self, message: MessageId) -> Option<Disposition> {
        self.seen.get(&message).and_then(|(_, _, latest)| *latest)
    }

    fn all_ended(&self) -> bool {
        let ended = |next| matches!(next, Some(Disposition::Delivered | Disposition::GiveUp(_)));
        self.expected
            .iter()
            .all(|(message, _)| ended(self.latest(*message)))
    }

    /// Attempts at the tour's own events, and failures among them.
    fn attempts(&self) -> (u32, u32) {
        let own = self
            .expected
            .iter()
            .filter_map(|(message, _)| self.seen.get(message));
        own.fold((0, 0), |(attempts, failures), (more, failed, _)| {
            (attempts + more, failures + failed)
        })
    }

    fn missing(&self) -> Vec<String> {
        if self.expected.is_empty() {
            return vec!["not every event was accepted in time".to_owned()];
        }
        let describe = |(message, event_type): &(MessageId, &str)| {
            let state = match self.latest(*message) {
                Some(Disposition::Delivered) => return None,
                Some(Disposition::GiveUp(reason)) => format!("was given up ({})", reason.as_str()),
                Some(_) => "is still being retried".to_owned(),
                None => "was not tried".to_owned(),
            };
            Some(format!("{event_type} ({message}) {state}"))
        };
        self.expected.iter().filter_map(describe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::dead_letter::DeadReason;

    #[test]
    fn what_did_not_arrive_is_named() {
        let id = |byte| MessageId::from_bytes([byte; 20]);
        let progress = Progress {
            expected: vec![
                (id(1), "order.paid"),
                (id(2), "user.created"),
                (id(3), "build.failed"),
                (id(4), "a.b"),
            ],
            seen: HashMap::from([
                (id(1), (1, 0, Some(Disposition::Delivered))),
                (
                    id(2),
                    (2, 2, Some(Disposition::Retry(Duration::from_secs(1)))),
                ),
                (
                    id(3),
                    (8, 8, Some(Disposition::GiveUp(DeadReason::Exhausted))),
                ),
            ]),
        };
        let missing = progress.missing();
        assert_eq!(missing.len(), 3);
        assert!(missing[0].starts_with("user.created") && missing[0].contains("retried"));
        assert!(missing[1].contains("exhausted") && missing[2].contains("not tried"));
        assert!(!progress.all_ended());
        assert_eq!(progress.attempts(), (11, 10));
    }
}
