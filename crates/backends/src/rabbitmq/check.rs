//! What is on a server, without changing it.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio::time::timeout;

use super::error::{is_different, is_not_found, told};
use super::greeting::{Greeting, greet};
use super::intake;
use super::link::{Link, count};
use super::nodes::Nodes;
use super::options::{Address, Options};
use super::topology::{FIRST_QUEUE, Queue, exchanges, queues};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a node may take to greet.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);

/// What [`RabbitMq::check`](super::RabbitMq::check) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `RabbitMQ 3.10.8`, as the server calls itself.
    pub server: String,
    /// The node that was asked, without credentials: `amqp://mq-1.example:5672`.
    pub node: String,
    /// Which of the other nodes that are named do not answer, and why.
    pub away: Vec<String>,
    /// Which of them say that they belong to another cluster: what is published there, nobody here finds.
    pub strangers: Vec<String>,
    /// Nothing was ever declared here: that is done by the first process that starts.
    pub is_new: bool,
    /// Exchanges and queues that do not exist: declared by the next process that starts. Empty where all is new.
    pub missing: Vec<String>,
    /// What exists in another shape, in the server's words. Nothing can be published while there is any.
    pub different: Vec<String>,
}

pub(super) async fn is_new(nodes: &Nodes, options: &Options) -> Result<bool, String> {
    let link = nodes.open("check", options).await?;
    let found = timeout(PATIENCE, exists(&link)).await;
    link.close(super::CLOSE_TIMEOUT).await;
    match found {
        Ok(found) => Ok(!found?),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

pub(super) async fn check(nodes: &Nodes, options: &Options) -> Result<Report, String> {
    let (link, greetings) = tokio::join!(nodes.open("check", options), greet_all(nodes));
    let link = link?;
    let begun = begin(&link, greetings)?;
    let compared = timeout(PATIENCE, compare(&link, begun, options.takes_in)).await;
    link.close(super::CLOSE_TIMEOUT).await;
    compared.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

type Greeted<'a> = (&'a Address, Result<Greeting, String>);

async fn greet_all(nodes: &Nodes) -> Vec<Greeted<'_>> {
    let greeted = nodes
        .iter()
        .map(async |node| (node, greet(node, GREETING_PATIENCE).await));
    join_all(greeted).await
}

/// What the nodes say about themselves.
fn begin(link: &Link, greetings: Vec<Greeted<'_>>) -> Result<Report, String> {
    let node = link.address.node();
    let (reached, others): (Vec<_>, Vec<_>) = greetings
        .into_iter()
        .partition(|(address, _)| address.node() == node);
    let reached = reached.into_iter().map(|(_, greeting)| greeting).next();
    let Greeting { server, cluster } =
        reached.unwrap_or_else(|| Err("it was not greeted".to_owned()))?;
    let mut report = Report {
        server,
        node,
        away: Vec::new(),
        strangers: Vec::new(),
        is_new: false,
        missing: Vec::new(),
        different: Vec::new(),
    };
    for (address, greeting) in others {
        match greeting {
            Ok(greeting) if greeting.cluster == cluster => {}
            Ok(_) => report.strangers.push(address.node()),
            Err(cause) => report.away.push(format!("{}: {cause}", address.node())),
        }
    }
    Ok(report)
}

async fn exists(link: &Link) -> Result<bool, String> {
    let channel = open(link).await?;
    match count(&channel, FIRST_QUEUE).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(told(&error)),
    }
}

async fn open(link: &Link) -> Result<Channel, String> {
    link.channel().await.map_err(|error| told(&error))
}

async fn compare(link: &Link, mut report: Report, takes_in: bool) -> Result<Report, String> {
    report.is_new = !exists(link).await?;
    if report.is_new {
        return Ok(report);
    }
    let mut channel = open(link).await?;
    for thing in things(takes_in) {
        match thing.verdict(&channel).await? {
            Verdict::Same => continue,
            Verdict::Missing => report.missing.push(thing.name().to_owned()),
            Verdict::Different(cause) => report.different.push(cause),
        }
        // The server has closed it with its answer.
        channel = open(link).await?;
    }
    Ok(report)
}

/// Something that is declared.
enum Thing {
    Exchange(String, ExchangeKind),
    Queue(Queue),
}

enum Verdict {
    Same,
    Missing,
    Different(String),
}

fn things(takes_in: bool) -> impl Iterator<Item = Thing> {
    let (mut exchanges, mut queues) = (exchanges(), queues());
    if takes_in {
        exchanges.extend(intake::exchanges());
        queues.extend(intake::queues());
    }
    let exchanges = exchanges.into_iter();
    let exchanges = exchanges.map(|(name, kind)| Thing::Exchange(name, kind));
    exchanges.chain(queues.into_iter().map(Thing::Queue))
}

impl Thing {
    fn name(&self) -> &str {
        match self {
            Self::Exchange(name, _) => name,
            Self::Queue(queue) => &queue.name,
        }
    }

    /// First whether it exists: a question that changes nothing, and does not compare. Then, where it does, a declaration:
    /// it compares, and changes nothing then.
    async fn verdict(&self, channel: &Channel) -> Result<Verdict, String> {
        for passive in [true, false] {
            match self.declare(channel, passive).await {
                Ok(()) => {}
                Err(error) if is_not_found(&error) => return Ok(Verdict::Missing),
                Err(error) if is_different(&error) => return Ok(Verdict::Different(told(&error))),
                Err(error) => return Err(told(&error)),
            }
        }
        Ok(Verdict::Same)
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> lapin::Result<()> {
        match self {
            Self::Exchange(name, kind) => {
                let options = ExchangeDeclareOptions {
                    passive,
                    durable: true,
                    ..ExchangeDeclareOptions::default()
                };
                let name = name.as_str().into();
                channel
                    .exchange_declare(name, kind.clone(), options, FieldTable::default())
                    .await
            }
            Self::Queue(queue) => {
                let options = QueueDeclareOptions {
                    passive,
                    durable: true,
                    ..QueueDeclareOptions::default()
                };
                let name = queue.name.as_str().into();
                let declared = channel.queue_declare(name, options, queue.arguments.clone());
                declared.await.map(|_| ())
            }
        }
    }
}
