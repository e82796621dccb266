//! Cobertura's XML (`coverage-04.dtd`): packages, a class for each file, methods, lines.
//!
//! * `filename` is the path in the repository, `source` is `.`: readers join the two.
//! * A line has the largest count of the units on it; `hits` of a method's line are its own.
//! * Branches and complexity are not measured: rates and counts of branches are 0, never 1, so
//!   that nobody reads "all branches covered".
//! * Rates have four decimals and are rounded down: `1` means everything. Without lines a rate is
//!   0: nothing was seen to be covered.
//! * `timestamp` is in milliseconds, as Cobertura itself writes it.

use std::io::{self, Write};

use covtap_model::coverage::{Coverage, File, Function, Line, Package};
use covtap_model::percent::Ratio;

use super::Options;
use crate::escape::xml;

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
"#;

/// What is not measured.
const NO_BRANCHES: &str = r#"branch-rate="0" complexity="0""#;

pub(super) fn write(coverage: &Coverage, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let packages: Vec<(&Package, Vec<FileLines<'_>>)> = coverage
        .packages
        .iter()
        .map(|p| (p, p.files.iter().map(FileLines::new).collect()))
        .collect();
    let total = sum(packages.iter().flat_map(|(_, files)| files));
    out.write_all(HEAD.as_bytes())?;
    writeln!(
        out,
        r#"<coverage line-rate="{}" branch-rate="0" lines-covered="{}" lines-valid="{}" branches-covered="0" branches-valid="0" complexity="0" version="{}" timestamp="{}">"#,
        rate(total),
        total.covered,
        total.total,
        xml(&coverage.generator),
        options.timestamp.unwrap_or(0).saturating_mul(1000),
    )?;
    writeln!(out, "<sources><source>.</source></sources>\n<packages>")?;
    for (package, files) in &packages {
        writeln!(
            out,
            r#"<package name="{}" line-rate="{}" {NO_BRANCHES}>"#,
            xml(&package.path),
            rate(sum(files.iter())),
        )?;
        writeln!(out, "<classes>")?;
        for file in files {
            write_class(file, out)?;
        }
        writeln!(out, "</classes>\n</package>")?;
    }
    writeln!(out, "</packages>\n</coverage>")
}

/// A file with its lines, which are needed for three sums before the file itself is written.
struct FileLines<'a> {
    file: &'a File,
    lines: Vec<Line>,
    ratio: Ratio,
}

impl<'a> FileLines<'a> {
    fn new(file: &'a File) -> Self {
        let (lines, ratio) = numbered(file);
        Self { file, lines, ratio }
    }
}

/// Lines that have a number, and how many of them ran.
fn numbered(file: &File) -> (Vec<Line>, Ratio) {
    let mut lines = file.lines();
    lines.retain(|l| l.number > 0);
    let mut ratio = Ratio::default();
    for line in &lines {
        ratio.add(1, line.count > 0);
    }
    (lines, ratio)
}

fn sum<'a>(files: impl Iterator<Item = &'a FileLines<'a>>) -> Ratio {
    files.fold(Ratio::default(), |mut sum, file| {
        sum += file.ratio;
        sum
    })
}

fn write_class(file: &FileLines<'_>, out: &mut dyn Write) -> io::Result<()> {
    let path = file.file.display_path();
    let base = path.rsplit_once('/').map_or(path, |(_, base)| base);
    writeln!(
        out,
        r#"<class name="{}" filename="{}" line-rate="{}" {NO_BRANCHES}>"#,
        xml(base),
        xml(path),
        rate(file.ratio),
    )?;
    writeln!(out, "<methods>")?;
    for function in &file.file.functions {
        if !function.literal && !function.units.is_empty() {
            write_method(function, out)?;
        }
    }
    writeln!(out, "</methods>")?;
    write_lines(&file.lines, out)?;
    writeln!(out, "</class>")
}

fn write_method(function: &Function, out: &mut dyn Write) -> io::Result<()> {
    let (lines, ratio) = numbered(&File {
        functions: vec![function.clone()],
        ..File::default()
    });
    writeln!(
        out,
        r#"<method name="{}" signature="" line-rate="{}" {NO_BRANCHES}>"#,
        xml(&function.name),
        rate(ratio),
    )?;
    write_lines(&lines, out)?;
    writeln!(out, "</method>")
}

fn write_lines(lines: &[Line], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<lines>")?;
    for line in lines {
        writeln!(
            out,
            r#"<line number="{}" hits="{}"/>"#,
            line.number, line.count
        )?;
    }
    writeln!(out, "</lines>")
}

/// Four decimals, rounded down, without trailing zeros.
fn rate(ratio: Ratio) -> String {
    if ratio.total == 0 || ratio.covered == 0 {
        return "0".into();
    }
    let parts = u128::from(ratio.covered) * 10_000 / u128::from(ratio.total);
    if parts >= 10_000 {
        return "1".into();
    }
    let text = format!("0.{parts:04}");
    match text.trim_end_matches('0') {
        "0." => "0".into(),
        short => short.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_down() {
        let of = |covered, total| rate(Ratio::new(covered, total));
        assert_eq!(of(2, 3), "0.6666");
        assert_eq!(of(1, 2), "0.5");
        assert_eq!(of(99_999, 100_000), "0.9999");
        assert_eq!(of(3, 3), "1");
        assert_eq!(of(0, 0), "0");
        assert_eq!(of(1, 1_000_000), "0");
    }
}
