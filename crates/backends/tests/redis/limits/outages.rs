//! What the port says when Redis cannot do what it is asked to.

use std::time::Duration;

use futures_util::future::{join, join_all};
use postrider_backends::redis::{Options, RedisLimits};
use postrider_core::id::{AppId, EndpointId, MessageId};
use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairState, Verdict};
use postrider_core::ports::{
    BreakerRecord, BreakerState, Claim, IdempotencyKey, Limits, Partition, PortError, Probe,
    RateRequest, Reservation, ReservationKey, Reserved, Settlement,
};
use postrider_core::time::Timestamp;
use redis::Cmd;

use crate::support::{Kind, OwnServer, Place, wall_clock};

const KEPT: Duration = Duration::from_secs(60);

fn wish(now: Timestamp) -> Reservation {
    Reservation {
        key: ReservationKey {
            partition: Partition::App(AppId::new(now, rand::random())),
            key: Some(IdempotencyKey {
                hash: rand::random(),
                automatic: true,
            }),
            event_id: None,
        },
        candidate: MessageId::new(now, rand::random()),
        body: [7; 16],
        lease_until: now + KEPT,
        key_until: now + KEPT,
        event_id_until: now,
    }
}

fn handed_on(now: Timestamp) -> Settlement {
    Settlement {
        pair: PairKey {
            app: AppId::new(now, rand::random()),
            message: MessageId::new(now, rand::random()),
            endpoint: EndpointId::new(now, rand::random()),
        },
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: PairOutcome::HandedOn { next_attempt: 2 },
        keep_until: now + KEPT,
    }
}

fn some_permits() -> RateRequest {
    RateRequest {
        subject: b"subject".to_vec(),
        interval: KEPT,
        burst: 2,
        want: 1,
    }
}

async fn reserve(limits: &RedisLimits) -> Result<Reserved, PortError> {
    let now = wall_clock();
    limits.reserve(now, &wish(now)).await
}

/// Everything that writes, each in a call of its own.
async fn refusals(limits: &RedisLimits) -> Vec<PortError> {
    let now = wall_clock();
    let endpoint = EndpointId::new(now, rand::random());
    let record = BreakerRecord {
        state: BreakerState::Open,
        since: now,
        until: now,
        openings: 1,
    };
    let settled = handed_on(now);
    let answers = [
        limits.reserve(now, &wish(now)).await.map(drop),
        limits.settle(now, vec![settled]).await,
        limits
            .open_chain(now, settled.pair, ChainId(7), now + KEPT)
            .await,
        limits.take(now, &some_permits()).await.map(drop),
        limits
            .set_breaker(endpoint, &record, None, now + KEPT)
            .await
            .map(drop),
        limits.probe().await,
    ];
    answers.into_iter().map(Result::unwrap_err).collect()
}

/// A server that was restarted knows no scripts.
#[tokio::test]
async fn scripts_that_a_server_forgot_are_sent_again() {
    for kind in [Kind::Single, Kind::Cluster] {
        let place = Place::new(kind);
        let limits = RedisLimits::new(place.server());
        for _ in 0..2 {
            let fresh = reserve(&limits).await.unwrap();
            assert_eq!(fresh, Reserved::Fresh { version: 0 });
            let mut flush = redis::cmd("SCRIPT");
            flush.arg("FLUSH");
            place.ask(flush).await;
        }
    }
}

#[tokio::test]
async fn a_full_server_refuses_to_write_and_goes_on_reading() {
    let own = OwnServer::start(&[]).await;
    let limits = RedisLimits::new(own.server());
    let settled = handed_on(wall_clock());
    limits.settle(wall_clock(), vec![settled]).await.unwrap();
    own.set("maxmemory", "1").await;
    for refusal in refusals(&limits).await {
        assert!(matches!(refusal, PortError::Full { .. }), "{refusal:?}");
    }
    let record = limits.pair(wall_clock(), settled.pair).await.unwrap();
    assert_eq!(record.unwrap().attempt, 2);
    own.set("maxmemory", "0").await;
    reserve(&limits).await.unwrap();
}

#[tokio::test]
async fn a_server_that_only_reads_is_unavailable() {
    let own = OwnServer::start(&[]).await;
    let limits = RedisLimits::new(own.server());
    let settled = handed_on(wall_clock());
    limits.settle(wall_clock(), vec![settled]).await.unwrap();
    let mut replica = redis::cmd("REPLICAOF");
    // Nobody listens there: it goes on with what it has.
    own.ask(replica.arg("127.0.0.1").arg("1")).await;
    for refusal in refusals(&limits).await {
        assert!(
            matches!(refusal, PortError::Unavailable { .. }),
            "{refusal:?}"
        );
    }
    let record = limits.pair(wall_clock(), settled.pair).await.unwrap();
    assert_eq!(record.unwrap().attempt, 2);
}

/// Tries until it works again; says what it was told meanwhile.
async fn recovers(limits: &RedisLimits) -> Vec<PortError> {
    let mut told = Vec::new();
    let patience = tokio::time::timeout(Duration::from_secs(30), async {
        while let Err(error) = reserve(limits).await {
            told.push(error);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let recovered = patience.await.is_ok();
    assert!(recovered, "it never worked again: {:?}", told.last());
    told
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again() {
    let own = OwnServer::start(&[]).await;
    let limits = RedisLimits::new(own.server());
    reserve(&limits).await.unwrap();
    let port = own.stop();
    // What was on its way may have been done; what comes later cannot have been.
    let first = reserve(&limits).await.unwrap_err();
    assert!(
        matches!(
            first,
            PortError::Unknown { .. } | PortError::Unavailable { .. }
        ),
        "{first:?}"
    );
    for _ in 0..20 {
        let away = reserve(&limits).await.unwrap_err();
        assert!(matches!(away, PortError::Unavailable { .. }), "{away:?}");
    }
    let _own = OwnServer::start_at(port, &[]).await;
    let told = recovers(&limits).await;
    assert!(told.len() <= 3, "soon: {told:?}");
}

/// A process starts whether or not Redis is there.
#[tokio::test]
async fn a_server_may_come_later() {
    let own = OwnServer::start(&[]).await;
    let server = own.server();
    let port = own.stop();
    let limits = RedisLimits::new(server);
    let away = reserve(&limits).await.unwrap_err();
    assert!(matches!(away, PortError::Unavailable { .. }), "{away:?}");
    let _own = OwnServer::start_at(port, &[]).await;
    recovers(&limits).await;
}

/// A password that is wrong for a moment, while it is being changed, is not wrong for ever.
#[tokio::test]
async fn a_server_that_refused_the_password_is_asked_again() {
    let own = OwnServer::start(&["--requirepass", "secret"]).await;
    let limits = RedisLimits::new(own.server());
    reserve(&limits).await.unwrap();
    let link = &mut own.link().await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("another");
    set.exec_async(link).await.unwrap();
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes");
    kill.exec_async(link).await.unwrap();
    let refused = loop {
        match reserve(&limits).await.unwrap_err() {
            // The end of the connection, seen by the first call after it.
            PortError::Unknown { .. } => {}
            other => break other,
        }
    };
    assert!(
        matches!(refused, PortError::Unavailable { .. }),
        "{refused:?}"
    );
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("secret");
    set.exec_async(link).await.unwrap();
    recovers(&limits).await;
}

/// The client of a Cluster repeats what was not answered in time by itself, and then it happens twice.
#[tokio::test]
async fn what_a_cluster_did_not_answer_in_time_is_not_repeated() {
    let own = OwnServer::start(&["--cluster-enabled", "yes"]).await;
    let mut slots = redis::cmd("CLUSTER");
    own.ask(slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await;
    own.until("CLUSTER", "INFO", "cluster_state:ok").await;
    let timeout = Duration::from_millis(500);
    let limits = RedisLimits::new(own.server_with(Options {
        response_timeout: timeout,
        ..Options::default()
    }));
    let permits = RateRequest {
        interval: Duration::from_secs(3600),
        burst: 100,
        ..some_permits()
    };
    assert_eq!(
        limits.take(wall_clock(), &permits).await.unwrap().granted,
        1
    );
    let mut pause = redis::cmd("CLIENT");
    own.ask(pause.arg("PAUSE").arg(1_500).arg("ALL")).await;
    let none = RateRequest {
        want: 0,
        ..permits.clone()
    };
    // The client looks after what has timed out when something else is asked.
    let others = (1..15).map(async |tenths| {
        tokio::time::sleep(Duration::from_millis(100) * tenths).await;
        let _ = limits.take(wall_clock(), &none).await;
    });
    let (unanswered, _) = join(limits.take(wall_clock(), &permits), join_all(others)).await;
    assert!(
        matches!(unanswered, Err(PortError::Unknown { .. })),
        "{unanswered:?}"
    );
    // On the same connection: whatever was sent before is done before. Asking for none costs nothing, however often.
    while let Err(error) = limits.take(wall_clock(), &none).await {
        assert!(matches!(error, PortError::Unknown { .. }), "{error:?}");
    }
    let all = RateRequest {
        want: 100,
        ..permits
    };
    let left = limits.take(wall_clock(), &all).await.unwrap();
    assert_eq!(
        left.granted, 98,
        "one before, and one that was done without an answer"
    );
}

/// While a slot is on its way to another server, neither of the two knows all that is in it: what one of them does not
/// have may be with the other.
#[tokio::test]
async fn while_a_slot_moves_nothing_counts_as_absent() {
    let clustered = ["--cluster-enabled", "yes"];
    let (from, to) = (
        OwnServer::start(&clustered).await,
        OwnServer::start(&clustered).await,
    );
    let mut slots = redis::cmd("CLUSTER");
    from.ask(slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383))
        .await;
    let mut meet = redis::cmd("CLUSTER");
    from.ask(meet.arg("MEET").arg("127.0.0.1").arg(to.port()))
        .await;
    from.until("CLUSTER", "INFO", "cluster_known_nodes:2").await;
    to.until("CLUSTER", "INFO", "cluster_state:ok").await;
    let limits = RedisLimits::new(from.server_with(Options {
        response_timeout: Duration::from_secs(1),
        ..Options::default()
    }));
    let now = wall_clock();
    let (wish, settled) = (wish(now), handed_on(now));
    limits.settle(now, vec![settled]).await.unwrap();
    limits.reserve(now, &wish).await.unwrap();
    let claim = Claim {
        pair: settled.pair,
        chain: settled.chain,
        attempt: 1,
        lease_until: now + KEPT,
        keep_until: now + KEPT,
    };
    let moving = from.filled_slots().await;
    for slot in &moving {
        to.slot(*slot, &["IMPORTING", &from.id().await]).await;
        from.slot(*slot, &["MIGRATING", &to.id().await]).await;
    }
    let now = wall_clock();
    let answers = [
        limits.claim(now, &[claim]).await.map(drop),
        limits.settle(now, vec![settled]).await,
        limits.pair(now, settled.pair).await.map(drop),
        limits
            .open_chain(now, settled.pair, ChainId(7), now + KEPT)
            .await,
        limits.reserve(now, &wish).await.map(drop),
        limits.release(&wish.key).await,
    ];
    for answer in answers {
        let away = matches!(
            answer,
            Err(PortError::Unavailable { .. } | PortError::Unknown { .. })
        );
        assert!(away, "{answer:?}");
    }
    for slot in &moving {
        for server in [&from, &to] {
            server.slot(*slot, &["STABLE"]).await;
        }
    }
    let now = wall_clock();
    let verdicts = limits.claim(now, &[claim]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Finished(PairState::Waiting)]);
    let until = wish.lease_until;
    let twin = Reservation {
        candidate: MessageId::new(now, rand::random()),
        ..wish
    };
    let found = limits.reserve(now, &twin).await.unwrap();
    assert_eq!(found, Reserved::Pending { until });
}

async fn overwrite(place: &Place, command: &mut Cmd) {
    place.ask(command.clone()).await;
}

/// Overwrites all fields of all hashes and all strings of such names.
async fn spoil(place: &Place, names: &str) {
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("pr1:{}:{names}", place.space));
    let names: Vec<Vec<u8>> = redis::from_redis_value(place.ask(keys).await).unwrap();
    assert!(!names.is_empty(), "nothing to spoil");
    for name in names {
        let mut fields = redis::cmd("HKEYS");
        let fields = place.try_ask(fields.arg(&name)).await;
        let Ok(fields) = fields else {
            overwrite(place, redis::cmd("SET").arg(&name).arg("spoilt")).await;
            continue;
        };
        let fields: Vec<Vec<u8>> = redis::from_redis_value(fields).unwrap();
        for field in fields {
            let mut set = redis::cmd("HSET");
            overwrite(place, set.arg(&name).arg(field).arg("spoilt")).await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_corrupt() {
    let place = Place::new(Kind::Single);
    let limits = RedisLimits::new(place.server());
    let now = wall_clock();
    let (wish, settled) = (wish(now), handed_on(now));
    let endpoint = EndpointId::new(now, rand::random());
    let record = BreakerRecord {
        state: BreakerState::Open,
        since: now,
        until: now,
        openings: 1,
    };
    limits.reserve(now, &wish).await.unwrap();
    limits.settle(now, vec![settled]).await.unwrap();
    limits.take(now, &some_permits()).await.unwrap();
    let set = limits.set_breaker(endpoint, &record, None, now + KEPT);
    assert!(set.await.unwrap());
    for names in ["i*", "p*", "*}lr*", "*}lb*"] {
        spoil(&place, names).await;
    }
    let answers = [
        limits.reserve(now, &wish).await.map(drop),
        limits.release(&wish.key).await,
        limits.pair(now, settled.pair).await.map(drop),
        limits.settle(now, vec![settled]).await,
        limits.take(now, &some_permits()).await.map(drop),
        limits.breaker(endpoint).await.map(drop),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Err(PortError::Corrupt { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_key_of_another_kind_is_corrupt() {
    let place = Place::new(Kind::Single);
    let limits = RedisLimits::new(place.server());
    limits.take(wall_clock(), &some_permits()).await.unwrap();
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("pr1:{}:*}}lr", place.space));
    let names: Vec<Vec<u8>> = redis::from_redis_value(place.ask(keys).await).unwrap();
    overwrite(&place, redis::cmd("DEL").arg(&names[0])).await;
    overwrite(&place, redis::cmd("RPUSH").arg(&names[0]).arg("x")).await;
    let answer = limits.take(wall_clock(), &some_permits()).await;
    assert!(
        matches!(answer, Err(PortError::Corrupt { .. })),
        "{answer:?}"
    );
}
