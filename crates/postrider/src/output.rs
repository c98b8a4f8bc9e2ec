//! The one place that writes to standard output and standard error by hand (logs go through `tracing`). Styles are
//! removed where the stream is no terminal, or `NO_COLOR` is set. A reader that went away is nobody's error.

use std::fmt::Display;
use std::io::Write as _;

/// A line on standard output.
pub fn line(text: impl Display) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// What is under way, on standard error where that is a terminal: a line that takes the place of the one before.
pub fn progress(text: impl Display) {
    use std::io::IsTerminal as _;
    let mut stream = std::io::stderr();
    if stream.is_terminal() {
        let _ = write!(stream, "\r\x1b[2K{text}\r");
    }
}

/// A line on standard error that begins with `error:`.
pub fn error(text: impl Display) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {text}");
}

/// Whether styles would survive on standard output: a terminal that wants them.
#[must_use]
pub fn is_styled() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}
