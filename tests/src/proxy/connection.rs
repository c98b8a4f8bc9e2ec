//! One connection: two pumps and what they see.

use std::collections::{HashMap, VecDeque};
use std::future::pending;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::amqp::{Frames, Passing, cancel, connection_name, wrong_ack};
use super::rules::{Face, Inserted, Rules};
use super::{Mark, Method, Way};

const CHUNK: usize = 64 * 1024;
/// Beyond this a held connection is not read any more.
const BACKLOG: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Connection {
    face: Mutex<Face>,
    seen: Mutex<HashMap<(Way, Method), u64>>,
    bytes: Mutex<HashMap<Way, u64>>,
    ended: CancellationToken,
}

impl Connection {
    pub(super) fn face(&self) -> Face {
        self.face.lock().clone()
    }

    pub(super) fn cut(&self) {
        self.ended.cancel();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.ended.is_cancelled()
    }

    pub(super) fn seen(&self, way: Way, method: Method) -> u64 {
        self.seen
            .lock()
            .get(&(way, method))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn bytes(&self, way: Way) -> u64 {
        self.bytes.lock().get(&way).copied().unwrap_or_default()
    }

    /// Passes bytes on until one side ends, or it is cut.
    pub(super) async fn run(
        &self,
        client: TcpStream,
        server: TcpStream,
        rules: &watch::Sender<Rules>,
    ) {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = self.pump(Way::ToServer, from_client, to_server, rules);
        let back = self.pump(Way::ToClient, from_server, to_client, rules);
        tokio::select! {
            () = there => {}
            () = back => {}
            () = self.barred(rules) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Completes when this connection is not to be.
    async fn barred(&self, rules: &watch::Sender<Rules>) {
        let mut rules = rules.subscribe();
        let barred = rules.wait_for(|rules| rules.bars(&self.face()));
        if barred.await.is_err() {
            pending::<()>().await;
        }
    }

    async fn pump(
        &self,
        way: Way,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        all_rules: &watch::Sender<Rules>,
    ) {
        let mut rules = all_rules.subscribe();
        let mut frames = Frames::default();
        let mut backlog: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut chunk = vec![0; CHUNK];
        // How much is passed on before the end, where that is near.
        let mut left: Option<usize> = None;
        while left != Some(0) {
            tokio::select! {
                read = from.read(&mut chunk), if backlog.len() < BACKLOG => {
                    let Some(count @ 1..) = read.ok() else { break };
                    let mut bytes = chunk[..count].to_vec();
                    let cut = self.notice(way, &mut frames, &mut bytes, all_rules);
                    left = left.or(cut).map(|left| {
                        bytes.truncate(left);
                        left - bytes.len()
                    });
                    // A face that is known only now may be one that is not to be.
                    if rules.borrow().bars(&self.face()) {
                        return;
                    }
                    let delay = rules.borrow().delays(&self.face(), way);
                    backlog.push_back((Instant::now() + delay, bytes));
                }
                () = self.may_pass(way, backlog.front(), &mut rules) => {
                    let Some((_, bytes)) = backlog.pop_front() else { break };
                    // It may have been released a moment after it was cut.
                    if !self.is_open() || to.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
        // The end goes by the same way as the bytes before it; what is held at that time is lost.
        while let Some((due, bytes)) = backlog.pop_front() {
            sleep_until(due).await;
            let is_kept = !self.is_open() || rules.borrow().holds(&self.face(), way);
            if is_kept || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    }

    /// Completes when what is first in the backlog is due and not held.
    async fn may_pass(
        &self,
        way: Way,
        first: Option<&(Instant, Vec<u8>)>,
        rules: &mut watch::Receiver<Rules>,
    ) {
        let Some((due, _)) = first else {
            return pending().await;
        };
        let released = rules.wait_for(|rules| !rules.holds(&self.face(), way));
        if released.await.is_err() {
            pending::<()>().await;
        }
        sleep_until(*due).await;
    }

    /// Looks at bytes before they are passed on, and may put others between them. Returns how many of them are to be the
    /// last ones, where a cut was set off.
    fn notice(
        &self,
        way: Way,
        frames: &mut Frames,
        bytes: &mut Vec<u8>,
        rules: &watch::Sender<Rules>,
    ) -> Option<usize> {
        *self.bytes.lock().entry(way).or_default() += bytes.len() as u64;
        if way == Way::ToServer {
            let mut face = self.face.lock();
            if face.name.is_none() {
                face.name = connection_name(bytes);
            }
            face.subscribed |= subscribes(bytes);
        }
        let face = self.face();
        let passing = frames.feed(bytes);
        for Passing { method, .. } in &passing {
            *self.seen.lock().entry((way, *method)).or_default() += 1;
            if rules.borrow().has_trap(&face, (way, *method)) {
                rules.send_modify(|rules| rules.spring(&face, (way, *method)));
            }
        }
        let cut = cut(&face, way, &passing, bytes, rules);
        if cut.is_none() {
            insert(&face, way, &passing, bytes, rules);
        }
        cut
    }
}

/// How many of these bytes are to be the last ones.
fn cut(
    face: &Face,
    way: Way,
    passing: &[Passing],
    bytes: &[u8],
    rules: &watch::Sender<Rules>,
) -> Option<usize> {
    if rules.borrow().cuts.is_empty() {
        return None;
    }
    let methods = passing
        .iter()
        .map(|passing| (Mark::Method(passing.method), passing.named));
    let words = rules.borrow().cut_words(face, way).into_iter();
    let words = words.filter_map(|word| Some((Mark::Word(word), end_of(word, bytes)?)));
    let mut marks = methods.chain(words);
    marks.find_map(|(mark, at)| {
        let mut cut = None;
        rules.send_if_modified(|rules| {
            cut = rules.take_cut(face, way, mark);
            cut.is_some()
        });
        Some(at + cut?.more)
    })
}

/// Where a word ends that is in these bytes.
fn end_of(word: &str, bytes: &[u8]) -> Option<usize> {
    let mut windows = bytes.windows(word.len());
    let at = windows.position(|window| window.eq_ignore_ascii_case(word.as_bytes()))?;
    Some(at + word.len())
}

/// Says something in the name of the side that these bytes come from.
fn insert(
    face: &Face,
    way: Way,
    passing: &[Passing],
    bytes: &mut Vec<u8>,
    rules: &watch::Sender<Rules>,
) {
    if rules.borrow().insertions.is_empty() {
        return;
    }
    for passing in passing {
        // A frame whose beginning is on its way cannot be preceded any more.
        let Some(at) = passing.begins else { continue };
        let mut due = None;
        rules.send_if_modified(|rules| {
            due = rules.take_insertion(face, (way, passing.method));
            due.is_some()
        });
        let frame = match due {
            None => continue,
            Some(Inserted::WrongAck) => wrong_ack(passing.channel),
            Some(Inserted::Cancel) => cancel(passing.channel, consumer(bytes, passing.named)),
        };
        bytes.splice(at..at, frame);
        return;
    }
}

/// The first argument of a delivery: a short text.
fn consumer(bytes: &[u8], at: usize) -> &[u8] {
    let length = bytes.get(at).copied().unwrap_or_default();
    bytes.get(at..=at + usize::from(length)).unwrap_or(&[0])
}

/// Whether these are bytes of a command that subscribes: SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
fn subscribes(bytes: &[u8]) -> bool {
    const COMMAND: &[u8] = b"SUBSCRIBE\r\n";
    let mut windows = bytes.windows(COMMAND.len());
    windows.any(|window| window.eq_ignore_ascii_case(COMMAND))
}
