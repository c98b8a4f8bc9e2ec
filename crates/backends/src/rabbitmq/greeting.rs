//! Which server this is. The client library does not tell what a server says about itself when it is greeted, so this greets
//! it once more, and reads the answer.

use std::io;
use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use lapin::AsyncTcpStream;
use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use super::error::told;
use super::link::addresses;
use super::options::Address;

const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
/// Far more than any server says.
const MAX_FRAME: u32 = 128 * 1024;

/// What a server says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Product and version.
    pub(super) server: String,
    /// The name that all nodes of a cluster have in common, where it tells one.
    pub(super) cluster: Option<String>,
}

pub(super) async fn greet(address: &Address, patience: Duration) -> Result<Greeting, String> {
    match timeout(patience, ask(address)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {patience:?}")),
    }
}

async fn ask(address: &Address) -> io::Result<Greeting> {
    let authority = &address.uri.authority;
    let runtime =
        lapin::runtime::default_runtime().map_err(|error| io::Error::other(told(&error)))?;
    let mut failure = io::Error::other("its name has no address");
    for to in addresses(&address.uri).await? {
        match AsyncTcpStream::connect(&runtime, to).await {
            Ok(stream) if address.is_tls() => {
                let config = lapin::tcp::TLSConfig::default();
                return converse(stream.into_tls(&authority.host, config).await?).await;
            }
            Ok(stream) => return converse(stream).await,
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Greeting> {
    stream.write_all(GREETING).await?;
    stream.flush().await?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    if head[0] != METHOD || length > MAX_FRAME {
        return Err(io::Error::other("it does not speak AMQP 0-9-1"));
    }
    let mut method = vec![0; length as usize];
    stream.read_exact(&mut method).await?;
    match parse_class(method.as_slice()) {
        Ok((_, AMQPClass::Connection(connection::AMQPMethod::Start(start)))) => {
            Ok(introduction(&start.server_properties))
        }
        _ => Err(io::Error::other("it does not speak AMQP 0-9-1")),
    }
}

fn introduction(properties: &FieldTable) -> Greeting {
    let text = |name| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let told = |name| text(name).unwrap_or_else(|| "?".to_owned());
    Greeting {
        server: format!("{} {}", told("product"), told("version")),
        cluster: text("cluster_name"),
    }
}
