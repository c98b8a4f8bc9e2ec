//! How RabbitMQ is reached and how much is taken from it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};

/// How RabbitMQ is spoken to. The defaults are for production.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names this process in RabbitMQ's list of connections: `postrider <name> publish` and `… consume`.
    pub name: String,
    pub prefetch: Prefetch,
    /// Whether this installation has queues that backends publish to: `check` looks for them then.
    pub takes_in: bool,
    /// Bytes of payload that may wait for their confirm; whoever publishes more waits.
    pub max_waiting_bytes: usize,
    /// How long a confirm may take before a publish counts as unknown, and how long an item may wait for its turn before
    /// it counts as not published.
    pub confirm_timeout: Duration,
    /// How long connecting to a node may take, name resolution and TLS included.
    pub connect_timeout: Duration,
    /// A connection on which nothing was heard for twice as long is dead. Whole seconds.
    pub heartbeat: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "node".to_owned(),
            prefetch: Prefetch::default(),
            takes_in: false,
            max_waiting_bytes: 64 * 1024 * 1024,
            confirm_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// How many packs of one queue this process holds at once, leased or fetched ahead of a lease. Quarantine has 1.
#[derive(Debug, Clone, Copy)]
pub struct Prefetch {
    /// Each of the 8 shards of new events.
    pub events: u16,
    /// Each of the 8 shards of work that comes again.
    pub retry: u16,
    /// Each of the 4 queues of new events with large payloads. One pack is one event there, of up to the largest payload
    /// accepted, so this bounds memory, while few packs let a queue yield nothing for as long as they are being settled.
    pub large: u16,
    /// Each of the 4 queues of large payloads that come again.
    pub large_retry: u16,
    /// Dead letters to be filed.
    pub dead: u16,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self {
            events: 512,
            retry: 128,
            large: 48,
            large_retry: 16,
            dead: 64,
        }
    }
}

/// The client keeps room for 64 frames of each connection, all of it touched: with the usual 128 KiB that is 8 MiB, most of what
/// an idle worker takes. Larger messages go in several frames.
const FRAME_MAX: u32 = 32 * 1024;

/// A text that does not name a RabbitMQ server, or the nodes of one cluster. Never repeats it: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    #[error(
        "this is not the address of a RabbitMQ server: {0}; it has the form amqp://user:password@host:port/vhost, or \
         amqps:// for TLS, with the special characters of user, password and vhost percent-encoded; between several nodes \
         of one cluster stands a comma"
    )]
    Malformed(&'static str),
    #[error(
        "its nodes are not named with one and the same virtual host, and an installation lives in one: end all of the URLs \
         with the same /vhost"
    )]
    VirtualHosts,
}

/// Where a server is. Prints without credentials.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) uri: AMQPUri,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (virtual host {})", self.node(), self.uri.vhost)
    }
}

impl Address {
    pub(super) fn parse(url: &str, options: &Options) -> Result<Self, UrlError> {
        let scheme = url.split("://").next().unwrap_or_default();
        if scheme != "amqp" && scheme != "amqps" {
            return Err(UrlError::Malformed(
                "it begins neither with amqp:// nor with amqps://",
            ));
        }
        let mut uri =
            AMQPUri::from_str(url).map_err(|_| UrlError::Malformed("it cannot be taken apart"))?;
        if let Some(host) = ipv6_host(url) {
            // The parser below knows names only, and would take an IPv6 address for localhost.
            uri.authority.host = host
                .ok_or(UrlError::Malformed(
                    "what is in brackets is no IPv6 address",
                ))?
                .to_string();
        }
        if uri.authority.host.is_empty() {
            return Err(UrlError::Malformed("it names no host"));
        }
        if uri.vhost.is_empty() {
            // By the letter of the format, a lone slash names the virtual host ""; nobody means that.
            "/".clone_into(&mut uri.vhost);
        }
        let seconds = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(seconds.max(1));
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self { uri })
    }

    /// Without the virtual host, which all nodes have in common.
    pub(super) fn node(&self) -> String {
        let AMQPUri {
            scheme, authority, ..
        } = &self.uri;
        format!("{scheme}://{}:{}", authority.host, authority.port)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }
}

/// The IPv6 address that a URL names, where it names one (`Some(None)`: it tries to).
fn ipv6_host(url: &str) -> Option<Option<Ipv6Addr>> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let inner = host.strip_prefix('[')?;
    Some(
        inner
            .split_once(']')
            .and_then(|(address, _)| address.parse().ok()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, UrlError> {
        Address::parse(url, &Options::default())
    }

    #[test]
    fn reads_every_part_and_decodes_it() {
        let address = parse("amqps://us%40er:p%2Fss@mq.example:5680/pay%2Fments").unwrap();
        let uri = &address.uri;
        assert!(address.is_tls());
        assert_eq!(uri.authority.userinfo.username, "us@er");
        assert_eq!(uri.authority.userinfo.password, "p/ss");
        assert_eq!(
            (uri.authority.host.as_str(), uri.authority.port),
            ("mq.example", 5680)
        );
        assert_eq!(uri.vhost, "pay/ments");
        assert_eq!(uri.query.heartbeat, Some(10));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        for url in [
            "amqp://mq.example",
            "amqp://mq.example/",
            "amqp://mq.example/%2f",
        ] {
            let uri = parse(url).unwrap().uri;
            assert_eq!(uri.vhost, "/", "{url}");
            assert_eq!(uri.authority.port, 5672);
        }
        assert_eq!(
            parse("amqps://mq.example").unwrap().uri.authority.port,
            5671
        );
        let query = |url| parse(url).unwrap().uri.query;
        assert_eq!(query("amqp://mq?heartbeat=3").heartbeat, Some(3));
        assert_eq!(query("amqp://mq").frame_max, Some(FRAME_MAX));
        assert_eq!(query("amqp://mq?frame_max=65536").frame_max, Some(65536));
    }

    #[test]
    fn addresses_are_hosts_too() {
        let host = |url| parse(url).unwrap().uri.authority.host;
        assert_eq!(host("amqp://10.0.0.1:5672"), "10.0.0.1");
        assert_eq!(host("amqp://a:b@[2001:db8::1]:5673/x"), "2001:db8::1");
        assert!(parse("amqp://[nonsense]").is_err());
    }

    #[test]
    fn neither_an_error_nor_the_address_shows_the_password() {
        for url in [
            "amqp:secret",
            "redis://u:secret@h",
            "amqp://u:secret@[x]/",
            "secret",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let address = parse("amqp://u:secret@h").unwrap();
        assert!(!format!("{address} {address:?}").contains("secret"));
    }
}
