//! Names to addresses, with the policy asked before anybody connects.
//!
//! **Any** denied address among the answers rejects the whole name: a subscriber who mixes public and private
//! addresses is up to something. The addresses that were checked are the ones that are dialled, because the client
//! gets nothing else to dial.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hyper_util::client::legacy::connect::dns::Name;
use postrider_core::target::TargetPolicy;
use tokio::time::Instant;
use tower::Service;

use super::answers::{Answers, MAX_TTL};

const TIMEOUT: Duration = Duration::from_secs(3);
/// More addresses than this are checked, but not dialled.
pub(super) const MAX_ADDRESSES: usize = 16;
/// Responses that the resolver itself keeps, which is for names that do not exist; others are in [`Answers`].
const RESPONSES: u64 = 1_024;
/// How long a name is held not to exist: the next attempt is 5 s away, and may find that it does.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(3);

/// Why names cannot be resolved at all.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ResolverError(NetError);

/// Why this name was not resolved. Found again in the client's error to tell the failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameFailure {
    #[error("address not allowed")]
    NotAllowed,
    #[error("the name could not be resolved")]
    Unresolved,
}

#[derive(Clone)]
pub(super) struct PolicyResolver {
    resolver: TokioResolver,
    answers: Answers,
    policy: Arc<TargetPolicy>,
}

impl PolicyResolver {
    /// Asks these name servers, or the system's where there are none.
    pub(super) fn new(
        policy: Arc<TargetPolicy>,
        nameservers: &[SocketAddr],
    ) -> Result<Self, ResolverError> {
        let mut builder = if nameservers.is_empty() {
            TokioResolver::builder_tokio().map_err(ResolverError)?
        } else {
            let servers = nameservers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        bound(builder.options_mut());
        Ok(Self {
            resolver: builder.build().map_err(ResolverError)?,
            answers: Answers::new(),
            policy,
        })
    }

    /// The policy is asked each time, about what was kept as about what was just answered.
    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, NameFailure> {
        if let Some(kept) = self.answers.get(name, Instant::now()) {
            return vet(&self.policy, &kept.addresses);
        }
        let (addresses, ttl) = self.look_up(name).await?;
        let vetted = vet(&self.policy, &addresses);
        self.answers.put(name, addresses, ttl, Instant::now());
        vetted
    }

    /// Both kinds of addresses, asked for at the same time; who asks for what is being asked for shares the answer.
    async fn look_up(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), NameFailure> {
        // A trailing dot keeps the system's search domains out of it; names in the hosts file have none.
        let fqdn = if name.contains('.') && !name.ends_with('.') {
            format!("{name}.")
        } else {
            name.to_owned()
        };
        let looked_up = tokio::time::timeout(TIMEOUT, self.resolver.lookup_ip(fqdn)).await;
        let answer = looked_up
            .ok()
            .and_then(Result::ok)
            .ok_or(NameFailure::Unresolved)?;
        let records = answer.as_lookup().answers().iter();
        let ttl = records.map(|record| record.ttl).min().unwrap_or_default();
        Ok((answer.iter().collect(), Duration::from_secs(ttl.into())))
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn bound(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.cache_size = RESPONSES;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
}

/// The addresses to be dialled, where all of the answer is allowed.
fn vet(policy: &TargetPolicy, answer: &[IpAddr]) -> Result<Vec<SocketAddr>, NameFailure> {
    let mut addresses = Vec::new();
    for &address in answer {
        if policy.check_address(address).is_err() {
            return Err(NameFailure::NotAllowed);
        }
        if addresses.len() < MAX_ADDRESSES {
            // The client fills in the port.
            addresses.push(SocketAddr::new(address, 0));
        }
    }
    if addresses.is_empty() {
        return Err(NameFailure::Unresolved);
    }
    Ok(addresses)
}

impl Service<Name> for PolicyResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameFailure;
    type Future = BoxFuture<'static, Result<Self::Response, NameFailure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.addresses(name.as_str()).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests;
