//! Tokens: who may call.
//!
//! A token is a JSON Web Token (RFC 7519) signed with HMAC-SHA256 under one secret. An operator token names an
//! organisation in `sub`; a consumer token names an application in `sub` and its organisation in `org`. Whoever
//! knows the secret can make both without asking us, which is how tokens of other servers of this API go on
//! working.
//!
//! The algorithm is pinned: `HS256` is the only one that exists here, so there is no table for a forged header
//! to choose from. That is also why this is written on the `hmac` and `base64` crates that signing webhooks needs
//! anyway: a general library brings RSA and two more curves along, and picks its cryptography from a variable of
//! the whole process.
//!
//! Verified tokens are remembered by their hash until they expire; the secret is touched once per token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use moka::sync::Cache;
use postrider_core::{ApiKeyId, AppId, OrgId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use sha2::{Digest, Sha256};
use std::time::Duration;

use crate::config::JwtSecret;

/// Longer ones are refused unread.
const MAX_TOKEN_LEN: usize = 4096;
/// Tokens that are remembered.
const CACHE_CAPACITY: u64 = 20_000;
/// How far the clock of whoever made a token may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
const ISSUER: &str = "postrider";
const ALGORITHM: &str = "HS256";

/// Whom a valid token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// The operator: everything within the organisation.
    Operator { org: OrgId },
    /// A consumer: one application.
    Consumer { org: OrgId, app: AppId },
}

impl Principal {
    #[must_use]
    pub const fn org(&self) -> OrgId {
        match self {
            Self::Operator { org } | Self::Consumer { org, .. } => *org,
        }
    }

    /// What tells one principal from every other, as bytes.
    pub(crate) fn scope(&self) -> [u8; 41] {
        let mut bytes = [0; 41];
        bytes[1..21].copy_from_slice(self.org().as_bytes());
        if let Self::Consumer { app, .. } = self {
            bytes[0] = 1;
            bytes[21..].copy_from_slice(app.as_bytes());
        }
        bytes
    }
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    typ: Option<&'a str>,
    /// Extensions that a reader must understand; we understand none.
    #[serde(skip_serializing, default, deserialize_with = "present")]
    crit: bool,
}

/// For a field of which only matters that it is there, be it as `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Times are numbers of seconds and may have a fraction (RFC 7519, section 2).
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<Number>,
    exp: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    /// Tells tokens apart that are alike otherwise, so that each can be revoked alone.
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    jti: Option<String>,
    #[serde(
        rename = "readOnly",
        skip_serializing_if = "std::ops::Not::not",
        default
    )]
    read_only: bool,
    /// The API key that it was made with, and ends with. Named so that nobody else's claim is taken for it.
    #[serde(
        rename = "postriderKey",
        skip_serializing_if = "Option::is_none",
        default
    )]
    made_with: Option<ApiKeyId>,
}

/// A consumer's token that is handed out over the API.
#[derive(Debug, Clone, Copy)]
pub struct Portal {
    pub org: OrgId,
    pub app: AppId,
    pub read_only: bool,
    /// The key with which it was asked for, where it was one.
    pub made_with: Option<ApiKeyId>,
    /// Random.
    pub id: u128,
}

/// Makes a token for the operator `org`, valid from `now` on for `ttl`.
///
/// Client libraries take a token's last part for a region where it is a short word like `eu`; the last part of
/// these is always 43 characters long.
#[must_use]
pub fn mint_operator(secret: &JwtSecret, org: OrgId, now: Timestamp, ttl: Duration) -> String {
    mint(secret, org.to_string(), None, now, ttl)
}

/// Makes a token that is confined to the application `app` of `org`.
#[must_use]
pub fn mint_consumer(
    secret: &JwtSecret,
    org: OrgId,
    app: AppId,
    now: Timestamp,
    ttl: Duration,
) -> String {
    mint(secret, app.to_string(), Some(org), now, ttl)
}

/// Makes a token as [`mint_consumer`] does. It tells to the millisecond when it was made, so that it outlives a revocation of
/// all tokens that were made before it in the same second.
#[must_use]
pub fn mint_portal(secret: &JwtSecret, portal: &Portal, now: Timestamp, ttl: Duration) -> String {
    let claims = Claims {
        iat: Number::from_f64(now.as_millis() as f64 / 1000.0),
        jti: Some(format!("{:032x}", portal.id)),
        read_only: portal.read_only,
        made_with: portal.made_with,
        ..claims(portal.app.to_string(), Some(portal.org), now, ttl)
    };
    sign(secret, &claims)
}

fn mint(
    secret: &JwtSecret,
    sub: String,
    org: Option<OrgId>,
    now: Timestamp,
    ttl: Duration,
) -> String {
    sign(secret, &claims(sub, org, now, ttl))
}

fn claims(sub: String, org: Option<OrgId>, now: Timestamp, ttl: Duration) -> Claims {
    Claims {
        iat: Some(now.as_secs().into()),
        nbf: Some(now.as_secs().into()),
        exp: (now + ttl).as_secs().into(),
        iss: Some(ISSUER.to_owned()),
        sub,
        org,
        jti: None,
        read_only: false,
        made_with: None,
    }
}

fn sign(secret: &JwtSecret, claims: &Claims) -> String {
    let header = Header {
        alg: ALGORITHM,
        typ: Some("JWT"),
        crit: false,
    };
    let mut token = format!("{}.{}", encode(&header), encode(claims));
    let tag = mac(secret, token.as_bytes()).finalize().into_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

fn encode(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

fn mac(secret: &JwtSecret, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose())
        .expect("HMAC is defined for keys of every length");
    mac.update(signed);
    mac
}

/// What a token proved, and when it stops to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) principal: Principal,
    pub(crate) read_only: bool,
    pub(crate) made_with: Option<ApiKeyId>,
    /// The beginning of time where the token does not tell.
    pub(crate) issued_at: Timestamp,
    not_before: Timestamp,
    pub(crate) expires: Timestamp,
    /// Of the token.
    pub(crate) hash: [u8; 32],
}

impl Proof {
    fn holds(&self, now: Timestamp) -> bool {
        now < self.expires && now + SKEW >= self.not_before
    }
}

/// Checks tokens.
pub struct TokenVerifier {
    secret: JwtSecret,
    known: Cache<[u8; 32], Proof>,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenVerifier(..)")
    }
}

impl TokenVerifier {
    #[must_use]
    pub fn new(secret: JwtSecret) -> Self {
        Self {
            secret,
            known: Cache::new(CACHE_CAPACITY),
        }
    }

    /// Whom `token` speaks for at `now`; `None` where it is not valid. A suffix `|environment`, which some clients
    /// append, is ignored.
    #[must_use]
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Principal> {
        self.check(token, now).map(|proof| proof.principal)
    }

    /// What `token` proves at `now`, as far as that can be told from itself.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Option<Proof> {
        if token.len() > MAX_TOKEN_LEN {
            return None;
        }
        let token = token.split_once('|').map_or(token, |(token, _)| token);
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known.get(&hash) {
            return Some(known).filter(|known| known.holds(now));
        }
        let proof = read(&self.secret, token, hash).filter(|proof| proof.holds(now))?;
        self.known.insert(hash, proof);
        Some(proof)
    }
}

/// Checks the signature and reads the claims. Says nothing about the time.
fn read(secret: &JwtSecret, token: &str, hash: [u8; 32]) -> Option<Proof> {
    let (signed, tag) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    let header = object(header)?;
    let header: Header<'_> = serde_json::from_slice(&header).ok()?;
    if header.alg != ALGORITHM || header.crit {
        return None;
    }
    // Takes the same time wherever the tag differs.
    mac(secret, signed.as_bytes()).verify_slice(&tag).ok()?;
    let claims: Claims = serde_json::from_slice(&object(claims)?).ok()?;
    let known = |claim: &Option<Number>| claim.as_ref().map_or(Some(Timestamp::EPOCH), time);
    Some(Proof {
        principal: principal(&claims)?,
        read_only: claims.read_only,
        made_with: claims.made_with,
        issued_at: known(&claims.iat)?,
        not_before: known(&claims.nbf)?,
        expires: time(&claims.exp)?,
        hash,
    })
}

/// The text of a part, which has to be an object: a list would be read as the fields in their order.
fn object(part: &str) -> Option<Vec<u8>> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    text.trim_ascii_start().starts_with(b"{").then_some(text)
}

fn principal(claims: &Claims) -> Option<Principal> {
    if let Ok(app) = claims.sub.parse::<AppId>() {
        let org = claims.org?;
        return Some(Principal::Consumer { org, app });
    }
    let org = claims.sub.parse::<OrgId>().ok()?;
    Some(Principal::Operator { org })
}

fn time(seconds: &Number) -> Option<Timestamp> {
    let millis = seconds.as_f64()? * 1000.0;
    millis
        .is_finite()
        .then(|| Timestamp::from_millis(millis as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn secret() -> JwtSecret {
        JwtSecret::new("a secret of at least thirty-two bytes")
    }

    fn org() -> OrgId {
        OrgId::new(NOW, [1; 15])
    }

    fn app() -> AppId {
        AppId::new(NOW, [2; 15])
    }

    fn signed(header: &str, claims: &str) -> String {
        let body = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let tag = mac(&secret(), body.as_bytes()).finalize().into_bytes();
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    #[test]
    fn minted_tokens_verify_until_they_expire() {
        let verifier = TokenVerifier::new(secret());
        let operator = mint_operator(&secret(), org(), NOW, HOUR);
        let consumer = mint_consumer(&secret(), org(), app(), NOW, HOUR);
        for now in [NOW, NOW + HOUR - Duration::from_secs(1)] {
            assert_eq!(
                verifier.verify(&operator, now),
                Some(Principal::Operator { org: org() })
            );
            assert_eq!(
                verifier.verify(&consumer, now),
                Some(Principal::Consumer {
                    org: org(),
                    app: app()
                })
            );
        }
        assert_eq!(verifier.verify(&operator, NOW + HOUR), None, "remembered");
        assert_eq!(
            TokenVerifier::new(secret()).verify(&operator, NOW + HOUR),
            None
        );
        assert_eq!(
            verifier.verify(&operator, NOW - Duration::from_secs(120)),
            None,
            "not yet"
        );
    }

    #[test]
    fn a_portal_token_tells_who_when_and_how_far() {
        let verifier = TokenVerifier::new(secret());
        let now = NOW + Duration::from_millis(123);
        let mut portal = Portal {
            org: org(),
            app: app(),
            read_only: true,
            made_with: None,
            id: 7,
        };
        let token = mint_portal(&secret(), &portal, now, HOUR);
        let proof = verifier.check(&token, now).unwrap();
        let (org, app) = (org(), app());
        assert_eq!(proof.principal, Principal::Consumer { org, app });
        assert!(proof.read_only);
        assert_eq!(proof.issued_at, now, "to the millisecond");
        portal.id = 8;
        let other = mint_portal(&secret(), &portal, now, HOUR);
        assert_ne!(token, other, "tokens made at once are two");
        portal.read_only = false;
        let token = mint_portal(&secret(), &portal, now, HOUR);
        assert!(!verifier.check(&token, now).unwrap().read_only);
        portal.made_with = Some(ApiKeyId::new(now, [3; 15]));
        let token = mint_portal(&secret(), &portal, now, HOUR);
        let proof = verifier.check(&token, now).unwrap();
        assert_eq!(proof.made_with, portal.made_with);
    }

    #[test]
    fn the_environment_suffix_is_ignored() {
        let token = mint_operator(&secret(), org(), NOW, HOUR);
        let verifier = TokenVerifier::new(secret());
        assert!(verifier.verify(&format!("{token}|staging"), NOW).is_some());
    }

    /// The example of RFC 7515, appendix A.1: key, signing input and tag.
    #[test]
    fn the_tag_is_that_of_the_standard() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let key = JwtSecret::new(URL_SAFE_NO_PAD.decode(key).unwrap());
        let tag = mac(&key, input.as_bytes()).finalize().into_bytes();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(tag),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
    }

    #[test]
    fn a_token_of_the_same_shape_made_elsewhere_works() {
        let claims = format!(
            r#"{{"iat":1600000000.5,"nbf":1600000000,"exp":1.9e9,"iss":"other-server","sub":"{}"}}"#,
            org()
        );
        let token = signed(r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#, &claims);
        assert_eq!(
            TokenVerifier::new(secret()).verify(&token, NOW),
            Some(Principal::Operator { org: org() })
        );
    }

    #[test]
    fn forgeries_and_nonsense_are_refused() {
        let verifier = TokenVerifier::new(secret());
        let claims = format!(r#"{{"exp":1900000000,"sub":"{}"}}"#, org());
        let good = signed(r#"{"alg":"HS256"}"#, &claims);
        assert!(verifier.verify(&good, NOW).is_some());
        let unsigned = format!("{}.", &good[..good.rfind('.').unwrap()]);
        let wrong_secret = mint_operator(&JwtSecret::new("another"), org(), NOW, HOUR);
        let no_org = format!(r#"{{"exp":1900000000,"sub":"{}"}}"#, app());
        for bad in [
            String::new(),
            "..".to_owned(),
            "a.b.c".to_owned(),
            unsigned,
            wrong_secret,
            signed(r#"{"alg":"none"}"#, &claims),
            signed(r#"{"alg":"HS512"}"#, &claims),
            signed(r#"{"alg":"HS256","crit":["exp"]}"#, &claims),
            signed(r#"{"alg":"HS256","crit":null}"#, &claims),
            signed(r#"["HS256",null]"#, &claims),
            signed(
                r#"{"alg":"HS256"}"#,
                &format!(r#"[null,null,1900000000,null,"{}",null]"#, org()),
            ),
            signed(r#"{"alg":"HS256"}"#, &no_org),
            signed(r#"{"alg":"HS256"}"#, r#"{"exp":1900000000,"sub":"me"}"#),
            signed(r#"{"alg":"HS256"}"#, &format!(r#"{{"sub":"{}"}}"#, org())),
            good.replace('.', ".."),
            format!("{good}{}", "a".repeat(MAX_TOKEN_LEN)),
        ] {
            assert_eq!(verifier.verify(&bad, NOW), None, "{bad}");
        }
    }

    #[test]
    fn principals_have_scopes_of_their_own() {
        let operator = Principal::Operator { org: org() };
        let consumer = Principal::Consumer {
            org: org(),
            app: app(),
        };
        assert_ne!(operator.scope(), consumer.scope());
    }

    #[test]
    fn the_secret_is_not_printed() {
        let text = format!("{:?}", crate::ApiConfig::new(JwtSecret::new("hush")));
        assert!(!text.contains("hush"), "{text}");
        assert!(!text.contains("104, 117"), "{text}");
    }
}
