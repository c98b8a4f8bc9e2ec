//! Where payloads end, while somebody forgets.

use std::sync::Arc;

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::message::MessageRecord;
use postrider_core::ports::{DeliveryLog as _, LogRecord};
use postrider_core::samples::NOW;

use super::events::{HOUR, a_message, an_app, noise};
use crate::own::OwnServer;

/// Recorded and forgotten at the same time: whichever comes first, what is there in the end is looked after.
#[tokio::test]
async fn payloads_of_an_hour_that_is_being_forgotten_end() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let other = RedisLog::new(own.server(), LogOptions::default());
    let mut connection = own.connect().await;
    let app = an_app();
    let mut there = 0;
    for round in 0..400_u32 {
        let mut event = (*a_message(app, NOW - HOUR * 80, noise(50)).event).clone();
        event.payload_until = NOW + HOUR;
        let record = LogRecord::Message(MessageRecord::from(Arc::new(event)));
        // Each time a little later, so that all interleavings come about.
        let recording = async {
            for _ in 0..round % 40 {
                tokio::task::yield_now().await;
            }
            log.record(vec![record]).await.unwrap();
        };
        let forgetting = other.retain(NOW, NOW - HOUR * 72);
        let (_, forgotten) = tokio::join!(recording, forgetting);
        forgotten.unwrap();
        let kept: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg("pr1:{a*}hx")
            .query_async(&mut connection)
            .await
            .unwrap();
        let announced: usize = redis::cmd("ZCARD")
            .arg("pr1:{pr}hx")
            .query_async(&mut connection)
            .await
            .unwrap();
        there += kept.len();
        assert!(announced >= kept.len(), "nobody looks there, round {round}");
    }
    assert!(there > 0, "something was recorded after it was forgotten");
}
