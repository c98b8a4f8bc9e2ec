//! Whether what a caller shows is still good: tokens can be revoked before they expire, keys be withdrawn.
//!
//! Both are documents, and every process asks for them: what it was told counts for [`TRUSTED`], so that a revocation is
//! effective everywhere within a second, and one caller costs a process two questions in that time, whatever the caller
//! does. Where nobody answers, nobody is let in (503): a revocation must not end because a store is away.
//!
//! | shown | is good while |
//! |---|---|
//! | a token | it verifies ([`crate::tokens`]), there is no document under its hash, and its application has not had all tokens of its time expired |
//! | a key | there is a document under its hash, and the one that this names |

use std::fmt::Write as _;
use std::time::Duration;

use moka::sync::Cache;
use postrider_core::name::DocumentName;
use postrider_core::ports::{DocumentKind, Expect, NewDocument, Owner, Place, PortError};
use postrider_core::{AppId, OrgId, Timestamp};
use sha2::{Digest, Sha256};

use crate::api_key::{self, ApiKey};
use crate::change::{Miss, repeat};
use crate::error::ApiError;
use crate::expired::Expired;
use crate::state::State;
use crate::tokens::{Principal, Proof};

/// For how long an answer counts.
const TRUSTED: Duration = Duration::from_millis(500);
/// Callers that are remembered.
const CAPACITY: u64 = 20_000;

/// A caller who may be let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// May look, and change nothing.
    pub(crate) read_only: bool,
    /// For a token, what it takes to revoke it.
    pub(crate) token: Option<TokenEnd>,
}

/// Names a token, and says when it ends by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenEnd {
    pub(crate) hash: [u8; 32],
    pub(crate) expires: Timestamp,
}

/// What was heard, by the hash of what was shown.
#[derive(Debug)]
pub(crate) struct Heard {
    /// From when on a token is good no more, where that is known.
    tokens: Cache<[u8; 32], Option<Timestamp>>,
    keys: Cache<[u8; 32], Option<ApiKey>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            tokens: short_lived(),
            keys: short_lived(),
        }
    }
}

fn short_lived<T: Clone + Send + Sync + 'static>() -> Cache<[u8; 32], T> {
    let builder = Cache::builder().max_capacity(CAPACITY);
    builder.time_to_live(TRUSTED).build()
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
pub(crate) async fn check(state: &State, shown: &str) -> Result<Caller, ApiError> {
    if api_key::is_one(shown) {
        return check_key(state, shown).await;
    }
    let now = state.now();
    let proof = state.tokens.check(shown, now);
    let proof = proof.ok_or(ApiError::Unauthenticated)?;
    let ended = match state.heard.tokens.get(&proof.hash) {
        Some(ended) => ended,
        None => {
            let ended = end_of(state, &proof, now).await?;
            state.heard.tokens.insert(proof.hash, ended);
            ended
        }
    };
    if ended.is_some_and(|ended| ended <= now) {
        return Err(ApiError::Unauthenticated);
    }
    Ok(Caller {
        principal: proof.principal,
        read_only: proof.read_only,
        token: Some(TokenEnd {
            hash: proof.hash,
            expires: proof.expires,
        }),
    })
}

/// From when on a token is good no more.
async fn end_of(
    state: &State,
    proof: &Proof,
    now: Timestamp,
) -> Result<Option<Timestamp>, PortError> {
    let documents = &state.ports.documents;
    let place = revocations(proof.principal.org());
    let own = name(&hex(&proof.hash))?;
    if documents.get(now, place, &own).await?.is_some() {
        return Ok(Some(Timestamp::EPOCH));
    }
    let Principal::Consumer { app, .. } = proof.principal else {
        return Ok(None);
    };
    let all = documents.get(now, place, &name(&app.to_string())?).await?;
    let Some(all) = all else { return Ok(None) };
    let all: Expired = serde_json::from_str(&all.body).map_err(|error| unreadable(&error))?;
    Ok(all.end_of(proof.issued_at))
}

async fn check_key(state: &State, shown: &str) -> Result<Caller, ApiError> {
    let hash = hash(shown);
    let key = match state.heard.keys.get(&hash) {
        Some(key) => key,
        None => {
            let key = api_key::find(state, &hash).await?;
            state.heard.keys.insert(hash, key.clone());
            key
        }
    };
    let now = state.now();
    let key = key.filter(|key| key.expires_at.is_none_or(|end| end > now));
    let key = key.ok_or(ApiError::Unauthenticated)?;
    Ok(Caller {
        principal: match key.app {
            Some(app) => Principal::Consumer { org: key.org, app },
            None => Principal::Operator { org: key.org },
        },
        read_only: key.read_only,
        token: None,
    })
}

impl Heard {
    /// This process need not wait until it has forgotten.
    pub(crate) fn forget_all_keys(&self) {
        self.keys.invalidate_all();
    }
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
    state.heard.tokens.invalidate(&token.hash);
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
        let expect = found.as_ref().map_or(Expect::Nothing, |found| Expect::Version(found.version));
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
    state.heard.tokens.invalidate_all();
    Ok(())
}
