//! The nodes of one cluster, of which any will do.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::seq::SliceRandom as _;
use tokio::time::sleep;

use super::link::Link;
use super::options::{Address, Options, UrlError};

/// How long a node may be silent before the next is tried beside it. A node that is frozen costs this much, and one that is
/// only slow is still waited for.
const STAGGER: Duration = Duration::from_secs(1);

/// Where an installation's RabbitMQ is. Never empty. Prints without credentials.
#[derive(Clone)]
pub(super) struct Nodes(Vec<Address>);

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Address::node).collect();
        let vhost = &self.0[0].uri.vhost;
        write!(f, "{} (virtual host {vhost})", names.join(","))
    }
}

impl Nodes {
    pub(super) fn parse(urls: &str, options: &Options) -> Result<Self, UrlError> {
        let nodes = urls
            .split(',')
            .map(|url| Address::parse(url.trim(), options));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let vhost = &nodes[0].uri.vhost;
        if nodes.iter().any(|node| node.uri.vhost != *vhost) {
            return Err(UrlError::VirtualHosts);
        }
        Ok(Self(nodes))
    }

    /// The same with frames as large as the server has them: what others publish comes with headers of up to that size, which
    /// are never split, and a larger frame than was agreed on ends the connection.
    pub(super) fn with_largest_frames(&self) -> Self {
        let mut nodes = self.clone();
        for address in &mut nodes.0 {
            address.uri.query.frame_max = None;
        }
        nodes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    /// A connection to any of them, tried in random order, so that the processes of a fleet spread over the cluster.
    ///
    /// # Errors
    /// Says for each node why there is no connection to it.
    pub(super) async fn open(&self, role: &str, options: &Options) -> Result<Link, String> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.shuffle(&mut rand::rng());
        let mut untried = order.into_iter();
        let mut tries = FuturesUnordered::new();
        let mut causes = vec![String::new(); self.0.len()];
        loop {
            let next = untried.next();
            let is_last = next.is_none();
            if let Some(number) = next {
                let address = &self.0[number];
                tries.push(async move { (number, Link::open(address, role, options).await) });
            }
            tokio::select! {
                tried = tries.next() => match tried {
                    Some((_, Ok(link))) => return Ok(link),
                    Some((number, Err(cause))) => causes[number] = cause,
                    None => return Err(self.told(causes)),
                },
                () = sleep(STAGGER), if !is_last => {}
            }
        }
    }

    /// In the order in which they are named, so that the same failure is told in the same words.
    fn told(&self, causes: Vec<String>) -> String {
        if causes.iter().all(|cause| *cause == causes[0]) {
            return causes.into_iter().next().unwrap_or_default();
        }
        let each = self.0.iter().zip(causes);
        let each: Vec<String> = each
            .map(|(node, cause)| format!("{}: {cause}", node.node()))
            .collect();
        each.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(urls: &str) -> Result<Nodes, UrlError> {
        Nodes::parse(urls, &Options::default())
    }

    #[test]
    fn several_nodes_are_told_without_their_passwords() {
        let nodes = parse("amqp://u:secret@a/v, amqps://u:secret@b:5680/v").unwrap();
        let shown = format!("{nodes} {nodes:?}");
        assert!(shown.starts_with("amqp://a:5672,amqps://b:5680 (virtual host v) "));
        assert!(!shown.contains("secret"));
    }

    #[test]
    fn all_nodes_have_one_virtual_host() {
        parse("amqp://a,amqp://b/,amqp://c/%2f").unwrap();
        let error = parse("amqp://u:secret@a/one,amqp://u:secret@b/two").unwrap_err();
        assert!(matches!(error, UrlError::VirtualHosts), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
        for wrong in [
            "amqp://a,",
            ",amqp://a",
            "amqp://a,,amqp://b",
            "amqp://u:sec,ret@a",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(matches!(error, UrlError::Malformed(_)), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_cause_that_all_share_is_told_once() {
        let nodes = parse("amqp://a,amqp://b").unwrap();
        let told = |causes: [&str; 2]| nodes.told(causes.map(str::to_owned).to_vec());
        assert_eq!(told(["refused", "refused"]), "refused");
        assert_eq!(
            told(["refused", "silent"]),
            "amqp://a:5672: refused; amqp://b:5672: silent"
        );
    }
}
