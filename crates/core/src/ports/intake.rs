//! Messages that come in over the broker instead of over HTTP.

use async_trait::async_trait;
use bytes::Bytes;

/// What takes messages that somebody has put on a queue for us. The other way round from the ports: the API implements it,
/// and a broker that has such a queue calls it.
///
/// ```text
///  backend ──▶ queue ──▶ take ──┬─ Accepted: durable elsewhere, the queue may forget it
///                               ├─ Refused: set aside with the reason, then the queue may forget it
///                               ├─ Wait: nobody can tell yet; asked again later, with the same message
///                               └─ Unfinished: it comes again at once, and counts as if its holder had died
/// ```
///
/// Asking again about a message is safe as far as it names itself ([`Incoming::id`], or an event id in its body): what was
/// accepted before is `Accepted` again, and stays one message.
#[async_trait]
pub trait Intake: Send + Sync {
    async fn take(&self, incoming: Incoming) -> Taken;
}

/// A message as it stood on the queue.
#[derive(Clone, Default)]
pub struct Incoming {
    /// Whoever published it shows this: an API key, or an operator's token.
    pub key: Option<String>,
    /// The publisher's own name for this message.
    pub id: Option<String>,
    pub body: Bytes,
    /// What the publisher says of the body, where it does.
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// How often it was delivered before without being settled, as far as the queue knows. Whoever was killed beside it
    /// counts, too; what had to wait in order does not.
    pub earlier_deliveries: u32,
}

impl std::fmt::Debug for Incoming {
    /// Without what only its owner may know.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("id", &self.id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is durable, now or since an earlier time.
    Accepted,
    /// It will never be accepted as it is.
    Refused(Refusal),
    /// Neither; nothing is wrong with the message.
    Wait(Why),
    /// Taking it did not come to an end in time.
    Unfinished,
}

/// Why a message was refused, in the words of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    /// A sentence, or the JSON of a list of errors that name a field each.
    pub detail: String,
}

/// Why a message has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A part is away or has too much to do: others would have to wait as well.
    Unavailable,
    /// Its application sends more than it may: others need not wait for it.
    Throttled,
}
