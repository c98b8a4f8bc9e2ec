//! Which client library calls, where versions of them want answers that no other version can read.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;

use crate::state::Shared;

/// How the libraries that speak this API begin their `user-agent`: `svix-libs/2.9.1/python`.
const AGENT: &str = "svix-libs/";

/// The major version of the client library, where the caller is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Library(Option<u32>);

impl Library {
    /// From version 2 on the answer to a rotation is read as JSON, whatever its status; some of version 1 (Java) fail
    /// where there is any to read.
    pub(crate) fn reads_rotated_key(self) -> bool {
        self.0.is_some_and(|major| major >= 2)
    }

    fn of(agent: &str) -> Self {
        let version = agent.strip_prefix(AGENT);
        let major = version.and_then(|version| version.split('.').next());
        Self(major.and_then(|major| major.parse().ok()))
    }
}

impl FromRequestParts<Shared> for Library {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Infallible> {
        let agent = parts.headers.get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Ok(Self::of(agent.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_version_2_on_libraries_read_the_rotated_key() {
        for (agent, reads) in [
            ("svix-libs/2.9.1/python", true),
            ("svix-libs/10.0.0/rust", true),
            ("svix-libs/1.99.1/java", false),
            ("svix-libs/x/go", false),
            ("svix-libs/", false),
            ("curl/8.0", false),
            ("", false),
        ] {
            assert_eq!(Library::of(agent).reads_rotated_key(), reads, "{agent}");
        }
    }
}
