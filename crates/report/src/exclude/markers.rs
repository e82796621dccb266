//! Comment markers: `//covtap:ignore` and its kin. The rules stand in the parent's documentation.

use std::collections::BTreeSet;

use covtap_model::coverage::{Excluded, File};
use covtap_model::percent::Ratio;
use covtap_model::problem::{Problem, Severity};

use super::scan::scan;

/// The markers of a file.
#[derive(Debug, Default)]
pub(crate) struct Markers {
    /// Line of an `ignore-file`.
    pub(crate) file: Option<u32>,
    parts: Vec<Part>,
}

/// What one marker leaves out.
#[derive(Debug)]
struct Part {
    /// Line of the marker.
    line: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What begins on this line.
    At(u32),
    /// The first function that begins from the first line on and before the second.
    Function(u32, u32),
    /// Units that start from the first line to the second.
    Between(u32, u32),
}

impl Markers {
    pub(crate) fn is_empty(&self) -> bool {
        self.file.is_none() && self.parts.is_empty()
    }
}

/// The markers in `text`, which is the file `path`.
pub(crate) fn find(text: &str, path: &str, problems: &mut Vec<Problem>) -> Markers {
    let mut markers = Markers::default();
    // Most files have none, and the scan is slower than the search.
    if !text.contains("covtap:") {
        return markers;
    }
    let mut problem = |severity, expected: &str, found: String, effect: &str| {
        problems.push(Problem::new(severity, path, expected, found, effect));
    };
    let scan = scan(text, path.ends_with(".rs"));
    let lines: Vec<&str> = text.lines().collect();
    let begins_function = |line: u32| {
        lines
            .get(line as usize - 1)
            .is_some_and(|l| l.starts_with("func ") || l.starts_with("func("))
    };
    let mut open: Option<u32> = None;
    for comment in &scan.comments {
        let Some(rest) = comment.text.trim_start().strip_prefix("covtap:") else {
            continue;
        };
        let line = comment.line;
        match rest.split_whitespace().next().unwrap_or("") {
            "ignore-file" => {
                markers.file.get_or_insert(line);
            }
            "ignore" => {
                let target = scan.code.range(line..).next();
                if let Some(&target) = target {
                    let kind = if begins_function(target) {
                        let next = (target + 1..)
                            .take_while(|&l| l as usize <= lines.len())
                            .find(|&l| begins_function(l))
                            .unwrap_or(u32::MAX);
                        Kind::Function(target, next)
                    } else {
                        Kind::At(target)
                    };
                    markers.parts.push(Part { line, kind });
                } else {
                    problem(
                        Severity::Note,
                        "code after `//covtap:ignore`",
                        format!("none after line {line}"),
                        "the marker has no effect",
                    );
                }
            }
            "ignore-start" => {
                if let Some(start) = open.replace(line) {
                    problem(
                        Severity::Warning,
                        "`//covtap:ignore-end` before the next start",
                        format!("starts on lines {start} and {line}"),
                        "the first has no effect",
                    );
                }
            }
            "ignore-end" => match open.take() {
                Some(start) => markers.parts.push(Part {
                    line: start,
                    kind: Kind::Between(start, line),
                }),
                None => problem(
                    Severity::Warning,
                    "`//covtap:ignore-start` before the end",
                    format!("an end on line {line} without start"),
                    "the marker has no effect",
                ),
            },
            unknown => problem(
                Severity::Warning,
                "ignore, ignore-file, ignore-start or ignore-end",
                format!("`covtap:{}` on line {line}", crate::escape::plain(unknown)),
                "the marker has no effect",
            ),
        }
    }
    if let Some(start) = open {
        problem(
            Severity::Warning,
            "`//covtap:ignore-end`",
            format!("the end of the file after the start on line {start}"),
            "the marker has no effect",
        );
    }
    markers
}

/// Takes out of `file` what `markers` name, and says what that was.
pub(crate) fn apply(
    markers: &Markers,
    file: &mut File,
    problems: &mut Vec<Problem>,
) -> Vec<Excluded> {
    let mut excluded = Vec::new();
    // Places of units that are left out: function, unit.
    let mut gone: BTreeSet<(usize, usize)> = BTreeSet::new();
    for part in &markers.parts {
        let named = named(&part.kind, file);
        if named.is_empty() {
            problems.push(Problem::new(
                Severity::Note,
                file.display_path(),
                "a unit that starts where the marker points",
                format!("none for the marker on line {}", part.line),
                "the marker has no effect",
            ));
            continue;
        }
        let mut statements = Ratio::default();
        for (f, u) in named {
            // A unit that two markers name counts for the first.
            if gone.insert((f, u)) {
                let unit = &file.functions[f].units[u];
                statements.add(u64::from(unit.statements), unit.count > 0);
            }
        }
        let marker = match part.kind {
            Kind::Between(..) => "ignore-start",
            Kind::At(_) | Kind::Function(..) => "ignore",
        };
        excluded.push(Excluded {
            file: file.display_path().to_owned(),
            reason: format!("//covtap:{marker} (line {})", part.line),
            statements,
        });
    }
    let mut f = 0;
    file.functions.retain_mut(|function| {
        let had_units = !function.units.is_empty();
        let mut u = 0;
        function.units.retain(|_| {
            u += 1;
            !gone.contains(&(f, u - 1))
        });
        f += 1;
        !had_units || !function.units.is_empty()
    });
    excluded
}

/// Places of the units that a marker names.
fn named(kind: &Kind, file: &File) -> Vec<(usize, usize)> {
    let whole = |f: usize| (0..file.functions[f].units.len()).map(move |u| (f, u));
    let between = |from: u32, to: u32| {
        file.functions
            .iter()
            .enumerate()
            .flat_map(move |(f, function)| {
                function
                    .units
                    .iter()
                    .enumerate()
                    .filter(move |(_, unit)| (from..=to).contains(&unit.start_line))
                    .map(move |(u, _)| (f, u))
            })
    };
    // A function's first unit is its body: where it starts, the function begins.
    let function = |from: u32, to: u32| {
        file.functions
            .iter()
            .enumerate()
            .filter(|(_, f)| !f.literal && (from..to).contains(&f.line()))
            .min_by_key(|(_, f)| f.line())
            .map(|(at, _)| at)
    };
    match *kind {
        Kind::Between(from, to) => between(from, to).collect(),
        Kind::Function(from, to) => function(from, to)
            .map(|f| whole(f).collect())
            .unwrap_or_default(),
        Kind::At(line) => match function(line, line.saturating_add(1)) {
            Some(f) => whole(f).collect(),
            None => between(line, line).collect(),
        },
    }
}
