//! What the API accepts.

use super::parse;
use super::setting::{ConfigError, DefaultValue, Entry, Setting, Shown};
use super::sources::Sources;

pub(super) static MAX_BODY: Setting = Setting {
    key: "max_body",
    placeholder: "BYTES",
    form: "a number of bytes, or of KiB or MiB, from 1KiB to 16MiB",
    default: DefaultValue::Text("1MiB"),
    shown: Shown::Whole,
    help: "The longest request body that the API reads; longer ones are answered with 413.",
};

pub(super) static PUBLIC_URL: Setting = Setting {
    key: "public_url",
    placeholder: "URL",
    form: "a URL like https://hooks.example.com, without a query",
    default: DefaultValue::Absent("`http://` and the address of `POSTRIDER_LISTEN`"),
    shown: Shown::Whole,
    help: "Where people reach this installation, for links into its console. The proxy in front of it has this address.",
};

pub(super) static AMQP_PUBLISH: Setting = Setting {
    key: "amqp_publish",
    placeholder: "true|false",
    form: "true or false",
    default: DefaultValue::Text("false"),
    shown: Shown::Whole,
    help: "Take messages from the exchange `postrider.publish`, too, which is declared then. Processes with the role of ingest do; the broker has to be RabbitMQ.",
};

#[derive(Debug, Clone)]
pub struct Ingest {
    /// Bytes.
    pub max_body: usize,
    /// Without a slash at its end.
    pub public_url: Option<String>,
    pub amqp_publish: Entry<bool>,
}

impl Ingest {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let size = |text: &str| parse::bytes_within(text, 1 << 10, 16 << 20);
        Ok(Self {
            max_body: sources.read(&MAX_BODY, size)?.value,
            public_url: sources
                .read_optional(&PUBLIC_URL, public_url)?
                .map(|entry| entry.value),
            amqp_publish: sources.read(&AMQP_PUBLISH, parse::boolean)?,
        })
    }
}

fn public_url(text: &str) -> Result<String, &'static str> {
    let url = url::Url::parse(text).map_err(|_| "is no URL")?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
        return Err("is not the address of a site");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
