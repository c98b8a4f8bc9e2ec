//! As much of AMQP 0-9-1 as tells which methods go by (section 4.2 of the specification,
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>) and what a client calls itself.

use super::{ACK, CANCEL, Method};

/// Before its first frame a client sends "AMQP" and four bytes.
const GREETING: &[u8] = b"AMQP";
const GREETING_BYTES: usize = 8;
/// Type, channel and size.
const HEAD: usize = 7;
/// What follows the payload.
const TAIL: usize = 1;
const METHOD_FRAME: u8 = 1;
const FRAME_END: u8 = 0xce;
/// Class and number, at the beginning of a method frame's payload.
const METHOD_ID: usize = 4;

/// A method in the bytes that were fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passing {
    pub(super) method: Method,
    pub(super) channel: u16,
    /// Where its frame begins; `None`: in bytes that were fed before.
    pub(super) begins: Option<usize>,
    /// Where its name ends.
    pub(super) named: usize,
}

/// A stream of frames, fed as it comes.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a frame whose rest has not come.
    begun: Vec<u8>,
    /// How many bytes until the next frame.
    skip: usize,
}

impl Frames {
    /// The methods whose names end in these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Passing> {
        let mut methods = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let passed = self.skip.min(bytes.len() - at);
            self.skip -= passed;
            at += passed;
            let Some(byte) = bytes.get(at) else { break };
            self.begun.push(*byte);
            at += 1;
            let length = self.begun.len();
            methods.extend(self.head().map(|(channel, method)| Passing {
                method,
                channel,
                begins: at.checked_sub(length),
                named: at,
            }));
        }
        methods
    }

    /// Looks whether enough of a frame has come to skip the rest of it. Channel and method, where it is one.
    fn head(&mut self) -> Option<(u16, Method)> {
        if self.begun == GREETING {
            self.begun.clear();
            self.skip = GREETING_BYTES - GREETING.len();
            return None;
        }
        let size = self.begun.get(3..HEAD)?;
        let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
        let needed = HEAD + METHOD_ID.min(size);
        if self.begun.len() < needed {
            return None;
        }
        self.skip = HEAD + size + TAIL - needed;
        let frame = std::mem::take(&mut self.begun);
        let number = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let method = (number(HEAD)?, number(HEAD + 2)?);
        (frame[0] == METHOD_FRAME).then_some((number(1)?, method))
    }
}

/// An acknowledgement of what was never delivered, for which a server closes the channel: 406.
pub(super) fn wrong_ack(channel: u16) -> Vec<u8> {
    let tag = u64::MAX.to_be_bytes();
    let not_multiple = [0];
    method_frame(channel, ACK, &[&tag[..], &not_multiple].concat())
}

/// What a server says to whoever consumes a queue that is deleted. `consumer` is a short text, with its length.
pub(super) fn cancel(channel: u16, consumer: &[u8]) -> Vec<u8> {
    let no_wait = [1];
    method_frame(channel, CANCEL, &[consumer, &no_wait].concat())
}

fn method_frame(channel: u16, (class, number): Method, arguments: &[u8]) -> Vec<u8> {
    let name = [class.to_be_bytes(), number.to_be_bytes()].concat();
    frame(METHOD_FRAME, channel, &[&name, arguments].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(size.to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

/// What a client calls itself, if these bytes say so: a long string in the table of its properties.
pub(super) fn connection_name(bytes: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"connection_nameS";
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = &bytes[at + KEY.len()..];
    let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let name = rest.get(4..4 + length)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::PUBLISH;

    fn stream() -> Vec<u8> {
        let parts = [
            b"AMQP\0\0\x09\x01".to_vec(),
            method_frame(1, PUBLISH, b"exchange"),
            frame(2, 1, b"header"),
            frame(3, 1, b"body"),
            frame(8, 0, b""),
            method_frame(2, ACK, b""),
        ];
        parts.concat()
    }

    #[test]
    fn methods_are_told_however_the_bytes_are_cut() {
        let stream = stream();
        for piece in [1, 2, 3, 7, stream.len()] {
            let mut frames = Frames::default();
            let seen: Vec<(u16, Method)> = stream
                .chunks(piece)
                .flat_map(|bytes| frames.feed(bytes))
                .map(|passing| (passing.channel, passing.method))
                .collect();
            assert_eq!(seen, [(1, PUBLISH), (2, ACK)], "in pieces of {piece}");
        }
    }

    #[test]
    fn where_a_method_is_in_the_bytes_is_told() {
        let greeting = 8;
        let first = Frames::default().feed(&stream())[0];
        assert_eq!(first.begins, Some(greeting));
        assert_eq!(first.named, greeting + HEAD + METHOD_ID);
        let mut frames = Frames::default();
        let publish = method_frame(1, PUBLISH, b"exchange");
        assert!(frames.feed(&publish[..3]).is_empty());
        let second = frames.feed(&publish[3..])[0];
        assert_eq!((second.begins, second.named), (None, HEAD + METHOD_ID - 3));
    }

    #[test]
    fn the_name_is_found() {
        let table = b"\x07productS\x00\x00\x00\x01x\x0fconnection_nameS\x00\x00\x00\x03a b\x04more";
        assert_eq!(connection_name(table).as_deref(), Some("a b"));
        assert_eq!(connection_name(b"\x0fconnection_nameS\x00\x00"), None);
    }
}
