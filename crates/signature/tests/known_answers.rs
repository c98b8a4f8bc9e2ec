//! Published answers of the specification's own libraries, for signing and for verifying.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its fixture should fail"
)]

use postrider_signature::{
    DEFAULT_TOLERANCE, Ed25519PublicKey, Secret, VerifyingKey, WebhookHeaders, sign_all, verify,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct KnownAnswer {
    secret: String,
    public_key: Option<String>,
    id: String,
    /// Seconds since the Unix epoch.
    timestamp: i64,
    body: String,
    signature: String,
}

fn known_answers() -> Vec<KnownAnswer> {
    serde_json::from_str(include_str!("fixtures/known_answers.json")).unwrap()
}

#[test]
fn signing_gives_the_known_answers() {
    let answers = known_answers();
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let key = answer.secret.parse::<Secret>().unwrap().signing_key();
        let signature = key.sign(&answer.id, answer.timestamp, answer.body.as_bytes());
        assert_eq!(
            signature.to_header_entry(),
            answer.signature,
            "{}",
            answer.id
        );
    }
}

#[test]
fn verifying_accepts_the_known_answers() {
    for answer in known_answers() {
        let key_text = answer.public_key.as_ref().unwrap_or(&answer.secret);
        let key: VerifyingKey = key_text.parse().unwrap();
        let headers = WebhookHeaders {
            id: &answer.id,
            timestamp: &answer.timestamp.to_string(),
            signature: &answer.signature,
        };
        let outcome = verify(
            [&key],
            &headers,
            answer.body.as_bytes(),
            answer.timestamp + 1,
            DEFAULT_TOLERANCE,
        );
        assert_eq!(outcome, Ok(()), "{}", answer.id);
    }
}

#[test]
fn secrets_survive_a_round_trip_through_text() {
    for answer in known_answers() {
        let secret: Secret = answer.secret.parse().unwrap();
        assert_eq!(*secret.to_secret_string(), answer.secret);
        let (Secret::Ed25519(private), Some(public)) = (secret, answer.public_key) else {
            continue;
        };
        assert_eq!(private.public_key().to_public_string(), public);
        assert_eq!(public.parse::<Ed25519PublicKey>(), Ok(private.public_key()));
    }
}

#[test]
fn the_header_of_several_keys_ends_with_the_current_symmetric_one() {
    let answers = known_answers();
    let [first, second, asymmetric] = answers.as_slice() else {
        panic!("three answers expected");
    };
    let keys = [first, second, asymmetric].map(|a| a.secret.parse::<Secret>().unwrap());
    let keys = keys.map(|secret| secret.signing_key());
    let value = sign_all(&keys, &first.id, first.timestamp, first.body.as_bytes());

    // The first and the third answer sign the same message; the ed25519 key is the newest.
    let entries: Vec<&str> = value.split(' ').collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0], asymmetric.signature);
    assert_eq!(entries[1], first.signature);
    assert!(entries[2].starts_with("v1,"));
    assert_eq!(value.trim(), value);
    assert_eq!(sign_all(&[], "msg_1", 0, b""), "");
}
