//! Idempotency keys and event ids.

use bytes::Bytes;
use postrider_core::id::MessageId;
use postrider_core::name::Uid;
use postrider_core::ports::{Answer, Partition, PortError, Reservation, ReservationKey, Reserved};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue, Value};
use sha2::{Digest, Sha256};

use super::calls::Groups;
use super::{companion, corrupt, millis, six_bytes};
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

/// What a reservation is named by, as scripts take it: its kind, and a digest.
struct Name(u8, [u8; 16]);

impl Name {
    fn of(key: &ReservationKey) -> Option<Self> {
        match (&key.key, &key.event_id) {
            (Some(key), _) if key.automatic => Some(Self(b'a', key.hash)),
            (Some(key), _) => Some(Self(b'c', key.hash)),
            (None, Some(event_id)) => Some(Self(b'e', digest(event_id))),
            (None, None) => None,
        }
    }

    /// With the number of the key in whose slot it lies.
    fn packed(&self, number: usize) -> Vec<u8> {
        let number = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        [&number[..], &[self.0], &self.1].concat()
    }
}

/// Event ids are up to 256 bytes long and stored by the million. Of this, 12 bytes are stored.
fn digest(event_id: &Uid) -> [u8; 16] {
    let mut digest = [0; 16];
    digest[..12].copy_from_slice(&Sha256::digest(event_id.as_str())[..12]);
    digest
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

    /// Asks for the version alone.
    pub(super) fn version(&self, key: &ReservationKey) -> Option<Cmd> {
        let Partition::App(app) = key.partition else {
            return None;
        };
        let mut command = redis::cmd("HGET");
        let registered = self.space.key(&Tag::app(app), "r", b"");
        command.arg(registered).arg("v");
        Some(command)
    }

    /// What became of each.
    pub(super) async fn reserve(
        &self,
        link: &Link,
        now: Timestamp,
        wishes: &[Reservation],
    ) -> Vec<Result<Reserved, PortError>> {
        let mut groups = Groups::new(link);
        for wish in wishes {
            match Name::of(&wish.key) {
                Some(name) => groups.add(self.base(wish.key.partition), |number| {
                    vec![packed_wish(number, &name, wish)]
                }),
                None => groups.skip(),
            }
        }
        let first = [millis(now).to_string().into_bytes()];
        let (answers, failure) = groups.run_all(&self.reserve, link, &first).await;
        let failure = failure.unwrap_or_else(|| corrupt("a list of reservations"));
        let mut all = vec![Err(failure); wishes.len()];
        for (places, some) in answers {
            let some: Vec<Vec<Value>> = some;
            for (place, answer) in places.into_iter().zip(some) {
                all[place] = reserved(answer);
            }
        }
        all
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
                let message = answer.id.as_bytes();
                vec![[&name.packed(number)[..], &message[..], &packed(answer)].concat()]
            });
        }
        groups.run::<()>(&self.complete, link, &[]).await?;
        Ok(())
    }

    pub(super) fn release(&self, key: &ReservationKey) -> Option<Call<'_>> {
        let name = Name::of(key)?.packed(1);
        let base = self.base(key.partition);
        let keys: [&[u8]; 2] = [&base, &companion(&base)];
        Some(self.release.call(&keys).arg(name))
    }

    pub(super) fn lapse(
        &self,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Option<Call<'_>> {
        let name = Name::of(key)?.packed(1);
        let base = self.base(key.partition);
        let keys: [&[u8]; 2] = [&base, &companion(&base)];
        let call = self.lapse.call(&keys).arg(millis(now)).arg(name);
        Some(call.arg(&message.as_bytes()[..]).arg(millis(until)))
    }
}

const HAS_VERSION: u8 = 1;
const HAS_EVENT_ID: u8 = 2;

fn packed_wish(number: usize, name: &Name, wish: &Reservation) -> Vec<u8> {
    let number = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    // One that is named by its event id has none besides.
    let owned = wish.key.event_id.as_ref().filter(|_| name.0 != b'e');
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(matches!(wish.key.partition, Partition::App(_)), HAS_VERSION)
        | flag(owned.is_some(), HAS_EVENT_ID);
    let owned = owned.map(digest).unwrap_or_default();
    [
        &number[..],
        &[flags, name.0],
        &name.1,
        &owned[..12],
        wish.candidate.as_bytes(),
        &wish.body[..8],
        &six_bytes(millis(wish.lease_until)),
        &six_bytes(millis(wish.key_until)),
        &six_bytes(millis(wish.event_id_until)),
    ]
    .concat()
}

/// When, status and body: what scripts pass through as it is.
fn packed(answer: &Answer) -> Vec<u8> {
    let at = six_bytes(millis(answer.at));
    [&at[..], &answer.status.to_be_bytes(), &answer.body].concat()
}

fn unpacked(id: MessageId, packed: &[u8]) -> Option<Answer> {
    let ([a, b, c, d, e, f], rest) = packed.split_first_chunk::<6>()?;
    let (status, body) = rest.split_first_chunk::<2>()?;
    Some(Answer {
        id,
        at: Timestamp::from_millis(i64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f])),
        status: u16::from_be_bytes(*status),
        body: Bytes::copy_from_slice(body),
    })
}

/// The answer of the script, whose first value tells its kind. One that cannot be read, there or here, is corrupt.
fn reserved(answer: Vec<Value>) -> Result<Reserved, PortError> {
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
