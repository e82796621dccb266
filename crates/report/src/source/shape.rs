//! Does a source file fit the coverage that is said to be of it?
//!
//! A name alone proves little: another file may have it, or the file was edited since the build.
//! Every unit must lie within the text: its lines exist, and in Go files, whose columns are bytes,
//! so do its columns.

use covtap_model::coverage::File;

/// Lengths of the lines of a text, in bytes without the line feed.
#[derive(Debug)]
pub(crate) struct Shape {
    lengths: Vec<usize>,
}

impl Shape {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut lengths: Vec<usize> = text.split(|&b| b == b'\n').map(<[u8]>::len).collect();
        // What follows the last line feed is a line only when there is something.
        if lengths.last() == Some(&0) {
            lengths.pop();
        }
        Self { lengths }
    }

    /// Whether every unit of `file` lies within the text, or the sentence that says what does not.
    pub(crate) fn fits(&self, file: &File) -> Result<(), String> {
        let lines = self.lengths.len();
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
        if !file.name.ends_with(".go") {
            return Ok(());
        }
        for unit in units() {
            for (line, column) in [
                (unit.start_line, unit.start_column),
                (unit.end_line, unit.end_column),
            ] {
                let length = (line as usize)
                    .checked_sub(1)
                    .and_then(|i| self.lengths.get(i))
                    .copied()
                    .unwrap_or(0);
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
    fn columns_of_other_languages_are_not_judged() {
        assert_eq!(fits(GO, "a.rs", [2, 90, 4, 90]), Ok(()));
    }
}
