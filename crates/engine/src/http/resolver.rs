//! Names to addresses, with the policy asked before anybody connects.
//!
//! **Any** denied address among the answers rejects the whole name: a subscriber who mixes public and private
//! addresses is up to something. The addresses that were checked are the ones that are dialled, because the client
//! gets nothing else to dial.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use postrider_core::target::TargetPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const TIMEOUT: Duration = Duration::from_secs(3);
/// More addresses than this are not looked at.
const MAX_ADDRESSES: usize = 16;

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
    policy: Arc<TargetPolicy>,
}

impl PolicyResolver {
    pub(super) fn new(policy: Arc<TargetPolicy>) -> Result<Self, ResolverError> {
        let mut builder = TokioResolver::builder_tokio().map_err(ResolverError)?;
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = 1;
        Ok(Self {
            resolver: builder.build().map_err(ResolverError)?,
            policy,
        })
    }

    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, NameFailure> {
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
        let addresses: Vec<_> = answer.iter().take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(NameFailure::Unresolved);
        }
        if addresses
            .iter()
            .any(|address| self.policy.check_address(*address).is_err())
        {
            return Err(NameFailure::NotAllowed);
        }
        // The client fills in the port.
        Ok(addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, 0))
            .collect())
    }
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
