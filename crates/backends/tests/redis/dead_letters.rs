//! Dead letters on Redis: their contract, and what is promised beyond it.

use std::sync::Arc;
use std::time::Duration;

use postrider_backends::redis::{Options, RedisDeadLetters, Server};
use postrider_core::dead_letter::{DeadLetter, DeadNote, DeadReason};
use postrider_core::id::{AppId, DeadLetterId, EndpointId, MessageId};
use postrider_core::message::Event;
use postrider_core::pair::ChainId;
use postrider_core::ports::{DeadLetters as _, PortError, Probe as _};
use postrider_core::samples::{self, NOW};
use postrider_core::time::Timestamp;

use crate::own::OwnServer;

mod single {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_dead_letters!(Store::new(Kind::Single));
}

mod cluster {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_dead_letters!(Store::new(Kind::Cluster));
}

fn a_letter(app: AppId, died_at: Timestamp) -> DeadLetter {
    let event = Event {
        app,
        message: MessageId::new(died_at, rand::random()),
        ..samples::event()
    };
    DeadLetter::Delivery {
        event: Arc::new(event),
        note: DeadNote {
            id: DeadLetterId::new(died_at, rand::random()),
            endpoint: EndpointId::new(NOW, rand::random()),
            chain: ChainId::FIRST,
            reason: DeadReason::Exhausted,
            attempts: 8,
            last_status: 500,
            last_response: String::new(),
            died_at,
        },
    }
}

/// The same delivery, given up again later.
fn again(letter: &DeadLetter, died_at: Timestamp) -> DeadLetter {
    let DeadLetter::Delivery { event, note } = letter else {
        panic!("a delivery");
    };
    DeadLetter::Delivery {
        event: Arc::clone(event),
        note: DeadNote {
            id: DeadLetterId::new(died_at, rand::random()),
            chain: ChainId(rand::random()),
            died_at,
            ..note.clone()
        },
    }
}

fn an_app() -> AppId {
    AppId::new(NOW, rand::random())
}

#[tokio::test]
async fn no_key_is_left_of_letters_that_are_gone() {
    let own = OwnServer::start().await;
    let store = RedisDeadLetters::new(own.server());
    let [app, other] = [an_app(), an_app()];
    let letter = a_letter(app, NOW);
    let newer = again(&letter, NOW + Duration::from_secs(60));
    let unreadable = DeadLetter::Unreadable {
        id: DeadLetterId::new(NOW, rand::random()),
        died_at: NOW,
        cause: "nonsense".to_owned(),
        raw: bytes::Bytes::from_static(b"\xff"),
    };
    store
        .put(vec![letter.clone(), unreadable.clone()])
        .await
        .unwrap();
    store.put(vec![newer.clone()]).await.unwrap();
    store.put(vec![a_letter(other, NOW)]).await.unwrap();
    assert_eq!(
        store
            .remove(Some(app), &[letter.id(), newer.id()])
            .await
            .unwrap(),
        1
    );
    assert_eq!(store.remove(None, &[unreadable.id()]).await.unwrap(), 1);
    let later = NOW + Duration::from_secs(3600);
    assert_eq!(store.retain(later).await.unwrap(), 1);
    assert_eq!(store.retain(later).await.unwrap(), 0);
    assert_eq!(own.keys().await, 0, "not even a directory is left");
}

/// What is filed between two sweeps is removed when its own time has come, whatever the sweeps found.
#[tokio::test]
async fn letters_that_come_during_retention_are_removed_in_their_turn() {
    let own = OwnServer::start().await;
    let store = Arc::new(RedisDeadLetters::new(own.server()));
    let app = an_app();
    let minute = Duration::from_secs(60);
    let filing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 0..200 {
                let letter = a_letter(app, NOW + minute * (number % 20));
                store.put(vec![letter]).await.unwrap();
            }
        }
    });
    let mut removed = 0;
    while !filing.is_finished() {
        removed += store.retain(NOW + minute * 10).await.unwrap();
    }
    filing.await.unwrap();
    loop {
        match store.retain(NOW + minute * 20).await.unwrap() {
            0 => break,
            more => removed += more,
        }
    }
    assert_eq!(removed, 200);
    assert_eq!(own.keys().await, 0);
}

#[tokio::test]
async fn a_full_server_refuses_letters_and_loses_none() {
    let own = OwnServer::start().await;
    let store = RedisDeadLetters::new(own.server());
    let app = an_app();
    let filed: Vec<_> = (0..600).map(|_| a_letter(app, NOW)).collect();
    store.put(filed.clone()).await.unwrap();
    store.probe().await.unwrap();
    own.limit_memory(own.memory().await - 50_000).await;
    for refused in [
        a_letter(app, NOW),
        again(&filed[0], NOW + Duration::from_secs(60)),
    ] {
        let full = store.put(vec![refused.clone()]).await;
        assert!(matches!(full, Err(PortError::Full { .. })), "{full:?}");
        assert_eq!(store.get(Some(app), refused.id()).await.unwrap(), None);
    }
    assert!(matches!(store.probe().await, Err(PortError::Full { .. })));
    let found = store.get(Some(app), filed[0].id()).await.unwrap();
    assert_eq!(
        found.as_ref(),
        Some(&filed[0]),
        "the one that was to be replaced is there"
    );
    let some: Vec<_> = filed[100..].iter().map(DeadLetter::id).collect();
    assert_eq!(
        store.remove(Some(app), &some).await.unwrap(),
        500,
        "removing makes room"
    );
    store.put(vec![a_letter(app, NOW)]).await.unwrap();
}

#[test]
fn the_work_is_kept_until_redis_has_synced() {
    let server = Server::new("redis://localhost", Options::default()).unwrap();
    let store = RedisDeadLetters::new(server);
    assert_eq!(store.safe_after(), Duration::from_secs(2));
}
