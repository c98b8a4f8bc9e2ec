//! Which URLs and addresses may be called at all.
//!
//! Subscribers choose the URLs, so every one is hostile until shown otherwise. The policy is asked twice: when
//! an endpoint is created or changed, and again for every address right before a connection is made, because
//! a name may point elsewhere by then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Characters that a URL may have.
pub const MAX_URL_LEN: usize = 2048;

/// Why a target is refused. The texts are shown to tenants, so none tells them about our network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("must be an absolute http or https URL")]
    NotAUrl,
    #[error("must have at most {MAX_URL_LEN} characters")]
    TooLong,
    #[error("must not contain whitespace, control characters or backslashes")]
    Characters,
    #[error("must use https")]
    HttpsRequired,
    #[error("must not contain a user name or password")]
    UserInfo,
    #[error("must not contain a fragment")]
    Fragment,
    #[error("address not allowed")]
    Address,
}

/// What may be called.
#[derive(Debug, Clone, Default)]
pub struct TargetPolicy {
    /// Refuse plain http.
    pub https_only: bool,
    /// Networks that are allowed although they are private or special.
    pub allow: Vec<IpNet>,
}

impl TargetPolicy {
    /// Checks everything about a URL that can be known without resolving its name.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check_url(&self, text: &str) -> Result<Url, TargetError> {
        if text.len() > MAX_URL_LEN {
            return Err(TargetError::TooLong);
        }
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(TargetError::Characters);
        }
        let url = Url::parse(text).map_err(|_| TargetError::NotAUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if self.https_only => return Err(TargetError::HttpsRequired),
            "http" => {}
            _ => return Err(TargetError::NotAUrl),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        self.check_literal(&url)?;
        Ok(url)
    }

    /// Checks the host of a parsed URL where it is an address; names are checked once they are resolved.
    ///
    /// # Errors
    /// Where the address is not allowed, or there is no host.
    pub fn check_literal(&self, url: &Url) -> Result<(), TargetError> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(TargetError::NotAUrl),
        }
    }

    /// Checks an address that is about to be dialled.
    ///
    /// # Errors
    /// Where it is private or special and no allowed network contains it.
    pub fn check_address(&self, address: IpAddr) -> Result<(), TargetError> {
        let excepted = self.allow.iter().any(|net| net.contains(&address));
        let public = match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        if excepted || public {
            Ok(())
        } else {
            Err(TargetError::Address)
        }
    }
}

/// IPv4 networks that are not the public internet: the special-purpose registry of IANA
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>), multicast and reserved space, and the
/// address under which a large cloud serves its virtual machines' metadata.
const DENIED_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6: only global unicast is public. Everything that embeds an IPv4 address (mapped, compatible, NAT64)
/// lies outside of it, or is listed here (6to4, Teredo).
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const DENIED_V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !DENIED_V4
        .iter()
        .any(|(net, bits)| Ipv4Net::new_assert(*net, *bits).contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |net: &(Ipv6Addr, u8)| Ipv6Net::new_assert(net.0, net.1).contains(&address);
    within(&GLOBAL_V6) && !DENIED_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open() -> TargetPolicy {
        TargetPolicy::default()
    }

    #[test]
    fn public_targets_pass() {
        for url in [
            "https://hooks.example.org/in?a=b",
            "http://8.8.8.8:8080/",
            "https://[2606:4700::1111]/x",
        ] {
            assert!(open().check_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        let cases = [
            ("", TargetError::NotAUrl),
            ("hooks.example.org", TargetError::NotAUrl),
            ("ftp://hooks.example.org", TargetError::NotAUrl),
            ("http:// hooks", TargetError::Characters),
            ("http://hooks\\@x", TargetError::Characters),
            ("http://a:b@hooks.example.org", TargetError::UserInfo),
            ("http://hooks.example.org/#top", TargetError::Fragment),
            ("http://127.0.0.1/", TargetError::Address),
            ("http://0x7f.1/", TargetError::Address),
            ("http://[::ffff:10.0.0.1]/", TargetError::Address),
            ("http://[fd00::1]/", TargetError::Address),
        ];
        for (url, error) in cases {
            assert_eq!(open().check_url(url), Err(error), "{url}");
        }
        let long = format!("http://hooks.example.org/{}", "a".repeat(MAX_URL_LEN));
        assert_eq!(open().check_url(&long), Err(TargetError::TooLong));
    }

    #[test]
    fn plain_http_can_be_refused_and_a_network_allowed() {
        let policy = TargetPolicy {
            https_only: true,
            allow: vec!["127.0.0.0/8".parse().unwrap()],
        };
        assert_eq!(
            policy.check_url("http://hooks.example.org"),
            Err(TargetError::HttpsRequired)
        );
        assert!(policy.check_url("https://127.0.0.1:9000/").is_ok());
        assert_eq!(
            policy.check_url("https://10.0.0.1/"),
            Err(TargetError::Address)
        );
    }

    proptest! {
        #[test]
        fn no_ipv6_form_of_a_denied_ipv4_address_passes(index in 0..DENIED_V4.len(), host: u32) {
            let (net, bits) = DENIED_V4[index];
            let mask = if bits == 32 { 0 } else { u32::MAX >> bits };
            let v4 = Ipv4Addr::from(u32::from(net) | host & mask);
            prop_assert!(open().check_address(v4.into()).is_err());
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let forms = [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
            ];
            for form in forms {
                prop_assert!(open().check_address(form.into()).is_err(), "{form}");
            }
        }

        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = open().check_url(&text);
        }
    }
}
