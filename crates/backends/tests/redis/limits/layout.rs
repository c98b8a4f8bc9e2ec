//! How entries are laid out: what they cost, that they go, and that they are found wherever they lie.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use postrider_backends::redis::RedisLimits;
use postrider_core::id::{AppId, EndpointId, MessageId};
use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairState, Verdict};
use postrider_core::ports::{
    Answer, Claim, IdempotencyKey, Limits, Partition, PortError, Reservation, ReservationKey,
    Reserved, Settlement,
};
use postrider_core::time::Timestamp;
use redis::FromRedisValue;
use redis::aio::ConnectionLike;

use crate::support::{Kind, Place, wall_clock};

const MINUTES: Duration = Duration::from_secs(600);
/// What Redis needs for a key that expires beside what `MEMORY USAGE` counts: its places in two tables.
const BESIDE: usize = 64;

fn limits(place: &Place) -> Arc<RedisLimits> {
    Arc::new(RedisLimits::new(place.server()))
}

fn message(at: Timestamp) -> MessageId {
    MessageId::new(at, rand::random())
}

fn an_app() -> AppId {
    AppId::new(wall_clock(), rand::random())
}

/// The same by somebody else.
fn twin(wish: &Reservation) -> Reservation {
    Reservation {
        candidate: MessageId::new(wish.candidate.created_at(), rand::random()),
        ..wish.clone()
    }
}

/// With a key that somebody chose.
fn wish(app: AppId, now: Timestamp, kept: Duration) -> Reservation {
    Reservation {
        key: ReservationKey {
            partition: Partition::App(app),
            key: Some(IdempotencyKey {
                hash: rand::random(),
                automatic: false,
            }),
            event_id: None,
        },
        candidate: message(now),
        body: [7; 16],
        lease_until: now + Duration::from_secs(30),
        key_until: now + kept,
        event_id_until: now,
    }
}

/// With a key that a client library made.
fn automatic_wish(app: AppId, now: Timestamp) -> Reservation {
    let mut wish = wish(app, now, MINUTES);
    let key = wish.key.key.as_mut();
    key.expect("it has one").automatic = true;
    wish
}

fn settlement(app: AppId, made: Timestamp, now: Timestamp) -> Settlement {
    Settlement {
        pair: PairKey {
            app,
            message: message(made),
            endpoint: EndpointId::new(made, rand::random()),
        },
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: PairOutcome::Ended(PairState::Delivered),
        keep_until: now + MINUTES,
    }
}

/// An application's pairs are spread by the last byte of their messages.
fn in_one_part(app: AppId, made: Timestamp, now: Timestamp) -> Settlement {
    let mut settled = settlement(app, made, now);
    let mut message = *settled.pair.message.as_bytes();
    message[19] = 0;
    settled.pair.message = MessageId::from_bytes(message);
    settled
}

async fn reserve_all(limits: &Arc<RedisLimits>, wishes: &[Reservation]) {
    for some in wishes.chunks(200) {
        let reserved = join_all(some.iter().map(|wish| limits.reserve(wall_clock(), wish))).await;
        let fresh = |answer| matches!(answer, Ok(Reserved::Fresh { .. }));
        assert!(reserved.into_iter().all(fresh));
    }
}

async fn complete_all(limits: &Arc<RedisLimits>, wishes: &[Reservation]) {
    let now = wall_clock();
    let done = wishes.iter().map(|wish| {
        let answer = Answer {
            id: wish.candidate,
            at: now,
            status: 0,
            body: bytes::Bytes::new(),
        };
        (wish.key.clone(), answer)
    });
    limits.complete(now, done.collect()).await.unwrap();
}

/// One key as it is stored.
#[derive(Debug)]
struct Stored {
    name: Vec<u8>,
    bytes: usize,
    expires_in: i64,
    entries: Option<usize>,
    encoding: String,
}

type Connection = Box<dyn ConnectionLike + Send>;

async fn told<T: FromRedisValue>(link: &mut Connection, verb: &[&str], key: &[u8]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(verb).arg(key);
    if verb == ["MEMORY", "USAGE"] {
        command.arg("SAMPLES").arg(0);
    }
    let answer = link.req_packed_command(&command).await.unwrap();
    redis::from_redis_value(answer).unwrap()
}

impl Place {
    /// All that is stored of this installation, on a single server.
    async fn stored(&self) -> Vec<Stored> {
        let (mut all, mut link) = (Vec::new(), self.link().await);
        for name in self.names().await {
            let kind: String = told(&mut link, &["TYPE"], &name).await;
            let entries = match &*kind {
                "hash" => Some(told(&mut link, &["HLEN"], &name).await),
                _ => None,
            };
            all.push(Stored {
                bytes: told(&mut link, &["MEMORY", "USAGE"], &name).await,
                expires_in: told(&mut link, &["PTTL"], &name).await,
                encoding: told(&mut link, &["OBJECT", "ENCODING"], &name).await,
                entries,
                name,
            });
        }
        all
    }

    /// A key of an application.
    fn key(&self, app: AppId, rest: &str) -> String {
        let hex: String = app.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        format!("pr1:{}:{{a{hex}}}{rest}", self.space)
    }

    async fn names(&self) -> Vec<Vec<u8>> {
        let (mut names, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("pr1:{}:*", self.space));
            scan.arg("COUNT").arg(10_000);
            let answer = self.ask(scan).await;
            let (next, some): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer).unwrap();
            names.extend(some);
            if next == 0 {
                return names;
            }
            cursor = next;
        }
    }
}

fn assert_small(stored: &[Stored], longest: Duration) {
    let longest = i64::try_from(longest.as_millis()).unwrap();
    for key in stored {
        assert!(
            key.expires_in > 0 && key.expires_in <= longest,
            "each key goes by itself, and in time: {key:?}"
        );
        assert!(
            key.encoding == "listpack" && key.entries.is_some_and(|entries| entries <= 129),
            "each hash is small: {key:?}"
        );
    }
}

/// Each is a key of its own that goes within ten minutes.
fn assert_alone(stored: &[Stored], count: usize) {
    assert_eq!(stored.len(), count);
    let minutes = 1..=i64::try_from(MINUTES.as_millis()).unwrap();
    assert!(stored.iter().all(|key| minutes.contains(&key.expires_in)));
}

fn bytes_an_entry(stored: &[Stored], count: usize) -> usize {
    let all: usize = stored.iter().map(|key| key.bytes + BESIDE).sum();
    all / count
}

async fn bytes_a_reservation(place: &Place, wishes: &[Reservation]) -> (usize, Vec<Stored>) {
    let limits = limits(place);
    reserve_all(&limits, wishes).await;
    complete_all(&limits, wishes).await;
    let stored = place.stored().await;
    (bytes_an_entry(&stored, wishes.len()), stored)
}

/// At 1,000 events a second 43 million of these are alive at any time.
#[tokio::test]
async fn a_reservation_of_twelve_hours_costs_little() {
    const COUNT: usize = 20_000;
    const KEPT: Duration = Duration::from_secs(12 * 3600);
    let place = Place::new(Kind::Single);
    let (app, now) = (an_app(), wall_clock());
    let wishes: Vec<Reservation> = (0..COUNT).map(|_| wish(app, now, KEPT)).collect();
    let (bytes, stored) = bytes_a_reservation(&place, &wishes).await;
    assert!(bytes <= 125, "{bytes} bytes a reservation");
    assert_small(&stored, KEPT + Duration::from_secs(600));
}

/// Ten minutes of them; they are found in one look instead.
#[tokio::test]
async fn an_automatic_reservation_is_one_small_key() {
    const COUNT: usize = 5_000;
    let place = Place::new(Kind::Single);
    let (app, now) = (an_app(), wall_clock());
    let wishes: Vec<Reservation> = (0..COUNT).map(|_| automatic_wish(app, now)).collect();
    let (bytes, stored) = bytes_a_reservation(&place, &wishes).await;
    // An installation without a name of its own has shorter keys, and takes less.
    assert!(bytes <= 250, "{bytes} bytes a reservation");
    assert_alone(&stored, COUNT);
}

#[tokio::test]
async fn a_pair_that_ended_with_its_first_attempt_is_one_small_key() {
    const COUNT: usize = 5_000;
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    let (app, now) = (an_app(), wall_clock());
    let ended = (0..COUNT).map(|_| settlement(app, now, now)).collect();
    limits.settle(now, ended).await.unwrap();
    let stored = place.stored().await;
    let bytes = bytes_an_entry(&stored, COUNT);
    assert!(bytes <= 170, "{bytes} bytes a pair");
    assert_alone(&stored, COUNT);
}

/// A small application must not pay for what big ones need.
#[tokio::test]
async fn few_entries_lie_in_one_hash() {
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    let (app, now) = (an_app(), wall_clock());
    let wishes: Vec<Reservation> = (0..100).map(|_| wish(app, now, MINUTES)).collect();
    reserve_all(&limits, &wishes).await;
    let hashes = place.names().await.len();
    assert!(
        hashes <= 2,
        "{hashes} hashes; a second where a window ended meanwhile"
    );
}

/// A window that follows a full one begins spread; whatever level an entry is at, it is found.
#[tokio::test]
async fn entries_are_found_in_every_level_of_every_window() {
    const EACH: usize = 3_000;
    const HOUR: Duration = Duration::from_secs(3600);
    const KEPT: Duration = Duration::from_secs(48 * 3600);
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    let (app, now) = (an_app(), wall_clock());
    let mut ended = Vec::new();
    for window in 0..3 {
        let made = now - HOUR * (2 - window);
        let all: Vec<Settlement> = (0..EACH)
            .map(|_| Settlement {
                keep_until: now + KEPT,
                ..in_one_part(app, made, now)
            })
            .collect();
        limits.settle(now, all.clone()).await.unwrap();
        ended.extend(all);
    }
    let claims: Vec<Claim> = ended
        .iter()
        .map(|settled| Claim {
            pair: settled.pair,
            chain: settled.chain,
            attempt: 1,
            lease_until: now + MINUTES,
            keep_until: now,
        })
        .collect();
    let verdicts = limits.claim(now, &claims).await.unwrap();
    let found = Verdict::Finished(PairState::Delivered);
    assert!(verdicts.iter().all(|verdict| *verdict == found));
    let stored = place.stored().await;
    let last = now.as_millis() / 3_600_000;
    let first_hash = |key: &&Stored| key.name.ends_with(format!("lpl{last}").as_bytes());
    let firsts: Vec<_> = stored
        .iter()
        .filter(first_hash)
        .map(|key| key.entries)
        .collect();
    assert_eq!(
        firsts,
        [Some(1)],
        "the last window began spread, without the first hash"
    );
    assert_small(&stored, KEPT + HOUR);
}

/// Entries of the two windows before count, of the third not: time has passed as far as Redis can tell.
#[tokio::test]
async fn reservations_are_found_in_the_windows_before() {
    const LENGTH: i64 = 6 * 3_600_000;
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    for back in [1, 2] {
        let (app, now) = (an_app(), wall_clock());
        let wish = wish(app, now, Duration::from_secs(12 * 3600));
        reserve_all(&limits, std::slice::from_ref(&wish)).await;
        let window = now.as_millis() / LENGTH;
        let name = |n: i64| place.key(app, &format!("lh{n}"));
        let mut rename = redis::cmd("RENAME");
        rename.arg(name(window)).arg(name(window - back));
        place.ask(rename).await;
        let again = limits.reserve(wall_clock(), &twin(&wish)).await.unwrap();
        let until = wish.lease_until;
        if wall_clock().as_millis() / LENGTH == window {
            assert_eq!(again, Reserved::Pending { until }, "{back} windows before");
        }
    }
}

/// Those that are made at the same time go to Redis together; one that cannot be read is nobody else's trouble.
#[tokio::test]
async fn a_reservation_that_cannot_be_read_disturbs_no_other() {
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    let (app, now) = (an_app(), wall_clock());
    let wishes: Vec<Reservation> = (0..32).map(|_| automatic_wish(app, now)).collect();
    reserve_all(&limits, &wishes[20..21]).await;
    let [bad] = &place.stored().await[..] else {
        panic!("one reservation is one key");
    };
    let mut set = redis::cmd("SET");
    set.arg(&bad.name).arg("garbage").arg("PX").arg(60_000);
    place.ask(set).await;
    let answers = join_all(wishes.iter().map(|wish| limits.reserve(now, wish))).await;
    for (index, answer) in answers.iter().enumerate() {
        let right = match answer {
            Ok(Reserved::Fresh { .. }) => index != 20,
            Err(PortError::Corrupt { .. }) => index == 20,
            _ => false,
        };
        assert!(right, "{index}: {answer:?}");
    }
}

/// What is kept for longer, or becomes big, is as it was.
#[tokio::test]
async fn what_does_not_fit_a_window_has_a_key_of_its_own() {
    let place = Place::new(Kind::Single);
    let limits = limits(&place);
    let (app, now) = (an_app(), wall_clock());
    let long = wish(app, now, Duration::from_secs(40 * 86_400));
    let big = wish(app, now, MINUTES);
    reserve_all(&limits, &[long.clone(), big.clone()]).await;
    let answer = Answer {
        id: big.candidate,
        at: now,
        status: 201,
        body: vec![b'x'; 1_000].into(),
    };
    let done = vec![(big.key.clone(), answer.clone())];
    limits.complete(now, done).await.unwrap();
    let stored = place.stored().await;
    let alone = stored.iter().filter(|key| key.entries.is_none());
    assert_eq!(alone.count(), 2, "{stored:?}");
    assert_eq!(
        stored.len(),
        2,
        "nothing is left where the big one was: {stored:?}"
    );
    assert!(stored.iter().all(|key| key.expires_in > 0));
    let until = long.lease_until;
    assert_eq!(
        limits.reserve(now, &twin(&long)).await.unwrap(),
        Reserved::Pending { until }
    );
    assert_eq!(
        limits.reserve(now, &big).await.unwrap(),
        Reserved::Done(answer)
    );
}

/// A number of Lua is exact to 53 bits.
#[tokio::test]
async fn chains_that_differ_in_one_bit_are_two() {
    let limits = limits(&Place::new(Kind::Single));
    let (app, now) = (an_app(), wall_clock());
    let mut claim = Claim {
        pair: settlement(app, now, now).pair,
        chain: ChainId((1 << 53) + 1),
        attempt: 1,
        lease_until: now + MINUTES,
        keep_until: now + MINUTES,
    };
    assert_eq!(
        limits.claim(now, &[claim]).await.unwrap(),
        [Verdict::Granted]
    );
    let record = limits.pair(now, claim.pair).await.unwrap().unwrap();
    assert_eq!(record.chain, claim.chain);
    claim.chain = ChainId(1 << 53);
    assert_eq!(
        limits.claim(now, &[claim]).await.unwrap(),
        [Verdict::Superseded]
    );
}

/// A node whose clock is wrong by an hour leases for as long as it wanted to, and understands the others.
#[tokio::test]
async fn times_count_as_distances_where_a_clock_is_wrong() {
    const HOUR: Duration = Duration::from_secs(3600);
    let limits = limits(&Place::new(Kind::Single));
    let close = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) < Duration::from_secs(8);
    for wrong in [wall_clock() + HOUR, wall_clock() - HOUR] {
        let right = wall_clock();
        let wish = wish(an_app(), wrong, MINUTES);
        limits.reserve(wrong, &wish).await.unwrap();
        let Reserved::Pending { until } = limits.reserve(right, &twin(&wish)).await.unwrap() else {
            panic!("it is leased, whatever the clocks show");
        };
        assert!(
            close(until, right + Duration::from_secs(30)),
            "{until} at {right}"
        );
        let Reserved::Pending { until } = limits.reserve(wrong, &twin(&wish)).await.unwrap() else {
            panic!("it is leased, whatever the clocks show");
        };
        assert!(close(until, wish.lease_until), "{until} at {wrong}");
    }
}
