//! What is logged, and how. Logs go to standard error.

use tracing_subscriber::EnvFilter;

use super::setting::{ConfigError, DefaultValue, Setting, Shown};
use super::sources::Sources;

pub(super) static LOG: Setting = Setting {
    key: "log",
    placeholder: "FILTER",
    form: "a level (error, warn, info, debug, trace), or target=level pairs like info,postrider_engine=debug",
    default: DefaultValue::PerMode {
        serve: "info",
        dev: "warn",
    },
    shown: Shown::Whole,
    help: "What is logged: a filter of the `tracing` library.",
};

pub(super) static LOG_FORMAT: Setting = Setting {
    key: "log_format",
    placeholder: "text|json",
    form: "text or json",
    default: DefaultValue::Text("text"),
    shown: Shown::Whole,
    help: "`text` for people (with colours on a terminal, unless NO_COLOR is set), `json` for machines: one object a line.",
};

#[derive(Debug, Clone)]
pub struct Logs {
    /// Known to parse.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Logs {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            filter: sources.read(&LOG, filter)?.value,
            format: sources.read(&LOG_FORMAT, format)?.value,
        })
    }
}

fn filter(text: &str) -> Result<String, &'static str> {
    // The library takes any word for a target, a misspelt level included.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| levels.contains(&word.to_ascii_lowercase().as_str());
    let plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    if text
        .split(',')
        .map(str::trim)
        .filter(plain)
        .any(|word| !is_level(word))
    {
        return Err("has a level that does not exist");
    }
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "is not a filter")
}

fn format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is no format"),
    }
}
