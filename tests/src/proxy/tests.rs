//! The proxy between plain sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::{PATIENCE, until};

/// So long that whatever was going to come on a loopback connection would have.
const NOTHING: Duration = Duration::from_millis(100);

/// Both ends of a connection through the proxy.
struct Line {
    client: TcpStream,
    server: TcpStream,
}

struct Network {
    proxy: Proxy,
    listener: TcpListener,
}

impl Network {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self {
            proxy: Proxy::start(&address).await,
            listener,
        }
    }

    /// A connection whose client has said `first`.
    async fn connect(&self, first: &[u8]) -> Line {
        let mut client = TcpStream::connect(self.proxy.address()).await.unwrap();
        client.write_all(first).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        let mut line = Line { client, server };
        assert_eq!(read(&mut line.server, first.len()).await, first);
        line
    }
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let read = timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("bytes arrive").unwrap();
    bytes
}

/// Whether the other side has hung up.
async fn ended(stream: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await;
    matches!(read.expect("it ends"), Ok(0) | Err(_))
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(NOTHING, stream.read(&mut [0; 1])).await.is_err()
}

fn named(name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
    [b"\x0fconnection_nameS", &length[..], name.as_bytes()].concat()
}

#[tokio::test]
async fn passes_bytes_on_in_both_directions() {
    let network = Network::new().await;
    let mut line = network.connect(b"hello").await;
    line.server.write_all(b"welcome").await.unwrap();
    assert_eq!(read(&mut line.client, 7).await, b"welcome");
    assert_eq!(network.proxy.bytes(&Who::All, Way::ToServer), 5);
    drop(line.client);
    assert!(ended(&mut line.server).await);
}

#[tokio::test]
async fn holds_one_direction_and_passes_it_on_when_released() {
    let network = Network::new().await;
    let mut line = network.connect(b"hello").await;
    network.proxy.hold(Who::All, Way::ToClient);
    line.server.write_all(b"answer").await.unwrap();
    line.client.write_all(b"more").await.unwrap();
    assert_eq!(read(&mut line.server, 4).await, b"more");
    assert!(is_silent(&mut line.client).await);
    assert_eq!(network.proxy.bytes(&Who::All, Way::ToClient), 6);
    network.proxy.release(&Who::All, Way::ToClient);
    assert_eq!(read(&mut line.client, 6).await, b"answer");
}

#[tokio::test]
async fn what_is_held_when_its_sender_dies_is_gone() {
    let network = Network::new().await;
    let mut line = network.connect(b"hello").await;
    network.proxy.hold(Who::All, Way::ToServer);
    line.client.write_all(b"last words").await.unwrap();
    until("the words to be seen", || {
        network.proxy.bytes(&Who::All, Way::ToServer) == 15
    })
    .await;
    drop(line.client);
    assert!(ended(&mut line.server).await);
}

#[tokio::test]
async fn tells_connections_apart_by_name() {
    let network = Network::new().await;
    let mut publisher = network.connect(&named("postrider a publish")).await;
    let mut consumer = network.connect(&named("postrider a consume")).await;
    network.proxy.hold(CONSUMER, Way::ToClient);
    for line in [&mut publisher, &mut consumer] {
        line.server.write_all(b"x").await.unwrap();
    }
    assert_eq!(read(&mut publisher.client, 1).await, b"x");
    assert!(is_silent(&mut consumer.client).await);
    assert_eq!(network.proxy.cut(&PUBLISHER), 1);
    assert!(ended(&mut publisher.client).await && ended(&mut publisher.server).await);
    assert_eq!(network.proxy.open(&CONSUMER), 1);
}

#[tokio::test]
async fn bars_those_that_subscribe() {
    let network = Network::new().await;
    let mut plain = network.connect(b"*1\r\n$4\r\nPING\r\n").await;
    let mut before = network
        .connect(b"*2\r\n$9\r\nsubscribe\r\n$1\r\na\r\n")
        .await;
    network.proxy.bar(Who::Subscriber);
    assert!(ended(&mut before.client).await);
    let mut after = TcpStream::connect(network.proxy.address()).await.unwrap();
    after
        .write_all(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n")
        .await
        .unwrap();
    assert!(ended(&mut after).await);
    plain.server.write_all(b"+PONG").await.unwrap();
    assert_eq!(read(&mut plain.client, 5).await, b"+PONG");
    network.proxy.unbar(&Who::Subscriber);
    // One was accepted in vain.
    network.listener.accept().await.unwrap();
    network
        .connect(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n")
        .await;
}

#[tokio::test]
async fn delays_what_it_passes_on() {
    let network = Network::new().await;
    let mut line = network.connect(b"hello").await;
    let delay = Duration::from_millis(80);
    network.proxy.delay(Who::All, Way::ToServer, delay);
    let begun = Instant::now();
    line.client.write_all(b"slow").await.unwrap();
    assert_eq!(read(&mut line.server, 4).await, b"slow");
    assert!(begun.elapsed() >= delay);
}

#[tokio::test]
async fn refuses_and_accepts_again() {
    let network = Network::new().await;
    let mut line = network.connect(b"hello").await;
    network.proxy.refuse();
    assert!(ended(&mut line.client).await && ended(&mut line.server).await);
    let mut refused = TcpStream::connect(network.proxy.address()).await.unwrap();
    assert!(ended(&mut refused).await);
    network.proxy.accept();
    network.connect(b"hello").await;
}

#[tokio::test]
async fn holds_the_answer_to_a_method() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    network
        .proxy
        .hold_from(Who::All, (Way::ToServer, PUBLISH), Way::ToClient);
    line.server.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut line.client, 6).await, b"before");
    let publish = [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xce];
    line.client.write_all(&publish).await.unwrap();
    assert_eq!(read(&mut line.server, publish.len()).await, publish);
    line.server.write_all(b"after").await.unwrap();
    assert!(is_silent(&mut line.client).await);
    network.proxy.release(&Who::All, Way::ToClient);
    assert_eq!(read(&mut line.client, 5).await, b"after");
}

#[tokio::test]
async fn counts_the_methods_that_it_sees() {
    let network = Network::new().await;
    let ack = [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 80, 0xce];
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    line.server.write_all(&ack.repeat(3)).await.unwrap();
    read(&mut line.client, ack.len() * 3).await;
    assert_eq!(network.proxy.seen(&Who::All, Way::ToClient, ACK), 3);
    assert_eq!(network.proxy.seen(&Who::All, Way::ToServer, ACK), 0);
}

const PUBLISH_FRAME: [u8; 12] = [1, 0, 7, 0, 0, 0, 4, 0, 60, 0, 40, 0xce];

#[tokio::test]
async fn cuts_in_the_middle_of_a_frame() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    let publish = Mark::Method(PUBLISH);
    network
        .proxy
        .cut_within(Who::All, Way::ToServer, publish, 0);
    let before = [8, 0, 0, 0, 0, 0, 0, 0xce];
    line.client.write_all(&before).await.unwrap();
    assert_eq!(read(&mut line.server, 8).await, before);
    assert_eq!(network.proxy.cuts_left(), 1);
    line.client.write_all(&PUBLISH_FRAME).await.unwrap();
    assert_eq!(read(&mut line.server, 11).await, PUBLISH_FRAME[..11]);
    assert!(ended(&mut line.server).await && ended(&mut line.client).await);
    assert_eq!(network.proxy.cuts_left(), 0);
    network.connect(&PUBLISH_FRAME).await;
}

#[tokio::test]
async fn cuts_a_command_some_bytes_behind_its_name() {
    let network = Network::new().await;
    let mut line = network.connect(b"*1\r\n$4\r\nPING\r\n").await;
    let word = Mark::Word("EVALSHA");
    network.proxy.cut_within(Who::All, Way::ToServer, word, 4);
    let command = b"*3\r\n$7\r\nevalsha\r\n$2\r\nab";
    line.client.write_all(command).await.unwrap();
    assert_eq!(read(&mut line.server, 19).await, command[..19]);
    assert!(ended(&mut line.server).await && ended(&mut line.client).await);
}

#[tokio::test]
async fn a_cut_may_be_farther_behind_its_mark_than_one_read() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    let publish = Mark::Method(PUBLISH);
    network
        .proxy
        .cut_within(Who::All, Way::ToServer, publish, 5);
    line.client.write_all(&PUBLISH_FRAME).await.unwrap();
    assert_eq!(read(&mut line.server, 12).await, PUBLISH_FRAME);
    line.client.write_all(b"the body").await.unwrap();
    assert_eq!(read(&mut line.server, 4).await, b"the ");
    assert!(ended(&mut line.server).await);
}

#[tokio::test]
async fn says_something_wrong_before_a_method_once() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    network.proxy.close_channel(Who::All, PUBLISH);
    line.client.write_all(&PUBLISH_FRAME).await.unwrap();
    let wrong = amqp::wrong_ack(7);
    assert_eq!(read(&mut line.server, wrong.len()).await, wrong);
    assert_eq!(read(&mut line.server, 12).await, PUBLISH_FRAME);
    line.client.write_all(&PUBLISH_FRAME).await.unwrap();
    assert_eq!(read(&mut line.server, 12).await, PUBLISH_FRAME);
}

/// The server has confirmed, and the client does not learn of it.
#[tokio::test]
async fn loses_the_answer_to_a_method() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    network
        .proxy
        .hold_from(Who::All, (Way::ToServer, PUBLISH), Way::ToClient);
    line.client.write_all(&PUBLISH_FRAME).await.unwrap();
    read(&mut line.server, 12).await;
    let ack = amqp::wrong_ack(7);
    line.server.write_all(&ack).await.unwrap();
    until("the confirm to be seen", || {
        network.proxy.seen(&Who::All, Way::ToClient, ACK) == 1
    })
    .await;
    assert_eq!(network.proxy.cut(&Who::All), 1);
    network.proxy.release(&Who::All, Way::ToClient);
    assert!(ended(&mut line.client).await && ended(&mut line.server).await);
}

#[tokio::test]
async fn tells_a_client_that_its_consumer_was_cancelled() {
    let network = Network::new().await;
    let mut line = network.connect(b"AMQP\0\0\x09\x01").await;
    network.proxy.cancel_consumer(Who::All);
    let deliver = [1, 0, 7, 0, 0, 0, 8, 0, 60, 0, 60, 3, b't', b'a', b'g', 0xce];
    line.server.write_all(&deliver).await.unwrap();
    let cancel = amqp::cancel(7, b"\x03tag");
    assert_eq!(read(&mut line.client, cancel.len()).await, cancel);
    assert_eq!(read(&mut line.client, deliver.len()).await, deliver);
    assert_eq!(network.proxy.insertions_left(), 0);
}
