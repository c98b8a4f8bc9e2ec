//! Checking a webhook that was received.
//!
//! Everything about the request is hostile until this says otherwise. Cheap checks go first, and
//! the number of signatures looked at is bounded, as an ed25519 check costs enough for a long
//! header to become a burden.

use std::time::Duration;

use crate::{
    error::VerifyError,
    header::WebhookHeaders,
    key::VerifyingKey,
    sign::{Content, Signature},
};

/// How far the sender's timestamp and the receiver's clock may be apart, in either direction:
/// five minutes, the value that receivers commonly use.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// How many well-formed signatures of one header are looked at; the rest is ignored.
pub const MAX_SIGNATURES: usize = 32;

/// Verifies a webhook: `Ok` means that a holder of one of the keys signed this id, this timestamp
/// and this body, recently.
///
/// - `body` is what was received, byte for byte, before any parsing.
/// - `now_seconds` is the receiver's clock in seconds since the Unix epoch.
/// - `tolerance` bounds the age and the earliness of the timestamp, each inclusive and in whole
///   seconds (fractions are dropped); see [`DEFAULT_TOLERANCE`].
///
/// One matching signature suffices, by any of the keys, so both sides can rotate keys. Entries that
/// are malformed or of an unknown version are skipped. Signatures are compared in constant time.
///
/// Within the tolerance the same webhook can be replayed, and a sender may retry what was in fact
/// received. Remember the ids that were handled.
///
/// # Errors
/// A [`VerifyError`] that says which check failed.
pub fn verify<'k>(
    keys: impl IntoIterator<Item = &'k VerifyingKey>,
    headers: &WebhookHeaders<'_>,
    body: &[u8],
    now_seconds: i64,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    check_id(headers.id)?;
    check_age(parse_timestamp(headers.timestamp)?, now_seconds, tolerance)?;
    let content = Content {
        id: headers.id,
        timestamp: headers.timestamp,
        body,
    };
    let signatures = parse_signatures(headers.signature);
    if keys
        .into_iter()
        .any(|key| key.accepts_any(&content, &signatures))
    {
        return Ok(());
    }
    Err(VerifyError::NoMatchingSignature)
}

/// With a full stop in the id, the signed text could be cut into id, timestamp and body in more
/// than one way, and a signature for one message would fit another. The specification warns of it.
fn check_id(id: &str) -> Result<(), VerifyError> {
    if id.is_empty() || id.contains('.') {
        return Err(VerifyError::BadId);
    }
    Ok(())
}

/// Digits only: what `str::parse` also allows, such as a sign, is not what senders write.
fn parse_timestamp(text: &str) -> Result<i64, VerifyError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VerifyError::BadTimestamp);
    }
    text.parse().map_err(|_| VerifyError::BadTimestamp)
}

fn check_age(timestamp: i64, now: i64, tolerance: Duration) -> Result<(), VerifyError> {
    let distance = now.abs_diff(timestamp);
    if distance <= tolerance.as_secs() {
        return Ok(());
    }
    if timestamp < now {
        return Err(VerifyError::TooOld {
            age_seconds: distance,
        });
    }
    Err(VerifyError::TooNew {
        ahead_seconds: distance,
    })
}

fn parse_signatures(header: &str) -> Vec<Signature> {
    header
        .split(' ')
        .filter_map(Signature::from_header_entry)
        .take(MAX_SIGNATURES)
        .collect()
}

impl VerifyingKey {
    fn accepts_any(&self, content: &Content<'_>, signatures: &[Signature]) -> bool {
        match self {
            Self::Symmetric(key) => {
                // Once per key, however many signatures there are.
                let expected = Signature::V1(key.mac(content));
                signatures.contains(&expected)
            }
            Self::Ed25519(key) => signatures
                .iter()
                .any(|signature| matches!(signature, Signature::V1a(s) if key.accepts(content, s))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn tolerance_is_inclusive_in_both_directions() {
        assert_eq!(check_age(940, 1000, MINUTE), Ok(()));
        assert_eq!(check_age(1060, 1000, MINUTE), Ok(()));
        let too_old = VerifyError::TooOld { age_seconds: 61 };
        assert_eq!(check_age(939, 1000, MINUTE), Err(too_old));
        let too_new = VerifyError::TooNew { ahead_seconds: 61 };
        assert_eq!(check_age(1061, 1000, MINUTE), Err(too_new));
    }

    #[test]
    fn extreme_clocks_do_not_overflow() {
        assert!(check_age(i64::MAX, i64::MIN, MINUTE).is_err());
        assert!(check_age(0, i64::MIN, Duration::MAX).is_ok());
    }

    #[test]
    fn timestamps_are_plain_digits() {
        assert_eq!(parse_timestamp("1614265330"), Ok(1_614_265_330));
        let bad = [
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "1.0",
            "1e9",
            "٣",
            "9223372036854775808",
        ];
        for text in bad {
            assert_eq!(
                parse_timestamp(text),
                Err(VerifyError::BadTimestamp),
                "{text:?}"
            );
        }
    }

    #[test]
    fn ids_that_blur_the_boundary_are_refused() {
        assert_eq!(check_id("msg_1"), Ok(()));
        assert_eq!(check_id(""), Err(VerifyError::BadId));
        assert_eq!(check_id("msg.1"), Err(VerifyError::BadId));
    }

    #[test]
    fn a_long_header_is_bounded() {
        let entry = Signature::V1a([0; 64]).to_header_entry();
        let header = vec![entry; 500].join(" ");
        assert_eq!(parse_signatures(&header).len(), MAX_SIGNATURES);
    }

    #[test]
    fn entries_that_cannot_be_read_are_skipped() {
        let good = Signature::V1([1; 32]).to_header_entry();
        let unpadded = good.trim_end_matches('=');
        let header = format!("v2,abc nonsense  v1 v1, v1,AAAA {unpadded} {good} ");
        assert_eq!(parse_signatures(&header), [Signature::V1([1; 32])]);
    }
}
