//! Endpoints made ready to be called: URL parsed, headers typed, signing keys set up. Done once per version of an
//! endpoint, not once per delivery.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use moka::sync::Cache;
use postrider_core::attempt::Failure;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;
use postrider_signature::SigningKey;

use crate::request_target::RequestTarget;

const CAPACITY: u64 = 100_000;

/// An endpoint as of one version.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Which version: the very snapshot it was made from.
    source: Arc<Endpoint>,
    pub(crate) to: Arc<RequestTarget>,
    /// The endpoint's own headers.
    pub(crate) headers: HeaderMap,
    keys: Vec<(SigningKey, Option<Timestamp>)>,
}

impl Prepared {
    fn new(source: &Arc<Endpoint>) -> Result<Self, Failure> {
        let to = RequestTarget::parse(&source.url)?;
        let keys = source.secrets.iter().map(|secret| {
            let key = secret.key.expose().parse::<SigningKey>();
            key.map(|key| (key, secret.expires_at))
        });
        let keys = keys
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::BadUrl(format!("signing key: {error}")))?;
        Ok(Self {
            source: Arc::clone(source),
            to: Arc::new(to),
            headers: headers(source)?,
            keys,
        })
    }

    /// The keys that sign at `now`, oldest first.
    pub(crate) fn live_keys(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> + Clone {
        let live = move |(_, expires_at): &&(SigningKey, Option<Timestamp>)| {
            expires_at.is_none_or(|end| end > now)
        };
        self.keys.iter().filter(live).map(|(key, _)| key)
    }
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(endpoint.headers.len());
    for (name, value) in &endpoint.headers {
        let bad = |_| Failure::BadUrl(format!("header {name} cannot be sent"));
        let parsed = HeaderName::try_from(name).map_err(|error| bad(error.into()))?;
        let mut value =
            HeaderValue::try_from(value.expose()).map_err(|error| bad(http::Error::from(error)))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

#[derive(Debug)]
pub(crate) struct PreparedEndpoints(Cache<EndpointId, Arc<Prepared>>);

impl Default for PreparedEndpoints {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl PreparedEndpoints {
    /// # Errors
    /// Where the endpoint's record cannot be called: its URL, a header or a key is malformed.
    pub(crate) fn get(&self, endpoint: &Arc<Endpoint>) -> Result<Arc<Prepared>, Failure> {
        let current = |prepared: &Arc<Prepared>| Arc::ptr_eq(&prepared.source, endpoint);
        if let Some(prepared) = self.0.get(&endpoint.id).filter(current) {
            return Ok(prepared);
        }
        let prepared = Arc::new(Prepared::new(endpoint)?);
        self.0.insert(endpoint.id, Arc::clone(&prepared));
        Ok(prepared)
    }
}
