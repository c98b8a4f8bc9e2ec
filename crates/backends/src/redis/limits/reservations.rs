//! Idempotency keys and event ids.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::future::join_all;
use postrider_core::id::MessageId;
use postrider_core::name::Uid;
use postrider_core::ports::{Answer, Partition, PortError, Reservation, ReservationKey, Reserved};
use postrider_core::time::Timestamp;
use redis::aio::ConnectionLike as _;
use redis::{Cmd, FromRedisValue, RedisResult, Value};
use sha2::{Digest, Sha256};

use super::calls::{Groups, in_part};
use super::leased::{Lease, Leased};
use super::{PART, companion, corrupt, failed, millis, six_bytes};
use crate::redis::error::{Asked, told};
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
    leased: Leased,
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

    /// With the numbers of its keys.
    fn packed(&self, numbers: &[u8; 4]) -> Vec<u8> {
        [&numbers[..], &[self.0], &self.1].concat()
    }
}

/// Where the scripts of one reservation find their keys.
const ALONE: &[u8; 4] = &[0, 1, 0, 2];

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
            leased: Leased::default(),
            reserve: script!("lua/reserve.lua"),
            complete: script!("lua/complete.lua"),
            release: script!("lua/release.lua"),
            lapse: script!("lua/lapse.lua"),
        }
    }

    fn tag(partition: Partition) -> Tag {
        match partition {
            Partition::Org(org) => Tag::org(org),
            Partition::App(app) => Tag::app(app),
        }
    }

    /// What the names of windows begin with, and an automatic key's own key; for others once more the first.
    fn keys(&self, link: &Link, partition: Partition, name: &Name) -> [Vec<u8>; 2] {
        let base = self.space.key(&Self::tag(partition), "l", b"");
        if name.0 != b'a' {
            return [base.clone(), base];
        }
        let own = if link.is_cluster() {
            self.space.key(&Self::tag(partition), "i", &name.1[..12])
        } else {
            // It need not share a slot with anything.
            self.space.bare("i", &scoped(partition, &name.1))
        };
        [base, own]
    }

    /// Asks for the version alone.
    pub(super) fn version(&self, partition: Partition) -> Option<Cmd> {
        let Partition::App(app) = partition else {
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
        offset: Option<i64>,
        wishes: &[Reservation],
    ) -> Vec<Result<Reserved, PortError>> {
        let (found, versions) = tokio::join!(
            self.found(link, now, offset, wishes),
            self.versions(link, wishes)
        );
        let with_version = |(wish, found): (&Reservation, Result<Found, PortError>)| {
            let version = || match versions.get(&wish.key.partition) {
                Some(version) => version.clone().map_err(in_part),
                None => Ok(0),
            };
            match found? {
                Found::Fresh => Ok(Reserved::Fresh {
                    version: version()?,
                }),
                Found::Resume(first) => Ok(Reserved::Resume {
                    first,
                    version: version()?,
                }),
                Found::Other(reserved) => Ok(reserved),
            }
        };
        wishes.iter().zip(found).map(with_version).collect()
    }

    /// Of all applications that are named.
    async fn versions(
        &self,
        link: &Link,
        wishes: &[Reservation],
    ) -> HashMap<Partition, Result<u64, PortError>> {
        let partitions: HashSet<Partition> = wishes.iter().map(|wish| wish.key.partition).collect();
        let (asked, commands): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .filter_map(|partition| Some((partition, self.version(partition)?)))
            .unzip();
        let answers = values_of(link, commands).await;
        asked.into_iter().zip(answers).collect()
    }

    /// What is stored under each name; where nothing is, the new one, at once.
    async fn found(
        &self,
        link: &Link,
        now: Timestamp,
        offset: Option<i64>,
        wishes: &[Reservation],
    ) -> Vec<Result<Found, PortError>> {
        let mut all: Vec<Option<Result<Found, PortError>>> = vec![None; wishes.len()];
        if let Some(offset) = offset.filter(|_| !link.is_cluster()) {
            self.found_at_once(link, now, offset, wishes, &mut all)
                .await;
        }
        let mut groups = Groups::new(link);
        for (wish, found) in wishes.iter().zip(&all) {
            match Name::of(&wish.key) {
                Some(name) if found.is_none() => {
                    let [base, own] = self.keys(link, wish.key.partition, &name);
                    groups.add(base, own, |numbers| packed_wish(numbers, &name, wish));
                }
                _ => groups.skip(),
            }
        }
        let first = [millis(now).to_string().into_bytes()];
        let (answers, failure) = groups.run_all(&self.reserve, link, &first).await;
        for (places, some) in answers {
            let some: Vec<Vec<Value>> = some;
            for (place, answer) in places.into_iter().zip(some) {
                all[place] = Some(found(answer));
            }
        }
        let failure = failure.unwrap_or_else(|| corrupt("a list of reservations"));
        all.into_iter()
            .map(|found| found.unwrap_or_else(|| Err(failure.clone())))
            .collect()
    }

    /// Nearly all wishes are for an automatic key that nobody has: one command each, and no script. Those that somebody has
    /// are left to the script.
    async fn found_at_once(
        &self,
        link: &Link,
        now: Timestamp,
        offset: i64,
        wishes: &[Reservation],
        all: &mut [Option<Result<Found, PortError>>],
    ) {
        let (mut pipeline, mut places) = (redis::pipe(), Vec::new());
        for (place, wish) in wishes.iter().enumerate() {
            let kept = millis(wish.key_until) - millis(now);
            let name = Name::of(&wish.key).filter(|name| name.0 == b'a');
            if let (Some(name), None, 1..) = (name, &wish.key.event_id, kept) {
                let [_, own] = self.keys(link, wish.key.partition, &name);
                let set = pipeline.cmd("SET").arg(&own).arg(pending(wish, offset));
                set.arg("NX").arg("GET").arg("PX").arg(kept);
                places.push((place, own));
            }
        }
        if places.is_empty() {
            return;
        }
        let answers = link
            .clone()
            .req_packed_commands(&pipeline, 0, places.len())
            .await;
        match answers {
            Ok(answers) => {
                let mut leases = Vec::with_capacity(places.len());
                for ((place, own), answer) in places.into_iter().zip(answers) {
                    all[place] = match answer {
                        Value::Nil => {
                            let wish = &wishes[place];
                            let kept = six_bytes(millis(wish.key_until) + offset);
                            leases.push((own, Lease::of(wish, now, kept)));
                            Some(Ok(Found::Fresh))
                        }
                        Value::ServerError(error) => {
                            Some(Err(told(PART, Asked::Write, &error.into())))
                        }
                        _ => None,
                    };
                }
                self.leased.add(leases.into_iter());
            }
            Err(error) => {
                let error = told(PART, Asked::Write, &error);
                for (place, _) in places {
                    all[place] = Some(Err(error.clone()));
                }
            }
        }
    }

    pub(super) async fn complete(
        &self,
        link: &Link,
        done: &[(ReservationKey, Answer)],
    ) -> Result<(), PortError> {
        let mut groups = Groups::new(link);
        let (mut pipeline, mut at_once) = (redis::pipe(), 0);
        for (key, answer) in done {
            let Some(name) = Name::of(key) else {
                groups.skip();
                continue;
            };
            let [base, own] = self.keys(link, key.partition, &name);
            if let Some(lease) = self.leased.take(&own, answer.id) {
                let set = pipeline.cmd("SET").arg(own).arg(completed(&lease, answer));
                set.arg("XX").arg("KEEPTTL").ignore();
                at_once += 1;
                groups.skip();
                continue;
            }
            groups.add(base, own, |numbers| {
                let message = answer.id.as_bytes();
                [&name.packed(numbers)[..], &message[..], &packed(answer)].concat()
            });
        }
        if at_once > 0 {
            let answered: RedisResult<()> = pipeline.query_async(&mut link.clone()).await;
            answered.map_err(|error| in_part(failed(&error)))?;
        }
        groups.run::<()>(&self.complete, link, &[]).await?;
        Ok(())
    }

    pub(super) fn release(&self, link: &Link, key: &ReservationKey) -> Option<Call<'_>> {
        let name = Name::of(key)?;
        let [base, own] = self.keys(link, key.partition, &name);
        self.leased.forget(&own);
        let keys: [&[u8]; 3] = [&base, &own, &companion(&base)];
        Some(self.release.call(&keys).arg(name.packed(ALONE)))
    }

    pub(super) fn lapse(
        &self,
        link: &Link,
        now: Timestamp,
        key: &ReservationKey,
        message: MessageId,
        until: Timestamp,
    ) -> Option<Call<'_>> {
        let name = Name::of(key)?;
        let [base, own] = self.keys(link, key.partition, &name);
        self.leased.forget(&own);
        let keys: [&[u8]; 3] = [&base, &own, &companion(&base)];
        let call = self.lapse.call(&keys).arg(millis(now));
        let call = call.arg(name.packed(ALONE));
        Some(call.arg(&message.as_bytes()[..]).arg(millis(until)))
    }
}

/// Versions, as commands ask for them: together, or where they lie in different slots, side by side.
async fn values_of(link: &Link, commands: Vec<Cmd>) -> Vec<Result<u64, PortError>> {
    type Version = RedisResult<Option<String>>;
    let read = |version: Version| {
        let version = version.map_err(|error| told(PART, Asked::Read, &error))?;
        read_version(version.as_deref())
    };
    if link.is_cluster() {
        let asked = commands.into_iter().map(|command| {
            let mut link = link.clone();
            async move { read(command.query_async(&mut link).await) }
        });
        return join_all(asked).await;
    }
    let (mut pipeline, count) = (redis::pipe(), commands.len());
    for command in commands {
        pipeline.add_command(command);
    }
    if count == 0 {
        return Vec::new();
    }
    let answers: RedisResult<Vec<Option<String>>> = pipeline.query_async(&mut link.clone()).await;
    match answers {
        Ok(answers) => answers
            .into_iter()
            .map(|version| read(Ok(version)))
            .collect(),
        Err(error) => vec![Err(told(PART, Asked::Read, &error)); count],
    }
}

/// A key's hash within its partition.
fn scoped(partition: Partition, hash: &[u8; 16]) -> [u8; 12] {
    let place = match &partition {
        Partition::Org(org) => org.as_bytes(),
        Partition::App(app) => app.as_bytes(),
    };
    let whole = Sha256::new_with_prefix(place).chain_update(hash).finalize();
    let mut short = [0; 12];
    short.copy_from_slice(&whole[..12]);
    short
}

fn packed_wish(numbers: &[u8; 4], name: &Name, wish: &Reservation) -> Vec<u8> {
    // One that is named by its event id has none besides.
    let owned = wish.key.event_id.as_ref().filter(|_| name.0 != b'e');
    let has_event_id = u8::from(owned.is_some());
    let owned = owned.map(digest).unwrap_or_default();
    [
        &numbers[..],
        &[has_event_id, name.0],
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

/// As `lua/reservations.lua` says. The server's clock is ahead of the caller's by `offset`.
fn pending(wish: &Reservation, offset: i64) -> Vec<u8> {
    const PENDING: u8 = 0;
    let there = |time: Timestamp| six_bytes(millis(time) + offset);
    [
        &there(wish.key_until)[..],
        &[PENDING],
        wish.candidate.as_bytes(),
        &wish.body[..8],
        &there(wish.lease_until),
    ]
    .concat()
}

/// As `lua/reservations.lua` says.
fn completed(lease: &Lease, answer: &Answer) -> Vec<u8> {
    const DONE: u8 = 1;
    let message = answer.id.as_bytes();
    let answer = packed(answer);
    [&lease.kept[..], &[DONE], message, &lease.body, &answer].concat()
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

/// What was found under a name.
#[derive(Debug, Clone)]
enum Found {
    Fresh,
    Resume(MessageId),
    Other(Reserved),
}

/// The answer of the script, whose first value tells its kind. One that cannot be read, there or here, is corrupt.
fn found(answer: Vec<Value>) -> Result<Found, PortError> {
    read(answer).ok_or_else(|| corrupt("a reservation"))
}

fn read(answer: Vec<Value>) -> Option<Found> {
    let mut values = answer.into_iter();
    let kind: u8 = next(&mut values)?;
    let other = match kind {
        0 => return Some(Found::Fresh),
        1 => return Some(Found::Resume(message(&mut values)?)),
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
    };
    Some(Found::Other(other))
}

fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Option<T> {
    T::from_redis_value(values.next()?).ok()
}

fn message(values: &mut impl Iterator<Item = Value>) -> Option<MessageId> {
    let bytes: Vec<u8> = next(values)?;
    Some(MessageId::from_bytes(bytes.try_into().ok()?))
}

/// A version as the registry has it: none where there is no such application.
pub(super) fn read_version(version: Option<&str>) -> Result<u64, PortError> {
    let version = version.unwrap_or("0").parse();
    version.map_err(|_| corrupt("an application's version"))
}
