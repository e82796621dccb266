//! What could not be read or believed: named, located, and with the next step.
//!
//! A reader never stops at the first bad byte and never drops anything in silence: it returns what
//! it got **and** a list of problems.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a problem costs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; no data are missing because of it.
    Note,
    /// Something was left out that carries no coverage of its own or that could not be used as it
    /// is (a duplicate, an orphan, an unfinished file).
    Warning,
    /// Coverage data were there and had to be left out.
    Error,
}

/// One thing that was wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// How much it costs.
    pub severity: Severity,
    /// The file (or directory) it was found in.
    pub file: PathBuf,
    /// Where in the file, in bytes from its start, when a place can be named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    /// What a sound file has there.
    pub expected: String,
    /// What was there instead.
    pub found: String,
    /// What covtap did about it: what was left out, what was still used.
    pub effect: String,
    /// The next step for a person, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem in `file`: `expected` something, `found` something else, with this `effect`.
    pub fn new(
        severity: Severity,
        file: impl AsRef<Path>,
        expected: impl Into<String>,
        found: impl Into<String>,
        effect: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            file: file.as_ref().to_path_buf(),
            offset: None,
            expected: expected.into(),
            found: found.into(),
            effect: effect.into(),
            hint: None,
        }
    }

    /// The same, at a byte offset.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same, with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One line: `FILE at byte N: expected E, found F; EFFECT (HINT)`.
///
/// File names come from outside: control characters in them are printed escaped.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file.to_string_lossy()))?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(
            f,
            ": expected {}, found {}; {}",
            self.expected, self.found, self.effect
        )?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// `text` with control and bidirectional formatting characters escaped, so that a hostile name can
/// neither move the cursor nor reorder a line.
#[must_use]
pub fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            )
    };
    if !text.contains(unsafe_char) {
        return text.into();
    }
    text.chars()
        .flat_map(|c| {
            if unsafe_char(c) {
                c.escape_unicode().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::{Problem, Severity, printable};

    #[test]
    fn one_line_says_everything() {
        let p = Problem::new(
            Severity::Error,
            "d/covmeta.x",
            "56 bytes",
            "12",
            "the file is left out",
        )
        .at(12)
        .hint("copy it again");
        assert_eq!(
            p.to_string(),
            "d/covmeta.x at byte 12: expected 56 bytes, found 12; the file is left out (copy it again)"
        );
    }

    #[test]
    fn hostile_names_are_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(
            printable("a\u{61c}b\u{2028}\u{2029}"),
            "a\\u{61c}b\\u{2028}\\u{2029}"
        );
        assert_eq!(printable("größe.go"), "größe.go");
    }

    #[test]
    fn severities_are_ordered() {
        assert!(Severity::Note < Severity::Warning && Severity::Warning < Severity::Error);
    }
}
