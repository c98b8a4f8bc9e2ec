//! As much of AMQP 0-9-1 as tells which methods go by (section 4.2 of the specification,
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>) and what a client calls itself.

use super::Method;

/// Before its first frame a client sends "AMQP" and four bytes.
const GREETING: &[u8] = b"AMQP";
const GREETING_BYTES: usize = 8;
/// Type, channel and size.
const HEAD: usize = 7;
/// What follows the payload.
const TAIL: usize = 1;
const METHOD_FRAME: u8 = 1;
/// Class and number, at the beginning of a method frame's payload.
const METHOD_ID: usize = 4;

/// A stream of frames, fed as it comes.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a frame whose rest has not come.
    begun: Vec<u8>,
    /// How many bytes until the next frame.
    skip: usize,
}

impl Frames {
    /// The methods that begin in these bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Vec<Method> {
        let mut methods = Vec::new();
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            let Some((byte, rest)) = bytes.split_first() else {
                break;
            };
            self.begun.push(*byte);
            bytes = rest;
            methods.extend(self.head());
        }
        methods
    }

    /// Looks whether enough of a frame has come to skip the rest of it.
    fn head(&mut self) -> Option<Method> {
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
        (frame[0] == METHOD_FRAME).then_some((number(HEAD)?, number(HEAD + 2)?))
    }
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
    use crate::proxy::{ACK, PUBLISH};

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 1];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    }

    fn method((class, number): Method, arguments: &[u8]) -> Vec<u8> {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend(number.to_be_bytes());
        payload.extend(arguments);
        frame(METHOD_FRAME, &payload)
    }

    fn stream() -> Vec<u8> {
        let parts = [
            b"AMQP\0\0\x09\x01".to_vec(),
            method(PUBLISH, b"exchange"),
            frame(2, b"header"),
            frame(3, b"body"),
            frame(8, b""),
            method(ACK, b""),
        ];
        parts.concat()
    }

    #[test]
    fn methods_are_told_however_the_bytes_are_cut() {
        let stream = stream();
        for piece in [1, 2, 3, 7, stream.len()] {
            let mut frames = Frames::default();
            let seen: Vec<Method> = stream
                .chunks(piece)
                .flat_map(|bytes| frames.feed(bytes))
                .collect();
            assert_eq!(seen, [PUBLISH, ACK], "in pieces of {piece}");
        }
    }

    #[test]
    fn the_name_is_found() {
        let table = b"\x07productS\x00\x00\x00\x01x\x0fconnection_nameS\x00\x00\x00\x03a b\x04more";
        assert_eq!(connection_name(table).as_deref(), Some("a b"));
        assert_eq!(connection_name(b"\x0fconnection_nameS\x00\x00"), None);
    }
}
