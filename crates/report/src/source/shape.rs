//! Does a source file fit the coverage that is said to be of it?
//!
//! A name alone proves little: another file may have it, or the file was edited since the build.
//! So the text must agree:
//!
//! * every unit lies within it: its lines exist, and in Go files, whose columns are bytes, so do
//!   its columns;
//! * where the build saw the body of a Go function begin, one begins. Up to Go 1.26 its first unit
//!   starts at the `{` (behind it when the body is empty), from Go 1.27 at its first statement.
//!   A line more or less above a function is thus seen. (Checked on 985 files of the standard
//!   library built with Go 1.26.8, a part of it with 1.27.3, and small programs of Go 1.21 to
//!   1.27: no unit breaks these rules. `//line` directives without column give column 0, which
//!   says nothing.)

use covtap_model::coverage::File;

/// The lines of a text, without line feeds.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    lines: Vec<&'a [u8]>,
}

impl<'a> Shape<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let mut lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
        // What follows the last line feed is a line only when there is something.
        if lines.last().is_some_and(|l| l.is_empty()) {
            lines.pop();
        }
        Self { lines }
    }

    /// A line by its number; empty when there is none.
    fn line(&self, number: u32) -> &'a [u8] {
        (number as usize)
            .checked_sub(1)
            .and_then(|at| self.lines.get(at))
            .copied()
            .unwrap_or_default()
    }

    /// Whether `file` can be the coverage of this text, or the sentence that says why not.
    pub(crate) fn fits(&self, file: &File) -> Result<(), String> {
        self.holds_lines(file)?;
        if file.name.ends_with(".go") {
            self.holds_columns(file)?;
            self.begins_functions(file)?;
        }
        Ok(())
    }

    fn holds_lines(&self, file: &File) -> Result<(), String> {
        let lines = self.lines.len();
        let units = || file.functions.iter().flat_map(|f| &f.units);
        // An end may stand at the start of the line after the last.
        let last = units()
            .map(|u| u.start_line.max(u.end_line.saturating_sub(1)) as usize)
            .max()
            .unwrap_or(0);
        if last > lines {
            let spoken = units()
                .map(|u| u.end_line.max(u.start_line))
                .max()
                .unwrap_or(0);
            return Err(format!(
                "source has {}, coverage speaks of line {spoken}",
                plural(lines, "line")
            ));
        }
        if units().any(|u| u.start_line == 0) {
            return Err("coverage speaks of line 0".into());
        }
        Ok(())
    }

    fn holds_columns(&self, file: &File) -> Result<(), String> {
        for unit in file.functions.iter().flat_map(|f| &f.units) {
            for (line, column) in [
                (unit.start_line, unit.start_column),
                (unit.end_line, unit.end_column),
            ] {
                let length = self.line(line).len();
                // Columns count from 1, and an end is behind its last character.
                if column as usize > length + 1 {
                    return Err(format!(
                        "line {line} of the source has {}, coverage speaks of column {column}",
                        plural(length, "byte")
                    ));
                }
            }
        }
        Ok(())
    }

    fn begins_functions(&self, file: &File) -> Result<(), String> {
        // Without names the functions are not known (a text profile has none).
        for function in file.functions.iter().filter(|f| !f.name.is_empty()) {
            let Some(first) = function.units.iter().min() else {
                continue;
            };
            let column = first.start_column as usize;
            if column > 0 && !begins_body(self.line(first.start_line), column - 1) {
                return Err(format!(
                    "no function begins at line {}, column {column} of the source, where the build saw one",
                    first.start_line
                ));
            }
        }
        Ok(())
    }
}

/// Whether the first unit of a function can start at byte `at` of `line`.
fn begins_body(line: &[u8], at: usize) -> bool {
    let (before, from) = line.split_at(at.min(line.len()));
    if from.first() == Some(&b'{') || before.last() == Some(&b'{') {
        return true;
    }
    if from.first().is_none_or(u8::is_ascii_whitespace) {
        return false;
    }
    let before = before.trim_ascii_end();
    before.is_empty() || before.ends_with(b"{") || before.ends_with(b"*/")
}

fn plural(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use covtap_model::coverage::{Function, Unit};

    use super::*;

    fn fits(text: &str, name: &str, [sl, sc, el, ec]: [u32; 4]) -> Result<(), String> {
        Shape::new(text.as_bytes()).fits(&File {
            name: name.into(),
            functions: vec![Function {
                name: "f".into(),
                units: vec![Unit {
                    start_line: sl,
                    start_column: sc,
                    end_line: el,
                    end_column: ec,
                    statements: 1,
                    count: 0,
                }],
                ..Function::default()
            }],
            ..File::default()
        })
    }

    const GO: &str = "package a\nfunc f() {\n\tg()\n}\n";

    #[test]
    fn a_real_unit_fits() {
        assert_eq!(fits(GO, "a.go", [2, 10, 4, 2]), Ok(()));
        assert_eq!(fits(GO, "a.go", [2, 10, 5, 1]), Ok(()));
        assert_eq!(
            fits("", "a.go", [1, 1, 1, 1]),
            Err("source has 0 lines, coverage speaks of line 1".into())
        );
    }

    #[test]
    fn lines_and_columns_must_be_there() {
        assert_eq!(
            fits(GO, "a.go", [2, 10, 9, 2]),
            Err("source has 4 lines, coverage speaks of line 9".into())
        );
        assert_eq!(
            fits(GO, "a.go", [5, 1, 5, 1]),
            Err("source has 4 lines, coverage speaks of line 5".into())
        );
        assert_eq!(
            fits(GO, "a.go", [2, 10, 4, 3]),
            Err("line 4 of the source has 1 byte, coverage speaks of column 3".into())
        );
        assert_eq!(
            fits(GO, "a.go", [0, 0, 4, 1]),
            Err("coverage speaks of line 0".into())
        );
    }

    #[test]
    fn functions_begin_where_the_build_saw_them() {
        // Go 1.27 starts at the first statement.
        assert_eq!(fits(GO, "a.go", [3, 2, 4, 1]), Ok(()));
        assert_eq!(
            fits(
                &GO.replace("package", "// new\npackage"),
                "a.go",
                [2, 10, 4, 2]
            ),
            Err(
                "no function begins at line 2, column 10 of the source, where the build saw one"
                    .into()
            )
        );
        for (line, at, begins) in [
            ("func f() {}", 9, true),
            ("func f() {}", 10, true),
            ("func f() { g() }", 11, true),
            ("func f() { /* c */ g() }", 19, true),
            ("func f() { g() }", 10, true),
            ("func f() { g() }", 12, false),
            ("\t", 1, false),
            ("\t\tx", 1, false),
            ("", 0, false),
            ("x", 9, false),
        ] {
            assert_eq!(begins_body(line.as_bytes(), at), begins, "{line} {at}");
        }
    }

    #[test]
    fn columns_of_other_languages_are_not_judged() {
        assert_eq!(fits(GO, "a.rs", [2, 90, 4, 90]), Ok(()));
    }
}
