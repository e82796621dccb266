//! What holds for every document, whatever its names and numbers.

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Coverage, File, Function, Package, Unit};
use covtap_report::format::{Format, Options, read_json};
use proptest::prelude::*;

use crate::cobertura::{checked, parse};

fn units() -> impl Strategy<Value = Vec<Unit>> {
    let unit = (1..60u32, 0..9u32, 0..9u32, 0..9u32, 0..4u32, 0..3u64).prop_map(
        |(start_line, start_column, more, end_column, statements, count)| Unit {
            start_line,
            start_column,
            end_line: start_line + more,
            end_column,
            statements,
            count: if count == 2 { u64::MAX } else { count },
        },
    );
    proptest::collection::vec(unit, 0..6)
}

/// Any text: controls, markup, other scripts.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[a-z./]{1,12}", any::<String>()]
}

fn documents() -> impl Strategy<Value = Coverage> {
    let function = (name(), any::<bool>(), units()).prop_map(|(name, literal, units)| Function {
        name,
        literal,
        units,
    });
    let file = (
        name(),
        proptest::option::of(name()),
        proptest::collection::vec(function, 0..4),
    )
        .prop_map(|(name, path, functions)| File {
            name,
            path,
            functions,
            ..File::default()
        });
    let package =
        (name(), proptest::collection::vec(file, 0..4)).prop_map(|(path, files)| Package {
            path,
            files,
            ..Package::default()
        });
    (name(), proptest::collection::vec(package, 0..3))
        .prop_map(|(generator, packages)| Coverage::new(generator, CounterMode::Count, packages))
}

fn text(format: Format, coverage: &Coverage) -> String {
    String::from_utf8(format.to_bytes(coverage, &Options::default())).unwrap()
}

/// The sum of the numbers after `record` in a tracefile.
fn sum(tracefile: &str, record: &str) -> u64 {
    tracefile
        .lines()
        .filter_map(|l| l.strip_prefix(record))
        .map(|n| n.parse::<u64>().unwrap())
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn json_comes_back(coverage in documents()) {
        let bytes = Format::Json.to_bytes(&coverage, &Options::default());
        prop_assert_eq!(read_json(&bytes).unwrap(), coverage);
    }

    #[test]
    fn lcov_has_our_totals(coverage in documents()) {
        let info = text(Format::Lcov, &coverage);
        let totals = coverage.totals;
        prop_assert_eq!(sum(&info, "LF:"), totals.lines.total);
        prop_assert_eq!(sum(&info, "LH:"), totals.lines.covered);
        prop_assert_eq!(sum(&info, "FNF:"), totals.functions.total);
        prop_assert_eq!(sum(&info, "FNH:"), totals.functions.covered);
        let known = ["TN:", "SF:", "FN:", "FNDA:", "FNF:", "FNH:", "DA:", "LF:", "LH:", "end_of_record"];
        prop_assert!(info.lines().all(|l| known.iter().any(|k| l.starts_with(k))), "{}", info);
        prop_assert_eq!(info.lines().filter(|l| l.starts_with("SF:")).count(), coverage.files().count());
    }

    #[test]
    fn cobertura_is_valid_and_has_our_totals(coverage in documents()) {
        let root = checked(&coverage, &Options::default());
        prop_assert_eq!(&root.attributes["lines-valid"], &coverage.totals.lines.total.to_string());
        prop_assert_eq!(&root.attributes["lines-covered"], &coverage.totals.lines.covered.to_string());
    }

    #[test]
    fn a_go_profile_has_a_line_for_each_unit(coverage in documents()) {
        let profile = text(Format::Go, &coverage);
        let units: usize = coverage.files().flat_map(|f| &f.functions).map(|f| f.units.len()).sum();
        prop_assert_eq!(profile.lines().count(), units + 1);
        for line in profile.lines().skip(1) {
            // Read from its end, as Go's tools do: a name may hold anything.
            let (_, position) = line.rsplit_once(':').unwrap();
            let numbers: Vec<&str> = position.split([' ', ',', '.']).collect();
            prop_assert!(numbers.len() == 6 && numbers.iter().all(|n| n.parse::<i64>().is_ok()), "{}", line);
        }
    }

    #[test]
    fn a_badge_is_xml(coverage in documents()) {
        let svg = parse(&text(Format::Badge, &coverage));
        prop_assert_eq!(&svg.name, "svg");
        prop_assert_eq!(&svg.attributes["role"], "img");
        prop_assert_eq!(svg.children[0].name.as_str(), "title");
    }

    #[test]
    fn text_and_markdown_keep_a_row_for_each_name(coverage in documents()) {
        let rows = text(Format::Text, &coverage).lines().filter(|l| l.ends_with('%') || l.ends_with('-')).count();
        if !coverage.packages.is_empty() {
            prop_assert!(rows > coverage.packages.len(), "rows and the total");
        }
        let markdown = text(Format::Markdown, &coverage);
        let rows = markdown.lines().filter(|l| l.starts_with("| <code>")).count();
        prop_assert_eq!(rows, coverage.packages.len() + coverage.files().count());
    }
}
