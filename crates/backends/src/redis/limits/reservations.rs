//! Idempotency keys and event ids.

use bytes::Bytes;
use postrider_core::id::MessageId;
use postrider_core::name::Uid;
use postrider_core::ports::{Answer, Partition, PortError, Reservation, ReservationKey, Reserved};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue, Value};
use sha2::{Digest, Sha256};

use super::calls::Groups;
use super::{companion, corrupt, millis};
use crate::redis::keys::{Space, Tag};
use crate::redis::script::{Atomic, Call};
use crate::redis::server::Link;

macro_rules! script {
    ($name:literal) => {
        Atomic::new(concat!(
            include_str!("lua/entries.lua"),
            include_str!("lua/reservations.lua"),
            include_str!($name)
        ))
    };
}

#[derive(Debug)]
pub(super) struct Reservations {
    space: Space,
    reserve: Atomic,
    complete: Atomic,
    release: Atomic,
    lapse: Atomic,
}

/// What a reservation is named by, as scripts take it.
enum Name<'a> {
    Key(&'a [u8; 16]),
    EventId(&'a Uid),
}

impl<'a> Name<'a> {
    fn of(key: &'a ReservationKey) -> Option<Self> {
        let by_key = key.key.as_ref().map(Name::Key);
        by_key.or(key.event_id.as_ref().map(Name::EventId))
    }

    fn arguments(&self) -> [Vec<u8>; 2] {
        match self {
            Self::Key(key) => [b"k".to_vec(), key.to_vec()],
            Self::EventId(event_id) => [b"e".to_vec(), digest(event_id)],
        }
    }
}

/// Event ids are up to 256 bytes long and stored by the million.
fn digest(event_id: &Uid) -> Vec<u8> {
    Sha256::digest(event_id.as_str())[..12].to_vec()
}

pub(super) const fn is_named(key: &ReservationKey) -> bool {
    key.key.is_some() || key.event_id.is_some()
}

impl Reservations {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            reserve: script!("lua/reserve.lua"),
            complete: script!("lua/complete.lua"),
            release: script!("lua/release.lua"),
            lapse: script!("lua/lapse.lua"),
        }
    }

    fn base(&self, partition: Partition) -> Vec<u8> {
        let tag = match partition {
            Partition::Org(org) => Tag::org(org),
            Partition::App(app) => Tag::app(app),
        };
        self.space.key(&tag, "l", b"")
    }

    /// Where the registry keeps what it knows of an application, its version among it.
    fn registered(&self, partition: Partition) -> Option<Vec<u8>> {
        match partition {
            Partition::Org(_) => None,
            Partition::App(app) => Some(self.space.key(&Tag::app(app), "r", b"")),
        }
    }

    pub(super) fn version(&self, key: &ReservationKey) -> Option<Cmd> {
        let registered = self.registered(key.partition)?;
        let mut command = redis::cmd("HGET");
        command.arg(registered).arg("v");
        Some(command)
    }

    pub(super) fn reserve(&self, now: Timestamp, wish: &Reservation) -> Call<'_> {
        let Reservation { key, .. } = wish;
        let base = self.base(key.partition);
        let registered = self.registered(key.partition);
        // Nothing is stored there, so that an organisation's version is that of nothing.
        let registered = registered.unwrap_or_else(|| companion(&base));
        self.reserve
            .call(&[&base, &registered])
            .arg(millis(now))
            .arg(key.key.as_ref().map_or(&[][..], |key| &key[..]))
            .arg(key.event_id.as_ref().map(digest).unwrap_or_default())
            .arg(&wish.candidate.as_bytes()[..])
            .arg(&wish.body[..8])
            .arg(millis(wish.lease_until))
            .arg(millis(wish.key_until))
            .arg(millis(wish.event_id_until))
    }

    pub(super) async fn complete(
        &self,
        link: &Link,
        done: &[(ReservationKey, Answer)],
    ) -> Result<(), PortError> {
        let mut groups = Groups::new(link);
        for (key, answer) in done {
            let Some(name) = Name::of(key) else {
                groups.skip();
                continue;
            };
            groups.add(self.base(key.partition), |number| {
                let [kind, digest] = name.arguments();
                let message = answer.id.as_bytes().to_vec();
                vec![
                    number.to_string().into_bytes(),
                    kind,
                    digest,
                    message,
                    packed(answer),
                ]
            });
        }
        groups.run::<()>(&self.complete, link, &[]).await?;
        Ok(())
    }

    pub(super) fn release(&self, key: &ReservationKey) -> Option<Call<'_>> {
        let [kind, digest] = Name::of(key)?.arguments();
        let base = self.base(key.partition);
        let keys: [&[u8]; 2] = [&base, &companion(&base)];
        Some(self.release.call(&keys).arg(kind).arg(digest))
    }

    pub(super) fn lapse(
        &self,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Option<Call<'_>> {
        let [kind, digest] = Name::of(key)?.arguments();
        let base = self.base(key.partition);
        let keys: [&[u8]; 2] = [&base, &companion(&base)];
        let call = self.lapse.call(&keys).arg(millis(now)).arg(kind);
        Some(
            call.arg(digest)
                .arg(&message.as_bytes()[..])
                .arg(millis(until)),
        )
    }
}

/// When, status and body: what scripts pass through as it is.
fn packed(answer: &Answer) -> Vec<u8> {
    let at = answer.at.as_millis().to_be_bytes();
    [&at[..], &answer.status.to_be_bytes(), &answer.body].concat()
}

fn unpacked(id: MessageId, packed: &[u8]) -> Option<Answer> {
    let (at, rest) = packed.split_first_chunk::<8>()?;
    let (status, body) = rest.split_first_chunk::<2>()?;
    Some(Answer {
        id,
        at: Timestamp::from_millis(i64::from_be_bytes(*at)),
        status: u16::from_be_bytes(*status),
        body: Bytes::copy_from_slice(body),
    })
}

/// The answer of the script, whose first value tells its kind.
pub(super) fn reserved(answer: Vec<Value>) -> Result<Reserved, PortError> {
    read(answer).ok_or_else(|| corrupt("a reservation"))
}

fn read(answer: Vec<Value>) -> Option<Reserved> {
    let mut values = answer.into_iter();
    let kind: u8 = next(&mut values)?;
    Some(match kind {
        0 => Reserved::Fresh {
            version: version(&mut values)?,
        },
        1 => Reserved::Resume {
            first: message(&mut values)?,
            version: version(&mut values)?,
        },
        2 => Reserved::Pending {
            until: Timestamp::from_millis(next(&mut values)?),
        },
        3 => {
            let id = message(&mut values)?;
            let packed: Vec<u8> = next(&mut values)?;
            Reserved::Done(unpacked(id, &packed)?)
        }
        4 => Reserved::KeyReused,
        5 => Reserved::EventIdTaken {
            by: message(&mut values)?,
        },
        _ => return None,
    })
}

fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Option<T> {
    T::from_redis_value(values.next()?).ok()
}

fn message(values: &mut impl Iterator<Item = Value>) -> Option<MessageId> {
    let bytes: Vec<u8> = next(values)?;
    Some(MessageId::from_bytes(bytes.try_into().ok()?))
}

fn version(values: &mut impl Iterator<Item = Value>) -> Option<u64> {
    next::<String>(values)?.parse().ok()
}

/// What is answered to a reservation that stores nothing.
pub(super) fn fresh(version: Option<&str>) -> Result<Reserved, PortError> {
    let version = version.unwrap_or("0").parse();
    match version {
        Ok(version) => Ok(Reserved::Fresh { version }),
        Err(_) => Err(corrupt("an application's version")),
    }
}
