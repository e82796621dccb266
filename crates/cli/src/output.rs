//! Where things are printed, and in which colours.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::args::Color;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const HEAD: Style = Style::new().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Decides for the whole program. Without a word from the user, NO_COLOR, CLICOLOR_FORCE and the
/// terminal decide.
pub(crate) fn set_color(color: Option<Color>) {
    match color {
        None | Some(Color::Auto) => ColorChoice::Auto,
        Some(Color::Always) => ColorChoice::Always,
        Some(Color::Never) => ColorChoice::Never,
    }
    .write_global();
}

/// Whether stdout shows colours.
pub(crate) fn stdout_has_color() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Whether stderr shows colours.
pub(crate) fn stderr_has_color() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Columns of the terminal that stdout is, if it is one.
pub(crate) fn stdout_width() -> Option<usize> {
    io::stdout().is_terminal().then(width).flatten()
}

/// Columns of the terminal that stderr is, if it is one.
pub(crate) fn stderr_width() -> Option<usize> {
    io::stderr().is_terminal().then(width).flatten()
}

fn width() -> Option<usize> {
    terminal_size::terminal_size().map(|(w, _)| usize::from(w.0))
}

/// Writes talk to stderr.
pub(crate) fn talk(text: &str) {
    // Whether a terminal that went away takes the text changes nothing about the run.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

pub(crate) fn error(text: &str) {
    talk(&format!("{BAD}error{BAD:#}: {text}"));
}

pub(crate) fn warning(text: &str) {
    talk(&format!("{CARE}warning{CARE:#}: {text}"));
}

pub(crate) fn note(text: &str) {
    talk(&format!("{FAINT}note: {text}{FAINT:#}"));
}

pub(crate) fn hint(text: &str) {
    talk(&format!("{HINT}hint{HINT:#}: {text}"));
}

/// Writes data to stdout.
pub(crate) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
