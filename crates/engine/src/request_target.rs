//! Where a request goes to, taken apart once for each version of an endpoint instead of with each request.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use postrider_core::attempt::Failure;
use postrider_core::target::TargetError;
use url::{Position, Url};

/// A URL, and what a request to it consists of (RFC 9112, sections 3.2.1 and 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget {
    url: Url,
    /// Scheme, host and port: requests to the same one share connections.
    origin: Arc<str>,
    /// Path and query.
    uri: Uri,
    host: HeaderValue,
}

impl RequestTarget {
    /// # Errors
    /// [`Failure::BadUrl`] where no request can be made to it.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let bad = |error: &dyn std::error::Error| Failure::BadUrl(error.to_string());
        let url = Url::parse(url).map_err(|error| bad(&error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(&TargetError::NotAUrl));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(&TargetError::UserInfo));
        }
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let path = PathAndQuery::try_from(path).map_err(|error| bad(&error))?;
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let origin = format!("{}://{host}", url.scheme());
        // It is parsed again where a connection is made, and is to fail here.
        Uri::try_from(&origin).map_err(|error| bad(&error))?;
        Ok(Self {
            host: HeaderValue::try_from(host).map_err(|error| bad(&error))?,
            origin: origin.into(),
            uri: path.into(),
            url,
        })
    }

    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) const fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_taken_apart_as_a_request_needs_it() {
        let parts = |url: &str| {
            let target = RequestTarget::parse(url).unwrap();
            let host = target.host.to_str().unwrap().to_owned();
            (target.origin.to_string(), host, target.uri.to_string())
        };
        let expected = |origin: &str, host: &str, uri: &str| {
            (origin.to_owned(), host.to_owned(), uri.to_owned())
        };
        assert_eq!(
            parts("https://Example.com:443/a%20b?c=d&e#f"),
            expected("https://example.com", "example.com", "/a%20b?c=d&e")
        );
        assert_eq!(
            parts("http://[::1]:8080"),
            expected("http://[::1]:8080", "[::1]:8080", "/")
        );
        assert_eq!(
            parts("http://bücher.example/ä"),
            expected(
                "http://xn--bcher-kva.example",
                "xn--bcher-kva.example",
                "/%C3%A4"
            )
        );
    }

    #[test]
    fn what_no_request_can_be_made_to_is_a_bad_url() {
        for url in [
            "",
            "example.com/a",
            "ftp://example.com/",
            "data:,a",
            "http://",
            "http://user@example.com/",
            "http://:password@example.com/",
        ] {
            let refused = RequestTarget::parse(url);
            assert!(matches!(refused, Err(Failure::BadUrl(_))), "{url}");
        }
    }
}
