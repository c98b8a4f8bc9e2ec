//! Wishes, answers, and the calls that every case makes.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::stage::{LONG, Stage, together};
use crate::id::MessageId;
use crate::name::Uid;
use crate::ports::{Answer, IdempotencyKey, Partition, Reservation, ReservationKey, Reserved};
use crate::time::Timestamp;

pub(super) fn event_id(text: &str) -> Uid {
    Uid::new(text).expect("a valid event id")
}

impl Stage<'_> {
    pub(crate) fn partition(&mut self) -> Partition {
        let now = self.now();
        Partition::App(self.chance.app(now))
    }

    /// Of either kind: the table is the same for both.
    pub(crate) fn key(&mut self) -> IdempotencyKey {
        let bytes = self.chance.bytes(16);
        let hash: [u8; 16] = bytes[..].try_into().unwrap();
        IdempotencyKey {
            hash,
            automatic: hash[0].is_multiple_of(2),
        }
    }

    /// A wish that stays leased and remembered for as long as the case runs.
    pub(crate) fn wish(
        &mut self,
        partition: Partition,
        key: Option<IdempotencyKey>,
        event: Option<&str>,
    ) -> Reservation {
        let now = self.now();
        Reservation {
            key: ReservationKey {
                partition,
                key,
                event_id: event.map(event_id),
            },
            candidate: self.chance.message(now),
            body: [7; 16],
            lease_until: now + LONG,
            key_until: now + LONG,
            event_id_until: now + LONG,
        }
    }

    pub(super) async fn lapse(&mut self, wish: &Reservation, message: MessageId, until: Timestamp) {
        let now = self.now();
        let limits = &self.ports.limits;
        let lapsed = limits.lapse(now, &wish.key, message, until).await;
        lapsed.unwrap();
    }

    /// The same wish by another caller, whose new thing would have another name.
    pub(super) fn again(&mut self, wish: &Reservation) -> Reservation {
        let now = self.now();
        Reservation {
            candidate: self.chance.message(now),
            lease_until: now + LONG,
            key_until: now + LONG,
            event_id_until: now + LONG,
            ..wish.clone()
        }
    }

    pub(crate) async fn reserve(&mut self, wish: &Reservation) -> Reserved {
        let now = self.now();
        let reserved = self.ports.limits.reserve(now, wish).await;
        reserved.expect("reservations can be made")
    }

    pub(crate) async fn reserve_again(&mut self, wish: &Reservation) -> Reserved {
        let again = self.again(wish);
        self.reserve(&again).await
    }

    pub(crate) async fn complete(&mut self, wish: &Reservation, answer: &Answer) {
        let now = self.now();
        let done = vec![(wish.key.clone(), answer.clone())];
        let completed = self.ports.limits.complete(now, done).await;
        completed.expect("a reservation can be completed");
    }
}

pub(crate) fn answer(id: MessageId, at: Timestamp) -> Answer {
    Answer {
        id,
        at,
        status: 202,
        body: Bytes::from_static(b"{\"id\":\xff}"),
    }
}

pub(super) const FRESH: Reserved = Reserved::Fresh { version: 0 };

/// Reserves all of `wishes` at the same moment.
pub(super) async fn race(stage: &mut Stage<'_>, wishes: Vec<Reservation>) -> Vec<Reserved> {
    let now = stage.now();
    let wishes: Vec<Reservation> = wishes
        .into_iter()
        .map(|wish| Reservation {
            candidate: stage.chance.message(now),
            ..wish
        })
        .collect();
    let limits = Arc::clone(&stage.ports.limits);
    together(wishes.len(), |index| {
        let (limits, wish) = (Arc::clone(&limits), wishes[index].clone());
        async move { limits.reserve(now, &wish).await.unwrap() }
    })
    .await
}
