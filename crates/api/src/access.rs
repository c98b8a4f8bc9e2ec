//! Whether what a caller shows is still good: tokens can be revoked before they expire, keys be withdrawn.
//!
//! Both are documents, and every process asks for them: what it was told counts for half a second ([`crate::heard`]), so
//! that a revocation is effective everywhere within a second, and one caller costs a process few questions in that time,
//! whatever the caller does. Where nobody answers, nobody is let in (503): a revocation must not end because a store is away.
//!
//! | shown | is good while |
//! |---|---|
//! | a token | it verifies ([`crate::tokens`]), there is no document under its hash nor under the key that it was made with, and its application has not had all tokens of its time expired |
//! | a key | there is a document under its hash, and the one that this names |

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use postrider_core::name::DocumentName;
use postrider_core::ports::{DocumentKind, Expect, NewDocument, Owner, Place, PortError};
use postrider_core::{ApiKeyId, AppId, OrgId, Timestamp};
use sha2::{Digest, Sha256};

use crate::api_key;
use crate::change::{Miss, repeat};
use crate::error::ApiError;
use crate::expired::Expired;
use crate::state::{Shared, State};
use crate::tokens::{Principal, Proof};
use crate::wire::auth::MAX_PORTAL_EXPIRY;

/// For how long after a key was revoked another process may have made tokens with it, clocks and all.
const STILL_MADE: Duration = Duration::from_secs(3_600);

/// A caller who may be let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// May look, and change nothing.
    pub(crate) read_only: bool,
    /// For a key, which one.
    pub(crate) key: Option<Shown>,
    /// For a token, what it takes to revoke it.
    pub(crate) token: Option<TokenEnd>,
}

/// The key that a caller shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) id: ApiKeyId,
    /// When it ends by itself, where it does.
    pub(crate) ends: Option<Timestamp>,
}

/// Names a token, and says when it ends by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenEnd {
    pub(crate) hash: [u8; 32],
    pub(crate) expires: Timestamp,
}

pub(crate) fn hash(shown: &str) -> [u8; 32] {
    Sha256::digest(shown).into()
}

pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn revocations(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::Revocation,
    }
}

pub(crate) fn name(text: &str) -> Result<DocumentName, PortError> {
    DocumentName::new(text).map_err(|error| PortError::Invalid(error.to_string()))
}

pub(crate) fn unreadable(error: &serde_json::Error) -> PortError {
    PortError::Corrupt {
        part: "documents",
        cause: error.to_string(),
    }
}

/// Whom `shown` speaks for.
pub(crate) async fn check(state: &Shared, shown: &str) -> Result<Caller, ApiError> {
    if api_key::is_one(shown) {
        return check_key(state, shown).await;
    }
    let now = state.now();
    let proof = state.tokens.check(shown, now);
    let proof = proof.ok_or(ApiError::Unauthenticated)?;
    let ask = || {
        let state = Arc::clone(state);
        async move { end_of(&state, &proof).await }
    };
    let ended = state.heard.tokens.about(proof.hash, ask).await?;
    if ended.is_some_and(|ended| ended <= now) {
        return Err(ApiError::Unauthenticated);
    }
    Ok(Caller {
        principal: proof.principal,
        read_only: proof.read_only,
        key: None,
        token: Some(TokenEnd {
            hash: proof.hash,
            expires: proof.expires,
        }),
    })
}

/// From when on a token is good no more. One question, whatever it takes to know.
async fn end_of(state: &State, proof: &Proof) -> Result<Option<Timestamp>, PortError> {
    let place = revocations(proof.principal.org());
    let mut names = vec![name(&hex(&proof.hash))?];
    if let Some(key) = proof.made_with {
        names.push(name(&key.to_string())?);
    }
    let revoked = names.len();
    if let Principal::Consumer { app, .. } = proof.principal {
        names.push(name(&app.to_string())?);
    }
    let documents = &state.ports.documents;
    let found = documents.get_some(state.now(), place, &names).await?;
    let mut end: Option<Timestamp> = None;
    for document in found {
        if names[..revoked].contains(&document.name) {
            return Ok(Some(Timestamp::EPOCH));
        }
        let all: Expired =
            serde_json::from_str(&document.body).map_err(|error| unreadable(&error))?;
        end = all.end_of(proof.issued_at);
    }
    Ok(end)
}

async fn check_key(state: &Shared, shown: &str) -> Result<Caller, ApiError> {
    if !api_key::is_well_formed(shown) {
        return Err(ApiError::Unauthenticated);
    }
    let hash = hash(shown);
    let ask = || {
        let state = Arc::clone(state);
        async move { api_key::find(&state, &hash).await }
    };
    let key = state.heard.keys.about(hash, ask).await?;
    let now = state.now();
    let key = key.filter(|key| key.expires_at.is_none_or(|end| end > now));
    let key = key.ok_or(ApiError::Unauthenticated)?;
    Ok(Caller {
        principal: match key.app {
            Some(app) => Principal::Consumer { org: key.org, app },
            None => Principal::Operator { org: key.org },
        },
        read_only: key.read_only,
        key: Some(Shown {
            id: key.id,
            ends: key.expires_at,
        }),
        token: None,
    })
}

/// Revokes one token. It is remembered for as long as the token would live.
pub(crate) async fn revoke(
    state: &State,
    principal: Principal,
    token: TokenEnd,
) -> Result<(), ApiError> {
    let document = NewDocument {
        name: name(&hex(&token.hash))?,
        until: Some(token.expires),
        body: String::new(),
    };
    let place = revocations(principal.org());
    let documents = &state.ports.documents;
    documents
        .put(state.now(), place, document, Expect::Anything)
        .await?;
    state.heard.tokens.forget(&token.hash);
    Ok(())
}

/// Revokes all tokens that were made with a key. It is remembered for as long as the longest of them may live.
pub(crate) async fn revoke_made_with(
    state: &State,
    org: OrgId,
    key: ApiKeyId,
) -> Result<(), ApiError> {
    let now = state.now();
    let document = NewDocument {
        name: name(&key.to_string())?,
        until: Some(now + MAX_PORTAL_EXPIRY + STILL_MADE),
        body: String::new(),
    };
    let documents = &state.ports.documents;
    documents
        .put(now, revocations(org), document, Expect::Anything)
        .await?;
    state.heard.tokens.forget_all();
    Ok(())
}

/// Revokes all tokens of an application that were made before now, from `from` on. They may live for ever, and so does
/// this.
pub(crate) async fn expire_all(
    state: &State,
    org: OrgId,
    app: AppId,
    from: Timestamp,
) -> Result<(), ApiError> {
    let (documents, place) = (&state.ports.documents, revocations(org));
    let name = name(&app.to_string())?;
    repeat(async || {
        let now = state.now();
        let found = documents.get(now, place, &name).await?;
        let expect = found
            .as_ref()
            .map_or(Expect::Nothing, |found| Expect::Version(found.version));
        let mut all: Expired = match &found {
            Some(found) => serde_json::from_str(&found.body).map_err(|error| unreadable(&error))?,
            None => Expired::default(),
        };
        all.add(now, from);
        let document = NewDocument {
            name: name.clone(),
            until: None,
            body: serde_json::to_string(&all).map_err(|error| unreadable(&error))?,
        };
        let put = documents.put(now, place, document, expect).await?;
        put.map(drop).ok_or(Miss::Again)
    })
    .await?;
    state.heard.tokens.forget_all();
    Ok(())
}
