//! The table of all settings, as docs/CONFIGURATION.md has it. A test compares the two.

use std::fmt::Write as _;

use super::{DEFAULT_FILE, DefaultValue, FILE_VARIABLE, GROUPS, Setting, Shown};

/// The whole document.
#[must_use]
pub fn document() -> String {
    let mut text = preface();
    for group in GROUPS {
        let _ = write!(
            text,
            "\n## {}\n\n| setting | default | values | meaning |\n|---|---|---|---|\n",
            group.title
        );
        for setting in group.settings {
            text.push_str(&row(setting));
        }
    }
    text
}

fn preface() -> String {
    format!(
        "\
<!-- Generated from crates/postrider/src/config: do not edit. To write it anew:
     POSTRIDER_UPDATE_DOCS=1 cargo test -p postrider --test configuration -->

# Configuration

Every setting has three names. `POSTRIDER_REQUEST_TIMEOUT` in the environment is `request_timeout` in the
settings file and `--request-timeout` on the command line. Where it is given more than once, the command line
wins over the environment, the environment over the file, and the file over the default. An environment variable
that is empty counts as not set. Settings that hold a secret have no flag, because every user of a machine
can read the command lines of its processes.

The settings file is TOML: one `key = value` a line, without sections. Its path is given by `--config` or
`{FILE_VARIABLE}`; without either it is `{DEFAULT_FILE}`, if that exists (`postrider dev` does not look there).

```toml
listen = \"0.0.0.0:8071\"
retry_schedule = [5, 300, 1800]
allow_nets = [\"10.20.0.0/16\"]
```

`postrider check` prints what is in force and where each value comes from, and tries every connection. A value that
cannot be used ends any command with one line on standard error and exit code 2.

Lengths of time are seconds, or have a unit (`90s`, `15m`, `2h 30m`, `30d`).
"
    )
}

fn row(setting: &Setting) -> String {
    let flag = setting
        .flag()
        .map_or(String::new(), |flag| format!("<br>`--{flag}`"));
    let code = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            format!("`{text}`")
        }
    };
    let default = match setting.default {
        DefaultValue::Text(text) => code(text),
        DefaultValue::PerMode { serve, dev } => format!("{}<br>`dev`: {}", code(serve), code(dev)),
        DefaultValue::AbsentInDev { serve, dev } => format!("{}<br>`dev`: {dev}", code(serve)),
        DefaultValue::Absent(meaning) => meaning.to_owned(),
    };
    let secret = if setting.shown == Shown::Nothing {
        " Never printed or logged."
    } else {
        ""
    };
    format!(
        "| `{}`{flag} | {default} | {} | {}{secret} |\n",
        setting.env(),
        setting.form.replace('|', "\\|"),
        setting.help.replace('|', "\\|"),
    )
}
