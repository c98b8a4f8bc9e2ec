//! What signs the API's tokens.

use std::path::Path;

use postrider_core::secret::SecretText;

use super::setting::{ConfigError, DefaultValue, Setting, Shown};
use super::sources::Sources;
use crate::failure::plain;

/// Shorter secrets can be guessed from a single token: HS256 wants a key as long as its hash (RFC 7518, section 3.2).
const GOOD_LENGTH: usize = 32;

pub(super) static JWT_SECRET: Setting = Setting {
    key: "jwt_secret",
    placeholder: "SECRET",
    form: "at least 32 random bytes as text (`openssl rand -base64 32`)",
    default: DefaultValue::Absent(
        "`serve` needs one; `dev` makes one and keeps it in the data directory",
    ),
    shown: Shown::Nothing,
    help: "Signs the API's tokens (HS256 over the bytes of this text). Changing it invalidates all of them.",
};

pub(super) static JWT_SECRET_FILE: Setting = Setting {
    key: "jwt_secret_file",
    placeholder: "FILE",
    form: "a file that holds the secret",
    default: DefaultValue::Absent("not used"),
    shown: Shown::Whole,
    help: "A file with the secret, instead of the secret itself; white space around it does not count.",
};

#[derive(Debug, Clone)]
pub struct Access {
    pub secret: Option<SecretText>,
}

impl Access {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let secret = sources.read_optional(&JWT_SECRET, |text| not_empty(text.to_owned()))?;
        let file = sources.read_optional(&JWT_SECRET_FILE, |path| read_secret(Path::new(path)))?;
        match (secret, file) {
            (Some(secret), Some(file)) => {
                let problem = format_args!("is set beside {}", secret.given);
                Err(ConfigError::of(
                    &file.given,
                    problem,
                    "set only one of the two",
                ))
            }
            (secret, file) => Ok(Self {
                secret: secret.or(file).map(|entry| entry.value),
            }),
        }
    }

    /// # Errors
    /// Where there is none.
    pub fn require(&self) -> Result<SecretText, ConfigError> {
        self.secret.clone().ok_or_else(|| {
            ConfigError::new(
                "POSTRIDER_JWT_SECRET is not set and signs the API's tokens; put the output of `openssl rand -base64 32` \
                 into the environment under that name, or into a file and its path into POSTRIDER_JWT_SECRET_FILE",
            )
        })
    }

    /// Whether the secret is too short to withstand guessing.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.secret
            .as_ref()
            .is_some_and(|secret| secret.expose().len() < GOOD_LENGTH)
    }
}

/// Reads a secret from a file.
///
/// # Errors
/// Says what is wrong, without the file's name.
pub fn read_secret(path: &Path) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot be read ({})", plain(&error)))?;
    not_empty(text.trim().to_owned()).map_err(str::to_owned)
}

fn not_empty(text: String) -> Result<SecretText, &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else {
        Ok(SecretText::new(text))
    }
}
