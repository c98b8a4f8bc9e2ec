//! Messages that came over AMQP, without AMQP: what becomes of those that came back often.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::ports::{Incoming, Intake, Refusal, Taken, Why};
use serde_json::json;

use crate::faults::{Fault, FaultyBroker, with_faulty_broker};
use crate::support::Server;

const NEVER: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(100);
/// So many deliveries make a suspect.
const OFTEN: u32 = 5;

struct Stage {
    server: Server,
    broker: Arc<FaultyBroker>,
    intake: Arc<dyn Intake>,
    key: String,
}

impl Stage {
    async fn open(intake_timeout: Duration) -> Self {
        let (server, broker) = with_faulty_broker(|config| {
            config.publish_timeout = NEVER;
            config.intake_timeout = intake_timeout;
        });
        server.app("shop").await;
        let key = json!({"name": "backend"});
        let key = server
            .operator()
            .post("/api/v1/api-key", &key)
            .await
            .is(201);
        Self {
            intake: server.api.intake(),
            key: key["key"].as_str().unwrap().to_owned(),
            server,
            broker,
        }
    }

    /// Without an event id, so that no try waits for the one before.
    fn order(&self, number: u32, earlier_deliveries: u32) -> Incoming {
        let body = json!({
            "application": "shop", "eventType": "order.paid", "payload": {"order": number},
        });
        Incoming {
            key: Some(self.key.clone()),
            body: body.to_string().into(),
            earlier_deliveries,
            ..Incoming::default()
        }
    }

    async fn take(&self, incoming: &Incoming) -> Taken {
        self.intake.take(incoming.clone()).await
    }
}

#[tokio::test]
async fn what_came_back_often_and_harms_nobody_is_taken_however_often() {
    let stage = Stage::open(NEVER).await;
    for _ in 0..10 {
        assert_eq!(stage.take(&stage.order(1, 1_000)).await, Taken::Accepted);
    }
    stage.broker.set(Fault::Unavailable);
    for _ in 0..10 {
        let taken = stage.take(&stage.order(2, 1_000)).await;
        assert_eq!(taken, Taken::Wait(Why::Unavailable));
    }
    stage.broker.set(Fault::None);
    assert_eq!(stage.take(&stage.order(2, 1_000)).await, Taken::Accepted);
    let wrong = Incoming {
        body: "{}".into(),
        ..stage.order(3, 1_000)
    };
    for _ in 0..10 {
        let taken = stage.take(&wrong).await;
        assert!(
            matches!(&taken, Taken::Refused(refusal) if refusal.status == 422),
            "{taken:?}"
        );
    }
}

#[tokio::test]
async fn what_nobody_comes_to_an_end_with_is_refused_after_three_trials_and_nothing_else_is() {
    let stage = Stage::open(SOON).await;
    stage.broker.set(Fault::Gated);
    let endless = stage.order(1, OFTEN);
    for _ in 0..3 {
        assert_eq!(stage.take(&endless).await, Taken::Unfinished);
    }
    let arrived = stage.broker.arrived.available_permits();
    let Taken::Refused(Refusal {
        status,
        code,
        detail,
    }) = stage.take(&endless).await
    else {
        panic!("it is not refused");
    };
    assert_eq!((status, code), (500, "poison"));
    assert!(detail.contains("3 processes"), "{detail}");
    let tried = stage.broker.arrived.available_permits() - arrived;
    assert_eq!(tried, 0, "it is not tried again");
    stage.broker.set(Fault::None);
    let (patient, _) = stage.server.another(|_| {});
    let taken = patient.intake().take(stage.order(2, OFTEN)).await;
    assert_eq!(taken, Taken::Accepted);
}

#[tokio::test]
async fn what_did_not_end_is_not_condemned_without_a_trial() {
    let stage = Stage::open(SOON).await;
    stage.broker.set(Fault::Gated);
    for earlier in 0..OFTEN {
        let taken = stage.take(&stage.order(1, earlier)).await;
        assert_eq!(taken, Taken::Unfinished);
    }
    let counted = stage.server.metrics.gather();
    let counted = counted
        .iter()
        .find(|family| family.name() == "postrider_amqp_messages_total")
        .unwrap();
    let unfinished = counted.get_metric().iter().find(|metric| {
        let labels = metric.get_label();
        labels.iter().any(|label| label.value() == "unfinished")
    });
    assert_eq!(
        unfinished.unwrap().get_counter().get_value(),
        f64::from(OFTEN)
    );
}

#[tokio::test]
async fn nothing_is_taken_beside_what_is_on_trial() {
    let stage = Stage::open(NEVER).await;
    stage.broker.set(Fault::Gated);
    let (suspect, other) = (stage.order(1, OFTEN), stage.order(2, 0));
    let trial = stage.take(&suspect);
    tokio::pin!(trial);
    tokio::select! {
        _ = &mut trial => panic!("it is not held"),
        arrived = stage.broker.arrived.acquire() => arrived.unwrap().forget(),
    }
    // Once it has been polled, the other one stands in line.
    let beside = stage.take(&other);
    tokio::pin!(beside);
    assert!(futures_util::poll!(beside.as_mut()).is_pending());
    assert_eq!(stage.broker.arrived.available_permits(), 0);
    stage.broker.gate.add_permits(2);
    assert_eq!(trial.await, Taken::Accepted);
    assert_eq!(beside.await, Taken::Accepted);
}

#[tokio::test]
async fn what_a_body_is_stands_in_its_properties() {
    let stage = Stage::open(NEVER).await;
    let text = stage.order(1, 0).body;
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let packed = bytes::Bytes::from(rmp_serde::to_vec_named(&value).unwrap());
    let cases = [
        (&text, None, None, None),
        (&text, Some(""), Some(""), None),
        (
            &text,
            Some("application/json; charset=utf-8"),
            Some("utf-8"),
            None,
        ),
        (&text, Some("Application/Vnd.Acme+JSON"), None, None),
        (
            &text,
            Some("application/octet-stream"),
            Some("identity"),
            None,
        ),
        (&packed, Some("application/msgpack"), None, None),
        (&packed, Some("application/x-msgpack"), Some("binary"), None),
        (&packed, Some(" Application/vnd.MsgPack ; v=1"), None, None),
        (&packed, None, None, Some((422, "UTF-8"))),
        (
            &packed,
            Some("application/json"),
            None,
            Some((422, "UTF-8")),
        ),
        (
            &text,
            Some("application/msgpack"),
            None,
            Some((422, "MessagePack")),
        ),
        (
            &text,
            Some("application/json; charset=latin1"),
            None,
            Some((415, "UTF-8")),
        ),
        (
            &text,
            Some("application/cbor"),
            None,
            Some((415, "application/msgpack")),
        ),
        (
            &packed,
            Some("application/msgpack"),
            Some("gzip"),
            Some((415, "content-encoding")),
        ),
    ];
    for (body, kind, encoding, refused) in cases {
        let incoming = Incoming {
            body: body.clone(),
            content_type: kind.map(str::to_owned),
            content_encoding: encoding.map(str::to_owned),
            ..stage.order(1, 0)
        };
        match (stage.take(&incoming).await, refused) {
            (Taken::Accepted, None) => {}
            (Taken::Refused(refusal), Some((status, why))) => {
                assert_eq!(refusal.status, status, "{refusal:?}");
                assert!(refusal.detail.contains(why), "{refusal:?}");
            }
            other => panic!("{kind:?}, {encoding:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn messagepack_may_be_no_longer_as_json() {
    let stage = Stage::open(NEVER).await;
    let body =
        json!({"application": "shop", "eventType": "a", "payload": {"a": "\u{1}".repeat(600_000)}});
    let incoming = Incoming {
        body: rmp_serde::to_vec_named(&body).unwrap().into(),
        content_type: Some("application/msgpack".to_owned()),
        ..stage.order(1, 0)
    };
    let taken = stage.take(&incoming).await;
    assert!(
        matches!(&taken, Taken::Refused(refusal) if refusal.status == 413),
        "{taken:?}"
    );
}
