//! Properties that must hold for every input, hostile ones above all.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use postrider_signature::{
    DEFAULT_TOLERANCE, Ed25519PublicKey, Ed25519Secret, Secret, SigningKey, SymmetricSecret,
    VerifyError, VerifyingKey, WebhookHeaders, sign_all, verify,
};
use proptest::{collection::vec, prelude::*};

fn secrets() -> impl Strategy<Value = Secret> {
    prop_oneof![
        vec(any::<u8>(), 24..=75)
            .prop_map(|bytes| SymmetricSecret::from_slice(&bytes).unwrap().into()),
        any::<[u8; 32]>().prop_map(|seed| Ed25519Secret::from_seed(seed).into()),
    ]
}

fn ids() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,40}"
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

/// Seconds since the Unix epoch, far enough from both ends to be moved by the tolerance.
fn timestamps() -> impl Strategy<Value = i64> {
    0..i64::from(u32::MAX)
}

/// A webhook as owned text, so that single bits of it can be changed.
#[derive(Debug, Clone)]
struct Received {
    key: VerifyingKey,
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
    now: i64,
}

impl Received {
    fn verify(&self) -> Result<(), VerifyError> {
        let headers = WebhookHeaders {
            id: &self.id,
            timestamp: &self.timestamp,
            signature: &self.signature,
        };
        verify(
            [&self.key],
            &headers,
            &self.body,
            self.now,
            DEFAULT_TOLERANCE,
        )
    }
}

prop_compose! {
    fn webhooks()(
        secret in secrets(),
        id in ids(),
        timestamp in timestamps(),
        body in bodies(),
        skew in -300_i64..=300,
    ) -> Received {
        let signature = secret.signing_key().sign(&id, timestamp, &body);
        Received {
            key: secret.verifying_key(),
            id,
            timestamp: timestamp.to_string(),
            signature: signature.to_header_entry(),
            body,
            now: timestamp + skew,
        }
    }
}

/// Flips one of the lower seven bits of one character, which keeps ASCII text valid.
fn flip_char(text: &str, place: prop::sample::Index, bit: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = place.index(bytes.len());
    bytes[at] ^= 1 << (bit % 7);
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn what_is_signed_verifies(webhook in webhooks()) {
        prop_assert_eq!(webhook.verify(), Ok(()));
    }

    #[test]
    fn a_flipped_bit_of_the_body_is_noticed(
        mut webhook in webhooks(),
        extra in any::<u8>(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        webhook.body.push(extra);
        prop_assert!(webhook.verify().is_err(), "a longer body");
        webhook.body.pop();
        prop_assume!(!webhook.body.is_empty());
        let at = place.index(webhook.body.len());
        webhook.body[at] ^= 1 << bit;
        prop_assert_eq!(webhook.verify(), Err(VerifyError::NoMatchingSignature));
    }

    #[test]
    fn a_flipped_bit_of_a_header_is_noticed(
        webhook in webhooks(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..7,
    ) {
        let mut id = webhook.clone();
        id.id = flip_char(&webhook.id, place, bit);
        prop_assert!(id.verify().is_err(), "id {:?}", id.id);

        let mut timestamp = webhook.clone();
        timestamp.timestamp = flip_char(&webhook.timestamp, place, bit);
        prop_assert!(timestamp.verify().is_err(), "timestamp {:?}", timestamp.timestamp);

        let mut signature = webhook.clone();
        signature.signature = flip_char(&webhook.signature, place, bit);
        prop_assert!(signature.verify().is_err(), "signature {:?}", signature.signature);
    }

    #[test]
    fn another_key_does_not_verify(mut webhook in webhooks(), other in secrets()) {
        webhook.key = other.verifying_key();
        prop_assert_eq!(webhook.verify(), Err(VerifyError::NoMatchingSignature));
    }

    #[test]
    fn outside_the_tolerance_nothing_verifies(
        mut webhook in webhooks(),
        distance in 301_i64..1_000_000,
        ahead in any::<bool>(),
    ) {
        let timestamp: i64 = webhook.timestamp.parse().unwrap();
        let seconds = distance.unsigned_abs();
        let expected = if ahead {
            webhook.now = timestamp - distance;
            VerifyError::TooNew { ahead_seconds: seconds }
        } else {
            webhook.now = timestamp + distance;
            VerifyError::TooOld { age_seconds: seconds }
        };
        prop_assert_eq!(webhook.verify(), Err(expected));
    }

    #[test]
    fn every_key_of_a_rotation_verifies_the_same_header(
        secrets in vec(secrets(), 1..5),
        id in ids(),
        timestamp in timestamps(),
        body in bodies(),
    ) {
        let keys: Vec<SigningKey> = secrets.iter().map(Secret::signing_key).collect();
        let signature = sign_all(&keys, &id, timestamp, &body);
        prop_assert_eq!(signature.split(' ').count(), keys.len());
        let last_symmetric = keys.iter().rfind(|key| matches!(key, SigningKey::Symmetric(_)));
        if let Some(key) = last_symmetric {
            let entry = key.sign(&id, timestamp, &body).to_header_entry();
            prop_assert!(signature.ends_with(&entry));
        }
        for key in keys {
            let received = Received {
                key: key.verifying_key(),
                id: id.clone(),
                timestamp: timestamp.to_string(),
                signature: format!("v9,unknown {signature}"),
                body: body.clone(),
                now: timestamp,
            };
            prop_assert_eq!(received.verify(), Ok(()));
        }
    }

    #[test]
    fn arbitrary_headers_never_panic_nor_verify(
        mut webhook in webhooks(),
        id in any::<String>(),
        timestamp in any::<String>(),
        signature in any::<String>(),
        now in any::<i64>(),
    ) {
        webhook.now = now;
        webhook.signature = signature;
        prop_assert!(webhook.verify().is_err());
        webhook.id = id;
        webhook.timestamp = timestamp;
        prop_assert!(webhook.verify().is_err());
    }

    #[test]
    fn nearly_right_signature_headers_never_panic_nor_verify(
        mut webhook in webhooks(),
        header in "((v1|v1a|v2|)[, ]{0,2}[A-Za-z0-9+/=]{0,90}[, ]{0,2}){0,40}",
    ) {
        webhook.signature = header;
        prop_assert!(webhook.verify().is_err());
    }

    #[test]
    fn parsing_secrets_never_panics(
        text in prop_oneof![
            any::<String>(),
            "(whsec_|whsk_|whpk_|)[A-Za-z0-9+/=_]{0,110}",
        ],
    ) {
        // Whatever is accepted is also what comes out again, in its canonical spelling.
        if let Ok(secret) = text.parse::<Secret>() {
            prop_assert_eq!(secret.to_secret_string().parse(), Ok(secret));
        }
        if let Ok(key) = text.parse::<Ed25519PublicKey>() {
            prop_assert_eq!(key.to_public_string().parse(), Ok(key));
        }
        let _ = text.parse::<VerifyingKey>();
    }

    #[test]
    fn secrets_round_trip(secret in secrets()) {
        let text = secret.to_secret_string();
        prop_assert_eq!(text.parse::<Secret>(), Ok(secret.clone()));
        let unpadded = text.trim_end_matches('=');
        prop_assert_eq!(unpadded.parse::<Secret>(), Ok(secret));
    }
}
