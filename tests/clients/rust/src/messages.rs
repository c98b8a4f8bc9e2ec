//! Messages, sent, received and read.

use serde_json::{Value, json};
use svix::api::{MessageCreateOptions, MessageGetOptions, MessageListOptions};
use svix::models::{EventExampleIn, MessageIn, MessageOut};

use crate::Walk;
use crate::check::{eventually, refused, s, step, strings};

pub fn payload(n: u32) -> Value {
    json!({"order": n, "name": "Jürgen 👋"})
}

pub fn message(n: u32) -> MessageIn {
    MessageIn {
        event_id: Some(format!("order-{n}")),
        channels: Some(strings(&["eu"])),
        tags: Some(strings(&["till", &format!("n{n}")])),
        ..MessageIn::new(s("order.paid"), payload(n))
    }
}

/// Returns the identifier of what was sent.
pub async fn arrive(walk: &mut Walk) -> String {
    step("a message arrives, verified");
    let keyed = || MessageCreateOptions {
        idempotency_key: Some(s("order-1")),
        with_content: Some(true),
    };
    let send = async |options| {
        let api = walk.svix.message();
        api.create(s("shop"), message(1), options).await
    };
    let sent: MessageOut = send(Some(keyed())).await.unwrap();
    assert_eq!(send(Some(keyed())).await.unwrap().id, sent.id);
    assert_eq!(sent.event_id, Some(s("order-1")));
    assert_eq!(sent.tags, Some(strings(&["till", "n1"])));
    assert_eq!(sent.channels, Some(strings(&["eu"])));
    assert_eq!(sent.payload, payload(1));
    refused(409, "conflict", send(None).await);
    let received = walk.arrives(&sent.id).await;
    assert_eq!(received.header("x-till"), "4");
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(body, payload(1));
    sent.id
}

pub async fn read(walk: &mut Walk, sent: &str) {
    step("messages are read");
    let with_content = |with| MessageGetOptions {
        with_content: Some(with),
    };
    for key in [sent, "order-1"] {
        let api = walk.svix.message();
        let read = api.get(s("shop"), s(key), Some(with_content(true))).await;
        let read = read.unwrap();
        assert_eq!((read.id.as_str(), read.payload), (sent, payload(1)));
    }
    let api = walk.svix.message();
    let bare = api.get(s("shop"), s(sent), Some(with_content(false))).await;
    assert_eq!(bare.unwrap().payload, json!({}));
    let second = api.create(s("shop"), message(2), None).await.unwrap().id;
    walk.arrives(&second).await;
    pages(walk, sent, &second).await;
}

async fn pages(walk: &Walk, sent: &str, second: &str) {
    let list = async |options| {
        let api = walk.svix.message();
        api.list(s("shop"), Some(options)).await.unwrap()
    };
    let tagged = |iterator| MessageListOptions {
        limit: Some(1),
        tag: Some(s("till")),
        iterator,
        ..MessageListOptions::default()
    };
    let page = eventually("the second message to be listed", async || {
        let newest = list(tagged(None)).await;
        let first = newest.data.first()?;
        (first.id == second).then_some(newest)
    })
    .await;
    assert_eq!((page.data.len(), page.done), (1, false));
    let rest = list(tagged(page.iterator)).await;
    assert_eq!((rest.data.len(), rest.done), (1, true));
    assert_eq!(rest.data[0].id, sent);
    let filtered = MessageListOptions {
        event_types: Some(strings(&["order.paid"])),
        tag: Some(s("n2")),
        ..MessageListOptions::default()
    };
    let kept = list(filtered).await.data;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].id, second);
}

pub async fn as_text(walk: &mut Walk) {
    step("a payload that is text");
    let text = r#"{ "order": 4.0 }"#;
    let wanted = MessageIn {
        channels: Some(strings(&["eu"])),
        ..MessageIn::new_raw_payload(s("order.paid"), s(text))
    };
    let api = walk.svix.message();
    let sent = api.create(s("shop"), wanted, None).await.unwrap().id;
    assert_eq!(walk.arrives(&sent).await.body, text);
}

pub async fn example(walk: &mut Walk) {
    step("an example");
    let wanted = EventExampleIn::new(s("svix.ping"));
    let api = walk.svix.endpoint();
    let sent = api.send_example(s("shop"), s("main"), wanted, None).await;
    let id = sent.unwrap().id;
    walk.arrives(&id).await;
}
