//! What the load and the subscriber saw, as rows of numbers in a file.

use std::io::{self, BufWriter, Write};

/// An event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Which event.
    pub number: u32,
    /// When it was due, or was sent; see [`crate::load`].
    pub begun: u64,
    /// When the answer 202 was there; 0 where it never was.
    pub accepted: u64,
}

/// A request that reached the subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which event.
    pub number: u32,
    /// Which endpoint, as its path says.
    pub endpoint: u32,
    /// When its last byte was there.
    pub at: u64,
}

/// A row of fixed length.
pub trait Row: Sized {
    /// In bytes.
    const LENGTH: usize;
    /// Appends it.
    fn put(&self, to: &mut Vec<u8>);
    /// From [`Self::LENGTH`] bytes.
    fn take(from: &[u8]) -> Self;
}

impl Row for Sent {
    const LENGTH: usize = 20;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.number.to_le_bytes());
        to.extend(self.begun.to_le_bytes());
        to.extend(self.accepted.to_le_bytes());
    }

    fn take(from: &[u8]) -> Self {
        Self {
            number: small(&from[..4]),
            begun: large(&from[4..12]),
            accepted: large(&from[12..20]),
        }
    }
}

impl Row for Received {
    const LENGTH: usize = 16;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.number.to_le_bytes());
        to.extend(self.endpoint.to_le_bytes());
        to.extend(self.at.to_le_bytes());
    }

    fn take(from: &[u8]) -> Self {
        Self {
            number: small(&from[..4]),
            endpoint: small(&from[4..8]),
            at: large(&from[8..16]),
        }
    }
}

fn small(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn large(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Writes rows, one behind the other.
///
/// # Errors
/// Where they cannot be written.
pub fn write<R: Row>(rows: &[R], to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    let mut bytes = Vec::with_capacity(R::LENGTH);
    for row in rows {
        bytes.clear();
        row.put(&mut bytes);
        to.write_all(&bytes)?;
    }
    to.flush()
}

/// Reads rows.
///
/// # Errors
/// Where the bytes are no whole number of rows.
pub fn read<R: Row>(bytes: &[u8]) -> io::Result<Vec<R>> {
    let rows = bytes.chunks_exact(R::LENGTH);
    if !rows.remainder().is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(rows.map(R::take).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let sent = [1, 2].map(|number| Sent {
            number,
            begun: u64::MAX - 1,
            accepted: 0x0102_0304_0506_0708,
        });
        let mut bytes = Vec::new();
        write(&sent, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 2 * Sent::LENGTH);
        assert_eq!(read::<Sent>(&bytes).unwrap(), sent);
        read::<Sent>(&bytes[1..]).unwrap_err();
        let received = [Received {
            number: u32::MAX,
            endpoint: 7,
            at: 9,
        }];
        bytes.clear();
        write(&received, &mut bytes).unwrap();
        assert_eq!(read::<Received>(&bytes).unwrap(), received);
    }
}
