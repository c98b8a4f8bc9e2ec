//! Names to addresses, with the policy asked before anybody connects.
//!
//! **Any** denied address among the answers rejects the whole name: a subscriber who mixes public and private
//! addresses is up to something. The addresses that were checked are the ones that are dialled, because the client
//! gets nothing else to dial.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use postrider_core::target::TargetPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const TIMEOUT: Duration = Duration::from_secs(3);
/// More addresses than this are checked, but not dialled.
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
        vet(&self.policy, answer.iter())
    }
}

/// The addresses to be dialled, where all of the answer is allowed.
fn vet(
    policy: &TargetPolicy,
    answer: impl Iterator<Item = IpAddr>,
) -> Result<Vec<SocketAddr>, NameFailure> {
    let mut addresses = Vec::new();
    for address in answer {
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

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
    const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn vetted(answer: impl IntoIterator<Item = IpAddr>) -> Result<usize, NameFailure> {
        vet(&TargetPolicy::default(), answer.into_iter()).map(|addresses| addresses.len())
    }

    #[test]
    fn one_denied_address_rejects_all_of_them_wherever_it_stands() {
        assert_eq!(vetted([PRIVATE, PUBLIC]), Err(NameFailure::NotAllowed));
        assert_eq!(vetted([PUBLIC, PRIVATE]), Err(NameFailure::NotAllowed));
        let at_the_end = [PUBLIC; 500].into_iter().chain([PRIVATE]);
        assert_eq!(vetted(at_the_end), Err(NameFailure::NotAllowed));
    }

    #[test]
    fn an_answer_may_be_long_or_empty() {
        assert_eq!(vetted([PUBLIC; 500]), Ok(MAX_ADDRESSES));
        assert_eq!(vetted([]), Err(NameFailure::Unresolved));
    }
}
