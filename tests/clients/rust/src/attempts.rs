//! Attempts: read, repeated, and what failed recovered.

use std::time::Duration;

use chrono::Utc;
use svix::Svix;
use svix::api::{MessageAttemptListByEndpointOptions, MessageAttemptListByMsgOptions};
use svix::models::{
    BackgroundTaskStatus, BackgroundTaskType, MessageAttemptOut, MessageAttemptTriggerType,
    MessageStatus, RecoverIn,
};

use crate::Walk;
use crate::check::{eventually, s, step};
use crate::messages::message;

/// Returns the identifier of the first one.
pub async fn read(walk: &Walk, sent: &str) -> String {
    step("attempts are read");
    let api = walk.svix.message_attempt();
    let with_content = || MessageAttemptListByMsgOptions {
        with_content: Some(true),
        ..MessageAttemptListByMsgOptions::default()
    };
    let one: MessageAttemptOut = eventually("an attempt", async || {
        let listed = api.list_by_msg(s("shop"), s(sent), Some(with_content()));
        listed.await.unwrap().data.into_iter().next()
    })
    .await;
    assert_eq!(
        (one.msg_id.as_str(), &one.endpoint_id),
        (sent, &walk.endpoint)
    );
    assert_eq!(
        (one.response_status_code, one.response.as_str()),
        (200, "received")
    );
    assert_eq!(one.status, MessageStatus::Success);
    assert_eq!(one.trigger_type, MessageAttemptTriggerType::Scheduled);
    assert!(one.response_duration_ms >= 0);
    let read = api.get(s("shop"), s(sent), one.id.clone(), None).await;
    assert_eq!(read.unwrap().id, one.id);
    pages(&walk.svix, &one.id).await;
    let destinations = api.list_attempted_destinations(s("shop"), s(sent), None);
    let destinations = destinations.await.unwrap().data;
    assert_eq!(destinations.len(), 1);
    assert_eq!(destinations[0].id, walk.endpoint);
    assert_eq!(destinations[0].status, MessageStatus::Success);
    let tried = api.list_attempted_messages(s("shop"), s("main"), None);
    let tried = tried.await.unwrap().data;
    let tried: Vec<_> = tried.iter().map(|one| one.event_id.as_deref()).collect();
    assert_eq!(tried, [Some("order-2"), Some("order-1")]);
    one.id
}

async fn pages(svix: &Svix, oldest: &str) {
    let list = async |iterator| {
        let options = MessageAttemptListByEndpointOptions {
            limit: Some(1),
            status: Some(MessageStatus::Success),
            with_msg: Some(true),
            iterator,
            ..MessageAttemptListByEndpointOptions::default()
        };
        let api = svix.message_attempt();
        let page = api.list_by_endpoint(s("shop"), s("main"), Some(options));
        page.await.unwrap()
    };
    let page = eventually("attempts of both messages", async || {
        let page = list(None).await;
        (!page.done && !page.data.is_empty()).then_some(page)
    })
    .await;
    let newer = page.data[0].msg.as_ref().expect("the message, too");
    assert_eq!(newer.event_id.as_deref(), Some("order-2"));
    assert_eq!(list(page.iterator).await.data[0].id, oldest);
}

pub async fn resend(walk: &mut Walk, sent: &str) {
    step("resend");
    let api = walk.svix.message_attempt();
    let resent = api.resend(s("shop"), s(sent), s("main"), None).await;
    resent.unwrap();
    walk.arrives(sent).await;
    eventually("the attempt made by hand", async || {
        let api = walk.svix.message_attempt();
        let listed = api
            .list_by_msg(s("shop"), s(sent), None)
            .await
            .unwrap()
            .data;
        let triggers: Vec<_> = listed.iter().map(|one| one.trigger_type).collect();
        use MessageAttemptTriggerType::{Manual, Scheduled};
        (triggers == [Manual, Scheduled]).then_some(())
    })
    .await;
}

pub async fn recover(walk: &mut Walk) {
    step("what failed is recovered");
    let since = Utc::now() - Duration::from_secs(3600);
    walk.receiver.answer_with(500);
    let api = walk.svix.message();
    let failed = api.create(s("shop"), message(3), None).await.unwrap().id;
    eventually("the message to be given up", async || {
        let api = walk.svix.message_attempt();
        let to = api.list_attempted_destinations(s("shop"), failed.clone(), None);
        let to = to.await.unwrap().data.into_iter().next()?;
        (to.status == MessageStatus::Fail && to.next_attempt.is_none()).then_some(())
    })
    .await;
    walk.receiver.answer_with(200);
    walk.receiver.forget();
    let api = walk.svix.endpoint();
    let task = api.recover(s("shop"), s("main"), RecoverIn::new(since), None);
    let task = task.await.unwrap().id;
    assert!(task.starts_with("qtask_"), "{task}");
    walk.arrives(&failed).await;
    eventually("the task to finish", async || {
        let read = walk.svix.background_task().get(task.clone()).await.unwrap();
        assert_eq!(read.task, BackgroundTaskType::EndpointRecover);
        (read.status == BackgroundTaskStatus::Finished).then_some(())
    })
    .await;
}
