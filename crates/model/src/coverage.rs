//! The coverage document: `coverage.json`, from which every report is made.
//!
//! Packages hold files, files hold functions, functions hold units. Everything is sorted, so the
//! same data give the same bytes. Totals are computed from the units and never set by hand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counter::CounterMode;
use crate::percent::Ratio;
use crate::problem::Problem;

/// The value of `schema` in documents that this version writes.
pub const SCHEMA: &str = "covtap.coverage/1";

/// The largest line number that is believed. Lists of lines grow with the numbers in a file, so a
/// made-up one must not make them grow without a bound; no Go compiler counts further in one file.
pub const MAX_LINE: u32 = 1 << 22;

/// A whole coverage document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Name and version of the format: `covtap.coverage/1`.
    pub schema: String,
    /// The program that wrote it, with its version: `covtap 0.1.0`.
    pub generator: String,
    /// What the counts mean.
    pub mode: CounterMode,
    /// Sums over `packages`.
    pub totals: Totals,
    /// Sorted by path.
    pub packages: Vec<Package>,
    /// Source files that could not be found in the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<Unresolved>,
    /// Files left out of `packages` and of all totals, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
    /// Packages that came in several versions (different source): one is in `packages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skew: Vec<VersionSkew>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One package (Go's import path).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Import path, for example `example.org/shop/pkg/cart`.
    pub path: String,
    /// The name in the package clause, for example `cart`.
    pub name: String,
    /// Module path; empty when the build knew none.
    pub module: String,
    /// Sums over `files`.
    pub totals: Totals,
    /// Sorted by `name`.
    pub files: Vec<File>,
}

/// One source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// The name that the binary carries: import path and base name, or an absolute build path.
    pub name: String,
    /// Where it lies in the repository, relative to its root, with `/`; absent when it was not
    /// looked for or not found (then it is in [`Coverage::unresolved`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Sums over `functions`.
    pub totals: Totals,
    /// Sorted by the position of their first unit.
    pub functions: Vec<Function>,
}

impl File {
    /// The name to show: the repository path when it is known, else the binary's name.
    #[must_use]
    pub fn display_path(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.name)
    }

    /// Lines that carry statements, with the largest count of the units on each; sorted by line.
    ///
    /// A line is covered when any unit on it ran. Units without statements do not make a line.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut units: Vec<&Unit> = self
            .functions
            .iter()
            .flat_map(|f| &f.units)
            .filter(|u| u.statements > 0)
            .collect();
        units.sort_by_key(|u| (u.start_line, u.end_line));
        let mut lines: Vec<Line> = Vec::new();
        for unit in units {
            // `lines` is sorted; the unit's lines start somewhere near its end.
            let first = lines.partition_point(|l| l.number < unit.start_line);
            for (at, number) in (first..).zip(unit.start_line..=unit.last_line()) {
                match lines.get_mut(at) {
                    Some(line) if line.number == number => line.count = line.count.max(unit.count),
                    _ => lines.insert(
                        at,
                        Line {
                            number,
                            count: unit.count,
                        },
                    ),
                }
            }
        }
        lines
    }
}

/// A line of source that carries statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// 1-based.
    pub number: u32,
    /// The largest count of the units that touch it.
    pub count: u64,
}

/// One function, method or package-level function literal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// As the compiler names it: `New`, `(*Store).Put` or, in Go's coverage files, `Store.Put`.
    pub name: String,
    /// A function literal that belongs to no named function.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// Sorted by position.
    pub units: Vec<Unit>,
}

impl Function {
    /// Whether any unit ran.
    #[must_use]
    pub fn executed(&self) -> bool {
        self.units.iter().any(|u| u.count > 0)
    }

    /// Line of the first unit; 0 for a function without units.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.units.first().map_or(0, |u| u.start_line)
    }

    /// The count of the first unit: how often the function was entered.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.units.first().map_or(0, |u| u.count)
    }

    /// Statements covered of all.
    #[must_use]
    pub fn statements(&self) -> Ratio {
        let mut r = Ratio::default();
        for u in &self.units {
            r.add(u64::from(u.statements), u.count > 0);
        }
        r
    }
}

/// A run of statements that is executed as one. In JSON: an array of six numbers,
/// `[start line, start column, end line, end column, statements, count]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "[u64; 6]", into = "[u64; 6]")]
pub struct Unit {
    /// 1-based line of its first character.
    pub start_line: u32,
    /// 1-based column, in bytes.
    pub start_column: u32,
    /// Line of its end.
    pub end_line: u32,
    /// Column after its last character, in bytes.
    pub end_column: u32,
    /// Statements in it; the weight in every percentage.
    pub statements: u32,
    /// Executions, or 0 and 1 in mode `set`.
    pub count: u64,
}

impl Unit {
    /// The last line that has a character of the unit: a unit that ends at column 1 (or before)
    /// ends on the line above.
    #[must_use]
    pub fn last_line(&self) -> u32 {
        if self.end_column <= 1 && self.end_line > self.start_line {
            self.end_line - 1
        } else {
            self.end_line.max(self.start_line)
        }
    }
}

impl From<[u64; 6]> for Unit {
    fn from(v: [u64; 6]) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            start_line: narrow(v[0]),
            start_column: narrow(v[1]),
            end_line: narrow(v[2]),
            end_column: narrow(v[3]),
            statements: narrow(v[4]),
            count: v[5],
        }
    }
}

impl From<Unit> for [u64; 6] {
    fn from(u: Unit) -> Self {
        [
            u.start_line.into(),
            u.start_column.into(),
            u.end_line.into(),
            u.end_column.into(),
            u.statements.into(),
            u.count,
        ]
    }
}

impl JsonSchema for Unit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Unit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "[start line, start column, end line, end column, statements, count]",
            "type": "array",
            "items": { "type": "integer", "minimum": 0 },
            "minItems": 6,
            "maxItems": 6
        })
    }
}

/// Sums over a document, a package or a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Covered statements of all: the figure that covtap calls coverage.
    pub statements: Ratio,
    /// Lines with a covered statement, of all lines with statements.
    pub lines: Ratio,
    /// Executed functions of all (function literals are part of the function that holds them).
    pub functions: Ratio,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.statements += other.statements;
        self.lines += other.lines;
        self.functions += other.functions;
    }
}

/// A source file that was not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unresolved {
    /// The name that the binary carries.
    pub name: String,
    /// Why: where it was looked for, or what did not fit.
    pub reason: String,
}

/// A file that is not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// Repository path, or the binary's name.
    pub file: String,
    /// For example `glob **/*.pb.go` or `generated (line 1)`.
    pub reason: String,
    /// What it would have counted.
    pub statements: Ratio,
}

/// One package that came in several versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionSkew {
    /// Import path.
    pub package: String,
    /// Meta-data hash of the version that the report uses, in hexadecimal.
    pub used: String,
    /// Hashes of the others. Their counters are **not** in the report: the lines differ.
    pub others: Vec<String>,
}

impl Coverage {
    /// A document over `packages`: sorted, with totals.
    #[must_use]
    pub fn new(generator: impl Into<String>, mode: CounterMode, packages: Vec<Package>) -> Self {
        let mut document = Self {
            schema: SCHEMA.into(),
            generator: generator.into(),
            mode,
            totals: Totals::default(),
            packages,
            unresolved: Vec::new(),
            excluded: Vec::new(),
            skew: Vec::new(),
            problems: Vec::new(),
        };
        document.finish();
        document
    }

    /// Sorts everything and computes all totals. Call it after a change to the packages.
    pub fn finish(&mut self) {
        self.packages
            .sort_by(|a, b| (&a.path, &a.name, &a.module).cmp(&(&b.path, &b.name, &b.module)));
        self.totals = Totals::default();
        for package in &mut self.packages {
            package.files.sort_by(|a, b| a.name.cmp(&b.name));
            package.totals = Totals::default();
            for file in &mut package.files {
                file.finish();
                package.totals += file.totals;
            }
            self.totals += package.totals;
        }
        self.unresolved.sort_by(|a, b| a.name.cmp(&b.name));
        self.excluded.sort_by(|a, b| a.file.cmp(&b.file));
        self.skew.sort_by(|a, b| a.package.cmp(&b.package));
    }

    /// All files of all packages.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.packages.iter().flat_map(|p| &p.files)
    }
}

impl File {
    fn finish(&mut self) {
        for function in &mut self.functions {
            function.units.sort_unstable();
        }
        self.functions
            .sort_by(|a, b| (a.units.first(), &a.name).cmp(&(b.units.first(), &b.name)));
        let mut totals = Totals::default();
        for function in &self.functions {
            totals.statements += function.statements();
            if !function.literal && !function.units.is_empty() {
                totals.functions.add(1, function.executed());
            }
        }
        for line in self.lines() {
            totals.lines.add(1, line.count > 0);
        }
        self.totals = totals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(sl: u32, el: u32, ec: u32, statements: u32, count: u64) -> Unit {
        Unit {
            start_line: sl,
            start_column: 2,
            end_line: el,
            end_column: ec,
            statements,
            count,
        }
    }

    fn file(units: Vec<Unit>) -> File {
        let mut f = File {
            name: "m/p/a.go".into(),
            functions: vec![Function {
                name: "F".into(),
                literal: false,
                units,
            }],
            ..File::default()
        };
        f.finish();
        f
    }

    #[test]
    fn a_line_has_the_largest_count_of_its_units() {
        let f = file(vec![
            unit(3, 5, 9, 2, 0),
            unit(5, 6, 3, 1, 4),
            unit(9, 9, 4, 0, 7),
        ]);
        let lines: Vec<_> = f.lines().iter().map(|l| (l.number, l.count)).collect();
        assert_eq!(lines, [(3, 0), (4, 0), (5, 4), (6, 4)]);
        assert_eq!(f.totals.lines, Ratio::new(2, 4));
        assert_eq!(f.totals.statements, Ratio::new(1, 3));
    }

    #[test]
    fn a_unit_that_ends_at_column_one_ends_on_the_line_above() {
        assert_eq!(unit(3, 5, 1, 1, 1).last_line(), 4);
        assert_eq!(unit(3, 3, 1, 1, 1).last_line(), 3);
        assert_eq!(unit(3, 2, 9, 1, 1).last_line(), 3);
    }

    #[test]
    fn overlapping_units_do_not_repeat_lines() {
        let f = file(vec![
            unit(1, 10, 5, 1, 1),
            unit(2, 3, 5, 1, 0),
            unit(8, 12, 5, 1, 3),
        ]);
        let numbers: Vec<_> = f.lines().iter().map(|l| l.number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
        assert_eq!(f.lines()[7].count, 3);
        assert_eq!(f.lines()[1].count, 1);
    }

    #[test]
    fn totals_are_sums_and_everything_is_sorted() {
        let package = |path: &str, n: u64| Package {
            path: path.into(),
            files: vec![
                file(vec![unit(7, 7, 9, 1, n)]),
                file(vec![unit(1, 1, 9, 1, 1)]),
            ],
            ..Package::default()
        };
        let c = Coverage::new(
            "t",
            CounterMode::Set,
            vec![package("b", 0), package("a", 1)],
        );
        assert_eq!(c.packages[0].path, "a");
        assert_eq!(c.totals.statements, Ratio::new(3, 4));
        assert_eq!(c.totals.functions, Ratio::new(3, 4));
        assert_eq!(c.packages[1].totals.lines, Ratio::new(1, 2));
        assert_eq!(c.files().count(), 4);
    }

    #[test]
    fn literals_are_not_functions_of_their_own() {
        let mut f = file(vec![unit(1, 1, 9, 1, 1)]);
        f.functions[0].literal = true;
        f.functions.push(Function {
            name: "Empty".into(),
            ..Function::default()
        });
        f.finish();
        assert_eq!(f.totals.functions, Ratio::default());
        assert_eq!(f.functions[1].line(), 1);
        assert_eq!(f.functions[1].entries(), 1);
        assert_eq!(f.functions[0].line(), 0);
        assert_eq!(f.functions[0].entries(), 0);
    }

    #[test]
    fn the_document_survives_json() {
        let c = Coverage::new(
            "t",
            CounterMode::Atomic,
            vec![Package {
                files: vec![file(vec![unit(1, 2, 3, 4, u64::MAX)])],
                ..Default::default()
            }],
        );
        let text = serde_json::to_string(&c).unwrap();
        assert!(text.contains("[1,2,2,3,4,18446744073709551615]"), "{text}");
        assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), c);
    }

    #[test]
    fn the_shown_path_is_the_repositorys_when_known() {
        let mut f = file(vec![]);
        assert_eq!(f.display_path(), "m/p/a.go");
        f.path = Some("p/a.go".into());
        assert_eq!(f.display_path(), "p/a.go");
    }
}
