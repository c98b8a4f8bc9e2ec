//! Names of keys: `pr1:{tag}kind…`.
//!
//! `pr1` is the layout's version: a change of the layout that older releases cannot read is `pr2`. The tag in braces is
//! all that Redis Cluster hashes, so that keys with one tag lie in one slot. Identifiers are written as raw bytes,
//! which is half the length of their text form; the tag's closing brace cannot be mistaken: identifiers in a tag are
//! in hexadecimal, because a raw byte may be a brace.

use postrider_core::id::{AppId, EndpointId, OrgId};

/// What every key of an installation begins with, and the names of its channels do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Space(String);

impl Space {
    /// `within` separates installations that share a server; usually there is one, and it is empty.
    pub(super) fn new(within: &str) -> Self {
        let separator = if within.is_empty() { "" } else { ":" };
        Self(format!("pr1:{within}{separator}"))
    }

    /// The key `kind` followed by `rest` under `tag`.
    pub(super) fn key(&self, tag: &Tag, kind: &str, rest: &[u8]) -> Vec<u8> {
        let (space, tag) = (self.0.as_bytes(), tag.0.as_bytes());
        [space, b"{", tag, b"}", kind.as_bytes(), rest].concat()
    }

    /// A key that stands by itself, in any slot: as short as can be.
    pub(super) fn bare(&self, kind: &str, digest: &[u8]) -> Vec<u8> {
        [self.0.as_bytes(), kind.as_bytes(), digest].concat()
    }

    /// The name of a channel.
    pub(super) fn channel(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

/// A hash tag: everything under it lies in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tag(String);

impl Tag {
    /// What belongs to the whole installation.
    pub(super) fn installation() -> Self {
        Self("pr".to_owned())
    }

    pub(super) fn org(org: OrgId) -> Self {
        Self(format!("o{}", hex(org.as_bytes())))
    }

    pub(super) fn app(app: AppId) -> Self {
        Self(format!("a{}", hex(app.as_bytes())))
    }

    /// A part of what belongs to an application, so that a big one is not one slot: a period of time, or a share.
    pub(super) fn app_part(app: AppId, part: u64) -> Self {
        Self(format!("a{}.{part:x}", hex(app.as_bytes())))
    }

    pub(super) fn endpoint(endpoint: EndpointId) -> Self {
        Self(format!("e{}", hex(endpoint.as_bytes())))
    }

    /// What stands by itself and is named by a digest.
    pub(super) fn digest(digest: &[u8]) -> Self {
        Self(format!("s{}", hex(digest)))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_tag_share_it_whatever_follows() {
        let app = AppId::from_bytes([0x7b; 20]);
        let key = Space::new("").key(&Tag::app(app), "l", b"}{");
        let tag = "7b".repeat(20);
        assert_eq!(key, format!("pr1:{{a{tag}}}l}}{{").into_bytes());
        assert_eq!(Space::new("stage").channel("notices"), "pr1:stage:notices");
    }
}
