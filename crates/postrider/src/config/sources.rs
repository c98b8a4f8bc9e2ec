//! Where values come from: flags before the environment before the file before defaults.
//!
//! All of them are text until [`Sources::read`] parses the one that wins. That keeps the order of precedence, the
//! origin in error messages and the redaction in one place; a library that merges typed trees would have to be
//! asked for each of them (which is why `figment` is not used).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::setting::{ConfigError, Entry, Given, Mode, Origin, Setting};
use crate::failure::plain;

/// Read by every command but `dev`, if it is there.
pub const DEFAULT_FILE: &str = "/etc/postrider/postrider.toml";
/// Names another file.
pub const FILE_VARIABLE: &str = "POSTRIDER_CONFIG";

/// All that was given, and which defaults hold.
#[derive(Debug)]
pub struct Sources {
    mode: Mode,
    /// By key, as all of these.
    flags: BTreeMap<&'static str, String>,
    environment: BTreeMap<&'static str, String>,
    file: Option<File>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct File {
    path: Arc<Path>,
    values: BTreeMap<&'static str, String>,
}

/// What the command line gave.
#[derive(Debug, Clone, Default)]
pub struct FlagValues {
    pub file: Option<PathBuf>,
    pub values: BTreeMap<&'static str, String>,
}

impl Sources {
    /// Reads the file and picks the settings out of `environment`.
    ///
    /// # Errors
    /// Where the file cannot be read, is no TOML, or has a key that is no setting.
    pub fn collect(
        mode: Mode,
        flags: FlagValues,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        // An empty variable is an unset one: files of settings for systemd and Docker list them that way.
        let environment: BTreeMap<String, String> = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let file = match flags
            .file
            .or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from))
        {
            Some(named) => Some(File::read(&named)?),
            // On a machine that runs the service, `dev` must not come upon the service's data.
            None if mode == Mode::Serve && Path::new(DEFAULT_FILE).exists() => {
                Some(File::read(DEFAULT_FILE.as_ref())?)
            }
            None => None,
        };
        let found = super::settings()
            .filter_map(|setting| Some((setting.key, environment.get(&setting.env())?.clone())))
            .collect();
        Ok(Self {
            mode,
            flags: flags.values,
            environment: found,
            file,
            warnings: environment
                .keys()
                .filter_map(|name| misspelt(name))
                .collect(),
        })
    }

    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Variables that are probably meant to be settings and are none.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The value that wins, if there is one, and where it comes from.
    fn find(&self, setting: &'static Setting) -> (Option<&str>, Origin) {
        if let Some(text) = self.flags.get(setting.key) {
            return (Some(text), Origin::Flag);
        }
        if let Some(text) = self.environment.get(setting.key) {
            return (Some(text), Origin::Environment);
        }
        if let Some(file) = &self.file
            && let Some(text) = file.values.get(setting.key)
        {
            return (Some(text), Origin::File(Arc::clone(&file.path)));
        }
        (setting.default_text(self.mode), Origin::Default)
    }

    #[must_use]
    pub fn given(&self, setting: &'static Setting) -> Given {
        let (text, origin) = self.find(setting);
        Given {
            setting,
            shown: text.map(|text| setting.show(text)),
            origin,
        }
    }

    /// The value of a setting that always has one.
    ///
    /// # Errors
    /// Where `parse` refuses it: its error is the rest of a sentence that begins with the setting.
    pub fn read<T, E: Display>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Entry<T>, ConfigError> {
        match self.read_optional(setting, parse)? {
            Some(entry) => Ok(entry),
            None => Err(ConfigError::of(
                &self.given(setting),
                "is not set",
                format_args!("give {}", setting.form),
            )),
        }
    }

    /// The value of a setting that may have none.
    ///
    /// # Errors
    /// As for [`Sources::read`].
    pub fn read_optional<T, E: Display>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<Entry<T>>, ConfigError> {
        let (Some(text), _) = self.find(setting) else {
            return Ok(None);
        };
        let given = self.given(setting);
        match parse(text.trim()) {
            Ok(value) => Ok(Some(Entry { value, given })),
            Err(problem) => Err(ConfigError::of(
                &given,
                problem,
                format_args!("give {}", setting.form),
            )),
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let refuse = |problem: String| {
            ConfigError::new(format_args!(
                "the settings file {} {problem}",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(unreadable(&error)))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| {
                text[..span.start.min(text.len())].lines().count().max(1)
            });
            refuse(format!(
                "is no valid TOML: line {line}: {}",
                error.message()
            ))
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let Some(setting) = super::settings().find(|setting| setting.key == key) else {
                return Err(refuse(unknown_key(&key)));
            };
            let text = as_text(value).ok_or_else(|| {
                refuse(format!(
                    "gives `{key}` no plain value; give {}",
                    setting.form
                ))
            })?;
            values.insert(setting.key, text);
        }
        Ok(Self {
            path: path.into(),
            values,
        })
    }
}

fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run as a user who may read it, or name another one with --config"
        }
        _ => "name an existing one with --config or POSTRIDER_CONFIG",
    };
    format!("cannot be read ({}); {remedy}", plain(error))
}

/// As the value would be written in the environment.
fn as_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(values) => {
            let texts = values.iter().all(toml::Value::is_str);
            let parts: Option<Vec<String>> = values.into_iter().map(as_text).collect();
            let joined = parts?.join(",");
            Some(if texts { joined } else { format!("[{joined}]") })
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn unknown_key(key: &str) -> String {
    let near = super::settings()
        .map(|setting| setting.key)
        .min_by_key(|known| strsim::levenshtein(known, key));
    match near {
        Some(near) if strsim::levenshtein(near, key) <= 3 => {
            format!("has an unknown key {key:?}; did you mean `{near}`?")
        }
        _ => format!("has an unknown key {key:?}; see docs/CONFIGURATION.md for those there are"),
    }
}

/// Variables that begin like ours are common (a container runtime sets some of its own), so only what is nearly a
/// setting is worth a word.
fn misspelt(name: &str) -> Option<String> {
    if !name.starts_with("POSTRIDER") || name == FILE_VARIABLE {
        return None;
    }
    let names = || super::settings().map(Setting::env);
    if names().any(|known| known == name) {
        return None;
    }
    let near = names().find(|known| strsim::levenshtein(known, name) <= 2)?;
    Some(format!(
        "{name} is not a setting and has no effect; did you mean {near}?"
    ))
}
