//! What a setting is. Everything else about configuration (flags, environment, file, `check`, the table in the
//! documentation) is derived from values of [`Setting`], so that none of them can forget one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One setting, under its three names: `key` in the file, `POSTRIDER_KEY` in the environment, `--key` on the
/// command line.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    /// Stands for the value in the flag's help.
    pub placeholder: &'static str,
    /// What a value looks like, with its unit: completes "give …".
    pub form: &'static str,
    pub default: DefaultValue,
    pub shown: Shown,
    /// One or two sentences, for the documentation; the first is the flag's help.
    pub help: &'static str,
}

/// What holds where a setting is given nowhere.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// This text, read like any other value.
    Text(&'static str),
    /// `dev` is made for a developer's machine and differs.
    PerMode {
        serve: &'static str,
        dev: &'static str,
    },
    /// Nothing; the words say what that means.
    Absent(&'static str),
    /// In `dev` nothing, with what that means.
    AbsentInDev {
        serve: &'static str,
        dev: &'static str,
    },
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Whole,
    /// Without the password that a URL may carry.
    WithoutPassword,
    /// Not at all. Such a setting has no flag either: command lines are visible to every user of a machine.
    Nothing,
}

/// Which defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Serve,
    Dev,
}

impl Setting {
    #[must_use]
    pub fn env(&self) -> String {
        format!("POSTRIDER_{}", self.key.to_uppercase())
    }

    /// Without the dashes in front; `None` for a secret.
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        (self.shown != Shown::Nothing).then(|| self.key.replace('_', "-"))
    }

    #[must_use]
    pub fn default_text(&self, mode: Mode) -> Option<&'static str> {
        match (self.default, mode) {
            (DefaultValue::Text(text), _)
            | (DefaultValue::PerMode { serve: text, .. }, Mode::Serve)
            | (DefaultValue::PerMode { dev: text, .. }, Mode::Dev)
            | (DefaultValue::AbsentInDev { serve: text, .. }, Mode::Serve) => Some(text),
            (DefaultValue::Absent(_), _) | (DefaultValue::AbsentInDev { .. }, Mode::Dev) => None,
        }
    }

    /// `text` as far as it may be shown.
    #[must_use]
    pub fn show(&self, text: &str) -> String {
        match self.shown {
            Shown::Whole => text.to_owned(),
            Shown::WithoutPassword => without_password(text),
            Shown::Nothing => "(not shown)".to_owned(),
        }
    }
}

/// Of each URL, where there are several. Nothing is shown if one of them is none: a comma in a password would tear it apart,
/// and show half of it as a port.
fn without_password(text: &str) -> String {
    let harmless = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if harmless {
        return text.to_owned();
    }
    let urls: Option<Vec<_>> = text.split(',').map(url_without_password).collect();
    urls.map_or_else(|| "(not shown)".to_owned(), |urls| urls.join(","))
}

fn url_without_password(text: &str) -> Option<String> {
    let mut url = url::Url::parse(text.trim()).ok()?;
    if url.password().is_some() {
        url.set_password(Some("***")).ok()?;
    }
    // Passwords are given as query parameters, too.
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    Some(url.into())
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    File(Arc<Path>),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting as it was found: what error messages and `check` speak of. Holds no secret.
#[derive(Debug, Clone)]
pub struct Given {
    pub setting: &'static Setting,
    /// As far as it may be shown; `None` where there is no value.
    pub shown: Option<String>,
    pub origin: Origin,
}

/// Names the setting and where its value came from, as the subject of a sentence.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            shown,
            origin,
        } = self;
        f.write_str(&setting.env())?;
        let value = match (setting.shown, shown) {
            (Shown::Nothing, _) | (_, None) => String::new(),
            (_, Some(text)) => format!("{:?}", shorten(text)),
        };
        match origin {
            Origin::Flag => write!(f, " (--{} {value})", setting.key.replace('_', "-")),
            Origin::Environment if value.is_empty() => f.write_str(" (from the environment)"),
            Origin::Environment => write!(f, " ({value} in the environment)"),
            Origin::File(path) if value.is_empty() => write!(f, " (in {})", path.display()),
            Origin::File(path) => write!(f, " ({value} in {})", path.display()),
            Origin::Default if value.is_empty() => Ok(()),
            Origin::Default => write!(f, " (by default {value})"),
        }
    }
}

fn shorten(text: &str) -> String {
    const LIMIT: usize = 80;
    let mut short: String = text.chars().take(LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A value together with where it came from, for what can still go wrong with it later.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    pub value: T,
    pub given: Given,
}

impl<T> Entry<T> {
    /// Another value from the same place.
    #[must_use]
    pub fn with<U>(&self, value: U) -> Entry<U> {
        let given = self.given.clone();
        Entry { value, given }
    }
}

/// A value that cannot be used. One line: which setting, where it came from, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    #[must_use]
    pub fn new(line: impl fmt::Display) -> Self {
        Self(
            line.to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// `problem` is what the sentence goes on with, `remedy` is what to do.
    #[must_use]
    pub fn of(given: &Given, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(format_args!("{given} {problem}; {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let cases = [
            ("embedded", "embedded"),
            (
                "amqps://a:secret@mq.example.net:5671/v",
                "amqps://a:***@mq.example.net:5671/v",
            ),
            (
                "rediss://:secret@redis.example.net/0",
                "rediss://:***@redis.example.net/0",
            ),
            (
                "redis://redis.example.net/0?password=secret",
                "redis://redis.example.net/0?***",
            ),
            (
                "redis://:secret@a.example.net:7001,redis://:secret@b.example.net:7002",
                "redis://:***@a.example.net:7001,redis://:***@b.example.net:7002",
            ),
            (
                "amqp://u:secret@a/v, amqp://u:secret@b/v",
                "amqp://u:***@a/v,amqp://u:***@b/v",
            ),
            ("amqp://u:12,34@a.example.net/v", "(not shown)"),
            ("no url: secret", "(not shown)"),
        ];
        for (text, shown) in cases {
            assert_eq!(without_password(text), shown);
        }
    }
}
