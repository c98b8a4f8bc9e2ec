//! What counts as a secret, what the errors say, and that nothing leaks through `Debug`.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use postrider_signature::{
    Ed25519PublicKey, Ed25519Secret, Secret, SecretError, SigningKey, SymmetricSecret, VerifyingKey,
};

const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SEED: [u8; 32] = [9; 32];

#[test]
fn the_prefix_and_the_padding_are_optional() {
    let expected = SymmetricSecret::from_bytes([7; 32]);
    let text = expected.to_secret_string();
    let bare = text.strip_prefix("whsec_").unwrap();
    for spelling in [&text, bare, bare.trim_end_matches('=')] {
        assert_eq!(spelling.parse(), Ok(expected.clone()));
        assert_eq!(spelling.parse(), Ok(Secret::from(expected.clone())));
    }
}

#[test]
fn symmetric_secrets_have_24_to_75_bytes() {
    for bytes in [24, 32, 64, 65, 75] {
        let secret = SymmetricSecret::from_slice(&vec![1; bytes]).unwrap();
        assert_eq!(secret.to_secret_string().parse(), Ok(secret));
    }
    for bytes in [0, 23, 76] {
        let error = SymmetricSecret::from_slice(&vec![1; bytes]);
        assert_eq!(error, Err(SecretError::SymmetricLength { bytes }));
    }
    let empty = SecretError::SymmetricLength { bytes: 0 };
    assert_eq!("whsec_".parse::<Secret>(), Err(empty));
}

#[test]
fn base64_is_strict() {
    let bad = [
        format!("{SYMMETRIC}\n"),
        format!("\"{SYMMETRIC}\""),
        SYMMETRIC.replace('r', "-"),
        SYMMETRIC.replace('r', "="),
        // The last character carries bits that belong to no byte.
        "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd=".to_owned(),
    ];
    for text in bad {
        let error = text.parse::<SymmetricSecret>().unwrap_err();
        let expected = [SecretError::InvalidBase64, SecretError::UnknownPrefix];
        assert!(expected.contains(&error), "{text:?}: {error}");
    }
    let long = format!("whsec_{}", "A".repeat(101));
    let too_long = SecretError::TooLong { max_chars: 100 };
    assert_eq!(long.parse::<Secret>(), Err(too_long));
}

#[test]
fn ed25519_keys_come_as_seed_or_as_pair() {
    let secret = Ed25519Secret::from_seed(SEED);
    let text = secret.to_secret_string();
    assert_eq!(text.parse(), Ok(secret.clone()));
    let seed_alone = "whsk_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    assert_eq!(seed_alone.parse(), Ok(secret.clone()));
    assert_eq!(seed_alone.parse(), Ok(Secret::from(secret)));
}

#[test]
fn a_foreign_public_half_is_refused() {
    let text = Ed25519Secret::from_seed(SEED).to_secret_string();
    let other = Ed25519Secret::from_seed([8; 32]).to_secret_string();
    // Sixty-four characters in, both texts are inside the public half.
    let mixed = format!("{}{}", &text[..64], &other[64..]);
    let error = mixed.parse::<Ed25519Secret>();
    assert_eq!(error, Err(SecretError::MismatchedPublicHalf));
}

#[test]
fn unusable_public_keys_are_refused() {
    // The identity, a point of small order, and an encoding of no point at all.
    let identity = "whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let no_point = "whpk_AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for text in [identity, no_point] {
        let error = text.parse::<Ed25519PublicKey>();
        assert_eq!(error, Err(SecretError::InvalidPublicKey), "{text}");
    }
    let short = SecretError::PublicKeyLength { bytes: 3 };
    assert_eq!("whpk_AAAA".parse::<Ed25519PublicKey>(), Err(short));
    let short = SecretError::Ed25519Length { bytes: 3 };
    assert_eq!("whsk_AAAA".parse::<Ed25519Secret>(), Err(short));
}

#[test]
fn a_key_of_the_wrong_kind_is_named() {
    let private = Ed25519Secret::from_seed(SEED);
    let public = private.public_key().to_public_string();
    let wrong = |expected, found| SecretError::WrongKind { expected, found };
    assert_eq!(
        private.to_secret_string().parse::<VerifyingKey>().err(),
        Some(wrong("whpk_", "whsk_"))
    );
    assert_eq!(
        public.parse::<SigningKey>().err(),
        Some(wrong("whsec_", "whpk_"))
    );
    assert_eq!(
        SYMMETRIC.parse::<Ed25519Secret>(),
        Err(wrong("whsk_", "whsec_"))
    );
    assert_eq!(
        "sk_live_0123456789".parse::<Secret>(),
        Err(SecretError::UnknownPrefix)
    );
}

#[test]
fn debug_shows_no_secret() {
    let symmetric: Secret = SYMMETRIC.parse().unwrap();
    let asymmetric = Secret::from(Ed25519Secret::from_seed(SEED));
    let signature = symmetric.signing_key().sign("msg_1", 1, b"{}");
    let shown = format!(
        "{symmetric:?} {asymmetric:?} {:?} {:?} {:?} {signature:?}",
        symmetric.signing_key(),
        asymmetric.signing_key(),
        symmetric.verifying_key(),
    );
    assert_eq!(
        shown,
        "Symmetric(SymmetricSecret(..)) Ed25519(Ed25519Secret(..)) Symmetric(SymmetricKey(..)) \
         Ed25519(Ed25519Secret(..)) Symmetric(SymmetricKey(..)) Signature(v1, ..)"
    );
}
