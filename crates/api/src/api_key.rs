//! Keys with which programs call: long random texts. What is kept is their hash, so that nobody who reads the store can use
//! them; whoever makes one is shown it once.
//!
//! A key is two documents: itself, under its organisation, and which key has this hash, under the installation, because
//! a key does not tell whose it is. Both have to be there. The second is written first and removed last; one without the
//! other opens nothing.

use postrider_core::page::{Cursor, Page, Slice};
use postrider_core::ports::{DocumentKind, Expect, NewDocument, Owner, Place, PortError};
use postrider_core::{ApiKeyId, AppId, OrgId, Timestamp, base62};
use serde::{Deserialize, Serialize};

use crate::access::{self, hash, hex, name, unreadable};
use crate::error::ApiError;
use crate::state::State;

/// What keys begin with; tokens never do.
const PREFIX: &str = "prk_";
/// Characters that are random, and those that are made of them.
const RANDOM: usize = 2 * base62::ENCODED_LEN;
const CHECKED: usize = 6;
/// Characters by which people tell their keys apart.
const SHOWN: usize = 12;

const BY_HASH: Place = Place {
    owner: Owner::Installation,
    kind: DocumentKind::ApiKeyHash,
};

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiKey {
    pub(crate) id: ApiKeyId,
    pub(crate) org: OrgId,
    /// What it is confined to; without, it is an operator's.
    pub(crate) app: Option<AppId>,
    pub(crate) name: String,
    /// How it begins.
    pub(crate) prefix: String,
    /// SHA-256, in hexadecimal.
    hash: String,
    pub(crate) read_only: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewApiKey {
    pub(crate) app: Option<AppId>,
    pub(crate) name: String,
    pub(crate) read_only: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Which key has a hash.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    org: OrgId,
    key: ApiKeyId,
}

pub(crate) fn is_one(shown: &str) -> bool {
    shown.starts_with(PREFIX)
}

/// Whether a key could have been made here: nobody is asked after what was made up without care.
pub(crate) fn is_well_formed(shown: &str) -> bool {
    let at = PREFIX.len() + RANDOM;
    shown.len() == at + CHECKED
        && shown
            .split_at_checked(at)
            .is_some_and(|(key, end)| end == checksum(key))
}

fn checksum(key: &str) -> String {
    let hash = hash(key);
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 20], &[]));
    let digits = base62::encode(first);
    String::from_utf8_lossy(&digits[digits.len() - CHECKED..]).into_owned()
}

fn keys_of(org: OrgId) -> Place {
    Place {
        owner: Owner::Org(org),
        kind: DocumentKind::ApiKey,
    }
}

/// 320 random bits, of which 47 are shown later, and a checksum.
fn generate() -> String {
    let half = || base62::encode(&rand::random());
    let text = [half(), half()].concat();
    let key = format!("{PREFIX}{}", String::from_utf8_lossy(&text));
    let end = checksum(&key);
    key + &end
}

/// Makes a key. The text is the key, which nobody is told again.
pub(crate) async fn create(
    state: &State,
    org: OrgId,
    wanted: NewApiKey,
) -> Result<(ApiKey, String), ApiError> {
    let now = state.now();
    let text = generate();
    let key = ApiKey {
        id: ApiKeyId::new(now, rand::random()),
        org,
        app: wanted.app,
        name: wanted.name,
        prefix: text.chars().take(SHOWN).collect(),
        hash: hex(&hash(&text)),
        read_only: wanted.read_only,
        created_at: now,
        expires_at: wanted.expires_at,
    };
    let named = Named { org, key: key.id };
    put(state, BY_HASH, &key.hash, &named, key.expires_at).await?;
    let id = key.id.to_string();
    put(state, keys_of(org), &id, &key, key.expires_at).await?;
    Ok((key, text))
}

async fn put<T: Serialize>(
    state: &State,
    place: Place,
    text: &str,
    record: &T,
    until: Option<Timestamp>,
) -> Result<(), PortError> {
    let document = NewDocument {
        name: name(text)?,
        until,
        body: serde_json::to_string(record).map_err(|error| unreadable(&error))?,
    };
    let documents = &state.ports.documents;
    documents
        .put(state.now(), place, document, Expect::Nothing)
        .await?;
    Ok(())
}

/// The key of this hash.
pub(crate) async fn find(state: &State, hash: &[u8; 32]) -> Result<Option<ApiKey>, PortError> {
    let (documents, hash) = (&state.ports.documents, hex(hash));
    let found = documents.get(state.now(), BY_HASH, &name(&hash)?).await?;
    let Some(found) = found else { return Ok(None) };
    let named: Named = serde_json::from_str(&found.body).map_err(|error| unreadable(&error))?;
    let key = get(state, named.org, named.key).await?;
    Ok(key.filter(|key| key.hash == hash))
}

pub(crate) async fn get(
    state: &State,
    org: OrgId,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, PortError> {
    let (documents, name) = (&state.ports.documents, name(&id.to_string())?);
    let found = documents.get(state.now(), keys_of(org), &name).await?;
    found
        .map(|document| serde_json::from_str(&document.body).map_err(|error| unreadable(&error)))
        .transpose()
}

pub(crate) async fn list(
    state: &State,
    org: OrgId,
    page: &Page<ApiKeyId>,
) -> Result<Slice<ApiKey>, PortError> {
    let page = Page {
        cursor: match &page.cursor {
            Cursor::Start => Cursor::Start,
            Cursor::After(id) => Cursor::After(name(&id.to_string())?),
            Cursor::Before(id) => Cursor::Before(name(&id.to_string())?),
        },
        limit: page.limit,
        order: page.order,
    };
    let documents = &state.ports.documents;
    let found = documents.list(state.now(), keys_of(org), page).await?;
    let keys: Result<Vec<ApiKey>, serde_json::Error> = found
        .items
        .iter()
        .map(|document| serde_json::from_str(&document.body))
        .collect();
    Ok(Slice {
        items: keys.map_err(|error| unreadable(&error))?,
        more: found.more,
        stopped: None,
    })
}

/// `false` where there is none. What was made with it goes first: whoever is told that it failed tries again.
pub(crate) async fn revoke(state: &State, org: OrgId, id: ApiKeyId) -> Result<bool, ApiError> {
    let Some(key) = get(state, org, id).await? else {
        return Ok(false);
    };
    access::revoke_made_with(state, org, id).await?;
    let (documents, now) = (&state.ports.documents, state.now());
    let own = name(&id.to_string())?;
    let was_there = documents.delete(now, keys_of(org), &own).await?;
    documents.delete(now, BY_HASH, &name(&key.hash)?).await?;
    state.heard.keys.forget_all();
    Ok(was_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_made_here_is_told_without_asking() {
        let key = generate();
        assert!(is_one(&key) && is_well_formed(&key));
        let mut other = key.clone();
        other.replace_range(10..11, if &key[10..11] == "x" { "y" } else { "x" });
        let longer = format!("{key}0");
        for forged in [&other, &longer, &key[..key.len() - 1], "prk_", "prk_ü"] {
            assert!(!is_well_formed(forged), "{forged}");
        }
    }
}
