//! The coverage document itself, as JSON.
//!
//! Compact, and broken into lines so that a difference of two documents can be read: one line a
//! member of the document, a package, a file and a function.

use std::io::{self, Write};

use covtap_model::coverage::{Coverage, MAX_LINE, SCHEMA, Unit};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// No sound document covers more lines than this, counted once for every unit.
const MAX_LINES: u64 = 1 << 28;

pub(super) fn write(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(&mut *out, Lines::default());
    coverage.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

/// Starts a new line before members of the document and before elements of its outer arrays:
/// packages or problems (depth 2), files (4), functions (6).
#[derive(Default)]
struct Lines {
    depth: usize,
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        out.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        if matches!(self.depth, 2 | 4 | 6) {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.depth == 0 {
            out.write_all(b"\n")?;
        }
        out.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        if self.depth == 1 {
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Why a file is not a coverage document that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not the shape of a coverage document.
    #[error("not a coverage document")]
    Json(#[from] serde_json::Error),
    /// JSON, but of another format or of a version with other rules.
    #[error("schema is {found}, this version of covtap reads `{expected}`")]
    Schema {
        /// What the file says, in backquotes, or `missing`.
        found: String,
        /// What can be read.
        expected: &'static str,
    },
    /// A number that no compiler writes.
    #[error("file {file}: {what}")]
    Implausible {
        /// The name of the source file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads a coverage document. Members that this version does not know are ignored, and so is a
/// minor version (`covtap.coverage/1.3`); totals are computed anew from the units.
///
/// # Errors
/// [`ReadError`]: not JSON, not a coverage document, one of another major version, or one with
/// line numbers that no compiler writes.
pub fn read_json(bytes: &[u8]) -> Result<Coverage, ReadError> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        schema: Option<String>,
    }

    // The version first: a document of another version need not have the shape of this one.
    let head: Head = serde_json::from_slice(bytes)?;
    let same_major = |found: &str| {
        found == SCHEMA
            || found
                .strip_prefix(SCHEMA)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
    };
    match head.schema {
        Some(found) if same_major(&found) => {}
        found => {
            return Err(ReadError::Schema {
                found: found.map_or_else(
                    || "missing".into(),
                    |f| format!("`{}`", crate::escape::plain(&f)),
                ),
                expected: SCHEMA,
            });
        }
    }
    let mut coverage: Coverage = serde_json::from_slice(bytes)?;
    plausible(&coverage)?;
    coverage.schema = SCHEMA.into();
    coverage.finish();
    Ok(coverage)
}

/// Refuses numbers that would make the line tables grow without bound.
fn plausible(coverage: &Coverage) -> Result<(), ReadError> {
    let mut lines = 0;
    for file in coverage.files() {
        for unit in file.functions.iter().flat_map(|f| &f.units) {
            lines += span(unit);
            let what = if unit.end_line.max(unit.start_line) > MAX_LINE {
                format!(
                    "line {} is not plausible",
                    unit.end_line.max(unit.start_line)
                )
            } else if unit.end_line < unit.start_line {
                format!(
                    "a unit ends on line {}, before its start on line {}",
                    unit.end_line, unit.start_line
                )
            } else if lines > MAX_LINES {
                "units of more lines than are plausible".into()
            } else {
                continue;
            };
            return Err(ReadError::Implausible {
                file: crate::escape::plain(&file.name).into_owned(),
                what,
            });
        }
    }
    Ok(())
}

fn span(unit: &Unit) -> u64 {
    u64::from(unit.end_line.saturating_sub(unit.start_line)) + 1
}

#[cfg(test)]
mod tests {
    use super::super::shared_tests::sample;
    use super::super::{Format, Options};
    use super::*;

    fn text() -> String {
        String::from_utf8(Format::Json.to_bytes(&sample(), &Options::default())).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read_json(text().as_bytes()).unwrap(), sample());
    }

    #[test]
    fn a_line_for_each_file_and_function() {
        let text = text();
        for start in [
            "\"schema\":",
            "\"packages\":",
            "{\"path\":",
            "{\"name\":\"example.org",
        ] {
            assert!(
                text.lines().any(|l| l.starts_with(start)),
                "{start}\n{text}"
            );
        }
        assert!(text.starts_with("{\n") && text.ends_with("\n}\n"), "{text}");
        let put = text.lines().find(|l| l.contains("Cart.Put")).unwrap();
        assert!(
            put.starts_with("{\"name\":\"Cart.Put\",\"units\":[[9,27,11,16,2,3],"),
            "{put}"
        );
    }

    #[test]
    fn totals_are_not_believed() {
        let lie = text().replace("\"covered\":5", "\"covered\":9");
        assert_ne!(lie, text());
        assert_eq!(read_json(lie.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn other_versions_are_named() {
        let of = |schema: &str| read_json(text().replace(SCHEMA, schema).as_bytes());
        assert!(of("covtap.coverage/1.7").is_ok());
        for other in [
            "covtap.coverage/2",
            "covtap.coverage/12",
            "covtap.coverage/1.",
            "x",
        ] {
            let error = of(other).unwrap_err().to_string();
            assert!(error.contains(other) && error.contains(SCHEMA), "{error}");
        }
        assert_eq!(
            read_json(b"{}").unwrap_err().to_string(),
            "schema is missing, this version of covtap reads `covtap.coverage/1`"
        );
        assert!(matches!(read_json(b"mode: set"), Err(ReadError::Json(_))));
    }

    #[test]
    fn unknown_members_are_ignored() {
        let more = text().replacen("\"mode\":", "\"later\":[1,{}],\"mode\":", 1);
        assert_eq!(read_json(more.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn absurd_lines_are_refused() {
        for units in ["[[1,1,4294967295,1,1,1]]", "[[9,1,3,1,1,1]]"] {
            let bad = text().replace("[[9,27,11,16,2,3]", &units[..units.len() - 1]);
            assert_ne!(bad, text());
            assert!(
                matches!(
                    read_json(bad.as_bytes()),
                    Err(ReadError::Implausible { .. })
                ),
                "{units}"
            );
        }
    }
}
