//! Rows of a table: packages or files, sorted.

use std::cmp::Ordering;

use covtap_model::coverage::{Coverage, File};
use covtap_model::percent::Ratio;

use super::{By, Sort};

/// One row.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// As it came: not escaped.
    pub(crate) name: &'a str,
    pub(crate) statements: Ratio,
    /// The file, when the row is one.
    pub(crate) file: Option<&'a File>,
}

impl Row<'_> {
    pub(crate) fn missed(&self) -> u64 {
        missed(self.statements)
    }
}

/// Statements that did not run.
pub(crate) fn missed(ratio: Ratio) -> u64 {
    ratio.total.saturating_sub(ratio.covered)
}

/// The rows of `coverage`.
pub(crate) fn rows(coverage: &Coverage, by: By, sort: Sort) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = match by {
        By::Package => coverage
            .packages
            .iter()
            .map(|p| Row {
                name: &p.path,
                statements: p.totals.statements,
                file: None,
            })
            .collect(),
        By::File => coverage
            .files()
            .map(|f| Row {
                name: f.display_path(),
                statements: f.totals.statements,
                file: Some(f),
            })
            .collect(),
    };
    rows.sort_by(|a, b| {
        match sort {
            Sort::Name => Ordering::Equal,
            Sort::Coverage => least_covered_first(a.statements, b.statements),
            Sort::Missing => b.missed().cmp(&a.missed()),
        }
        .then_with(|| a.name.cmp(b.name))
    });
    rows
}

/// Exact: ratios that print the same still have an order. Rows without statements come last.
fn least_covered_first(a: Ratio, b: Ratio) -> Ordering {
    let cross = |x: Ratio, y: Ratio| u128::from(x.covered) * u128::from(y.total);
    (a.total == 0)
        .cmp(&(b.total == 0))
        .then_with(|| cross(a, b).cmp(&cross(b, a)))
}

#[cfg(test)]
mod tests {
    use covtap_model::counter::CounterMode;
    use covtap_model::coverage::{Function, Package, Unit};

    use super::*;

    fn package(path: &str, units: &[(u32, u64)]) -> Package {
        let units = (1..)
            .zip(units)
            .map(|(line, &(statements, count))| Unit {
                start_line: line,
                start_column: 1,
                end_line: line,
                end_column: 5,
                statements,
                count,
            })
            .collect();
        Package {
            path: path.into(),
            files: vec![File {
                name: format!("{path}/z.go"),
                functions: vec![Function {
                    units,
                    ..Function::default()
                }],
                ..File::default()
            }],
            ..Package::default()
        }
    }

    fn names(sort: Sort, by: By) -> Vec<String> {
        let coverage = Coverage::new(
            "t",
            CounterMode::Set,
            vec![
                package("most", &[(90, 1), (10, 0)]),
                package("empty", &[]),
                package("least", &[(1, 1), (4, 0)]),
                package("also", &[(9, 1), (1, 0)]),
            ],
        );
        rows(&coverage, by, sort)
            .iter()
            .map(|r| r.name.to_owned())
            .collect()
    }

    #[test]
    fn three_orders() {
        assert_eq!(
            names(Sort::Name, By::Package),
            ["also", "empty", "least", "most"]
        );
        assert_eq!(
            names(Sort::Coverage, By::Package),
            ["least", "also", "most", "empty"]
        );
        assert_eq!(
            names(Sort::Missing, By::Package),
            ["most", "least", "also", "empty"]
        );
        assert_eq!(names(Sort::Missing, By::File)[0], "most/z.go");
    }
}
