//! Numbers and texts as few bytes, and back.

use bytes::{Buf, Bytes};
use postrider_core::time::Timestamp;

/// The largest thing that is believed to have been compressed: anything beyond is no record of ours.
const LARGEST: usize = 256 * 1024 * 1024;

/// What is stored is not what this release, or the one before, stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a record is cut off")]
    Short,
    #[error("version {0} of a record is not known to this release")]
    Version(u8),
    #[error("{0} is not what it should be")]
    Field(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, Unreadable>;

/// Seven bits per byte, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number of either sign: small ones are few bytes, whatever their sign.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(
        out,
        (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned(),
    );
}

/// A time as its distance from one that the reader knows.
pub(super) fn put_time(out: &mut Vec<u8>, time: Timestamp, known: Timestamp) {
    put_signed(out, time.as_millis().wrapping_sub(known.as_millis()));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Of fewer bytes, what compressing saves is less than what the allocator rounds up.
const WORTH_COMPRESSING: usize = 600;

/// What `bytes` become where compressing makes them fewer.
pub(super) fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < WORTH_COMPRESSING {
        return None;
    }
    let mut out = Vec::new();
    put_number(&mut out, bytes.len() as u64);
    out.extend_from_slice(&lz4_flex::block::compress(bytes));
    (out.len() < bytes.len()).then_some(out)
}

pub(super) fn decompressed(bytes: Bytes) -> Result<Bytes> {
    let mut source = Source(bytes);
    let len = source.len()?;
    if len > LARGEST {
        return Err(Unreadable::Field("the length of something compressed"));
    }
    let out = lz4_flex::block::decompress(&source.0, len);
    let out = out.map_err(|_| Unreadable::Field("something compressed"))?;
    Ok(out.into())
}

/// Bytes that are read from the front. What it gives out shares their memory.
#[derive(Debug, Clone)]
pub(super) struct Source(pub(super) Bytes);

impl Source {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.0.try_get_u8().map_err(|_| Unreadable::Short)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes> {
        if len > self.0.len() {
            return Err(Unreadable::Short);
        }
        Ok(self.0.split_to(len))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(&*bytes).map_err(|_| Unreadable::Short)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable::Field("a number"))
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T> {
        T::try_from(self.number()?).map_err(|_| Unreadable::Field("a number"))
    }

    fn len(&mut self) -> Result<usize> {
        self.small()
    }

    pub(super) fn time(&mut self, known: Timestamp) -> Result<Timestamp> {
        let number = self.number()?;
        let distance = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        Ok(Timestamp::from_millis(
            known.as_millis().wrapping_add(distance),
        ))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let len = self.len()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        text(&self.bytes()?)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Field("a text"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_times_round_trip(number: u64, time: i64, known: i64) {
            let [time, known] = [time, known].map(Timestamp::from_millis);
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_time(&mut out, time, known);
            let mut source = Source(out.into());
            prop_assert_eq!(source.number(), Ok(number));
            prop_assert_eq!(source.time(known), Ok(time));
            prop_assert!(source.is_empty());
        }

        #[test]
        fn what_was_compressed_comes_back(bytes: Vec<u8>, repeated in 0_usize..50) {
            let bytes = bytes.repeat(repeated);
            if let Some(small) = compressed(&bytes) {
                prop_assert!(small.len() < bytes.len());
                prop_assert_eq!(decompressed(small.into()), Ok(Bytes::from(bytes)));
            }
        }

        #[test]
        fn strange_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let mut source = Source(bytes.clone().into());
            let _ = (source.number(), source.text(), source.array::<20>());
            let _ = decompressed(bytes.into());
        }
    }

    #[test]
    fn small_distances_are_one_byte() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        for distance in [-64, 0, 63] {
            let mut out = Vec::new();
            put_time(
                &mut out,
                Timestamp::from_millis(now.as_millis() + distance),
                now,
            );
            assert_eq!(out.len(), 1);
        }
    }
}
