//! A table for a terminal.
//!
//! ```text
//! Package                    Statements  Missed  Coverage
//! example.org/shop/cmd/shop           2       2      0.0%
//! example.org/shop/pkg/cart           7       2     71.4%
//! Total                               9       4     55.5%
//! ```
//!
//! A name that does not fit is shortened in its middle: module and base name stay. Missing lines
//! wrap within their column; after [`MISSING_LINES`] lines the rest is counted, not shown.

use std::borrow::Cow;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use covtap_model::coverage::Coverage;
use covtap_model::percent::Ratio;
use unicode_width::UnicodeWidthStr as _;

use super::missing::ranges;
use super::rows::{Row, missed, rows};
use super::{By, Options};
use crate::escape::plain;

/// Space between two columns.
const GAP: usize = 2;
/// A name column is never narrower.
const MIN_NAME: usize = 12;
/// Nor is the column of missing lines.
const MIN_MISSING: usize = 16;
/// Lines that one file's missing ranges may take.
const MISSING_LINES: usize = 3;
/// Notes of one kind that are shown; the rest is counted.
const NOTES: usize = 10;

const HEAD: [&str; 3] = ["Statements", "Missed", "Coverage"];

pub(super) fn write(coverage: &Coverage, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if coverage.packages.is_empty() {
        writeln!(out, "No coverage data: the document holds no package.")?;
    } else {
        write_table(coverage, options, out)?;
    }
    write_notes(coverage, out)
}

/// Widths of the columns, in terminal cells.
struct Widths {
    name: usize,
    numbers: [usize; 3],
    missing: Option<usize>,
}

fn write_table(coverage: &Coverage, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let by = if options.show_missing {
        By::File
    } else {
        options.by
    };
    let rows = rows(coverage, by, options.sort);
    let total = coverage.totals.statements;
    let title = match by {
        By::Package => "Package",
        By::File => "File",
    };
    let widths = widths(&rows, total, title, options);

    let mut head = pad_right(title, widths.name);
    for (text, width) in HEAD.iter().zip(widths.numbers) {
        head.push_str(&format!("{:GAP$}{text:>width$}", ""));
    }
    if widths.missing.is_some() {
        head.push_str("  Missing lines");
    }
    writeln!(out, "{head}")?;
    for row in &rows {
        write_row(&plain(row.name), row.statements, &widths, options, out)?;
        if let (Some(width), Some(file)) = (widths.missing, row.file) {
            let indent = widths.name + widths.numbers.iter().map(|w| w + GAP).sum::<usize>() + GAP;
            let texts: Vec<String> = ranges(file).iter().map(ToString::to_string).collect();
            for (i, line) in wrap(&texts, options.width.map(|_| width))
                .iter()
                .enumerate()
            {
                if i == 0 {
                    write!(out, "{:GAP$}{line}", "")?;
                } else {
                    write!(out, "\n{:indent$}{line}", "")?;
                }
            }
        }
        writeln!(out)?;
    }
    write_row("Total", total, &widths, options, out)?;
    writeln!(out)
}

fn widths(rows: &[Row<'_>], total: Ratio, title: &str, options: &Options) -> Widths {
    let mut numbers = HEAD.map(str::len);
    // The total is the largest number of its column.
    for (width, number) in numbers.iter_mut().zip([total.total, missed(total)]) {
        *width = (*width).max(number.to_string().len());
    }
    let longest = rows
        .iter()
        .map(|r| plain(r.name).width())
        .chain([title.width(), "Total".width()])
        .max()
        .unwrap_or(0);
    let fixed: usize = numbers.iter().map(|w| w + GAP).sum();
    let Some(width) = options.width else {
        return Widths {
            name: longest,
            numbers,
            missing: options.show_missing.then_some(usize::MAX),
        };
    };
    let rest = width.saturating_sub(fixed);
    if !options.show_missing {
        return Widths {
            name: longest.min(rest.max(MIN_NAME)),
            numbers,
            missing: None,
        };
    }
    let rest = rest.saturating_sub(GAP);
    // Half each, and what the names do not need goes to the lines.
    let name = longest.min(MIN_NAME.max((rest / 2).min(rest.saturating_sub(MIN_MISSING))));
    Widths {
        name,
        numbers,
        missing: Some(rest.saturating_sub(name).max(MIN_MISSING)),
    }
}

fn write_row(
    name: &str,
    statements: Ratio,
    widths: &Widths,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let [w_total, w_missed, w_percent] = widths.numbers;
    write!(
        out,
        "{}{:GAP$}{:>w_total$}{:GAP$}{:>w_missed$}{:GAP$}",
        pad_right(&shorten(name, widths.name), widths.name),
        "",
        statements.total,
        "",
        missed(statements),
        "",
    )?;
    // Padded before it is coloured: colour codes have no width.
    let percent = format!("{statements:>w_percent$}");
    if options.color {
        let style = style(statements);
        write!(out, "{}{percent}{}", style.render(), style.render_reset())
    } else {
        write!(out, "{percent}")
    }
}

/// Green from 80 %, yellow from 50 %, red below; no colour without statements.
fn style(statements: Ratio) -> Style {
    match statements.permille() {
        None => Style::new(),
        Some(800..) => AnsiColor::Green.on_default(),
        Some(500..) => AnsiColor::Yellow.on_default(),
        Some(_) => AnsiColor::Red.on_default(),
    }
}

fn pad_right(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(text.width());
    format!("{text}{:fill$}", "")
}

/// `text` in at most `width` cells: its middle becomes `…`, and the end, which tells names apart,
/// keeps two thirds.
fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let room = width.saturating_sub(1);
    // Of whole texts: several characters can be one sign, whose width is not the sum of theirs.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let head_end = ends
        .take_while(|end| text[..*end].width() <= room / 3)
        .last()
        .unwrap_or(0);
    let starts = text.char_indices().map(|(at, _)| at);
    let tails = starts.filter(|start| *start >= head_end);
    tails
        .chain([text.len()])
        .map(|start| format!("{}…{}", &text[..head_end], &text[start..]))
        .find(|shortened| shortened.width() <= width)
        .map_or_else(|| "…".into(), Cow::from)
}

/// Ranges in lines of `width` cells (one line when there is no width); what does not fit in
/// [`MISSING_LINES`] is counted.
fn wrap(ranges: &[String], width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return match ranges {
            [] => Vec::new(),
            _ => vec![ranges.join(", ")],
        };
    };
    let mut lines: Vec<String> = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        let last = i + 1 == ranges.len();
        let more = format!("+{} more", ranges.len() - i);
        let comma = usize::from(!last);
        let full = lines.len() == MISSING_LINES;
        if let Some(line) = lines.last_mut() {
            let fits = line.len() + 1 + range.len() + comma;
            // On the last line there must stay room for the count of what is left.
            let reserve = if full && !last { more.len() + 1 } else { 0 };
            if fits + reserve <= width {
                line.push(' ');
                line.push_str(range);
            } else if full {
                line.push(' ');
                line.push_str(&more);
                return lines;
            } else {
                lines.push(range.clone());
            }
        } else {
            lines.push(range.clone());
        }
        if !last && let Some(line) = lines.last_mut() {
            line.push(',');
        }
    }
    lines
}

/// What the table does not say: files left out, not found, not read.
fn write_notes(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    if !coverage.excluded.is_empty() {
        let statements = coverage
            .excluded
            .iter()
            .fold(0u64, |sum, e| sum.saturating_add(e.statements.total));
        writeln!(
            out,
            "\nExcluded: {} with {}.",
            count(coverage.excluded.len() as u64, "entry", "entries"),
            count(statements, "statement", "statements")
        )?;
    }
    let list = |out: &mut dyn Write, title: &str, lines: Vec<String>| -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title} ({}):", lines.len())?;
        for line in lines.iter().take(NOTES) {
            writeln!(out, "  {}", plain(line))?;
        }
        if lines.len() > NOTES {
            writeln!(
                out,
                "  … and {} more; the JSON report lists all",
                lines.len() - NOTES
            )?;
        }
        Ok(())
    };
    list(
        out,
        "Not resolved to a file of the repository",
        coverage
            .unresolved
            .iter()
            .map(|u| format!("{}: {}", u.name, u.reason))
            .collect(),
    )?;
    list(
        out,
        "Packages that came in several versions",
        coverage
            .skew
            .iter()
            .map(|s| {
                format!(
                    "{}: reported is {}, left out: {}",
                    s.package,
                    s.used,
                    s.others.join(", ")
                )
            })
            .collect(),
    )?;
    list(
        out,
        "Problems",
        coverage.problems.iter().map(ToString::to_string).collect(),
    )
}

/// `1 entry`, `2 entries`.
fn count(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shared_tests::{document, file, func, rendered, sample, unit};
    use super::super::{Format, Sort};
    use super::*;

    fn text(coverage: &Coverage, options: &Options) -> String {
        rendered(Format::Text, coverage, options)
    }

    #[test]
    fn packages() {
        let expected = "\
Package                    Statements  Missed  Coverage
example.org/shop/cmd/shop           2       2      0.0%
example.org/shop/pkg/cart           7       2     71.4%
Total                               9       4     55.5%

Excluded: 1 entry with 40 statements.

Not resolved to a file of the repository (1):
  example.org/shop/pkg/cart/gen.go: pkg/cart/gen.go does not exist
";
        assert_eq!(text(&sample(), &Options::default()), expected);
    }

    #[test]
    fn files_with_missing_lines() {
        let options = Options {
            show_missing: true,
            sort: Sort::Missing,
            width: Some(70),
            ..Options::default()
        };
        let all = text(&sample(), &options);
        let expected = "\
File                 Statements  Missed  Coverage  Missing lines
cmd/shop/main.go              2       2      0.0%  5-7
pkg/cart/cart.go              6       2     66.6%  12, 30
exampl…/cart/gen.go           1       0    100.0%
Total                         9       4     55.5%
";
        assert!(all.starts_with(expected), "{all}");
    }

    #[test]
    fn nothing_is_said_in_a_sentence() {
        assert_eq!(
            text(&document(vec![]), &Options::default()),
            "No coverage data: the document holds no package.\n"
        );
        let no_statements = document(vec![file("m/a.go", vec![])]);
        assert!(text(&no_statements, &Options::default()).contains("         -\n"));
    }

    #[test]
    fn colours_stand_beside_the_number() {
        let options = Options {
            color: true,
            ..Options::default()
        };
        let colored = text(&sample(), &options);
        assert!(
            colored.contains("\u{1b}[31m    0.0%\u{1b}[0m"),
            "{colored:?}"
        );
        assert!(
            colored.contains("\u{1b}[33m   55.5%\u{1b}[0m"),
            "{colored:?}"
        );
        assert_eq!(style(Ratio::new(8, 10)), AnsiColor::Green.on_default());
        assert_eq!(style(Ratio::default()), Style::new());
        let mut bare = colored;
        for code in ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, text(&sample(), &Options::default()));
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("github.com/a/b/c/cart.go", 13), "gith…/cart.go");
        assert_eq!(shorten("short.go", 8), "short.go");
        assert_eq!(shorten("日本語日本語.go", 8), "日…語.go");
        assert_eq!(shorten("abc", 0), "…");
    }

    #[test]
    fn missing_ranges_wrap_and_the_rest_is_counted() {
        let ranges: Vec<String> = (1..=9).map(|n| format!("{n}0-{n}5")).collect();
        assert_eq!(
            wrap(&ranges, Some(16)),
            ["10-15, 20-25,", "30-35, 40-45,", "50-55, +4 more"]
        );
        assert_eq!(wrap(&ranges[..2], Some(16)), ["10-15, 20-25"]);
        assert_eq!(wrap(&ranges[..3], None), ["10-15, 20-25, 30-35"]);
        assert!(wrap(&[], None).is_empty() && wrap(&[], Some(9)).is_empty());
    }

    #[test]
    fn a_sign_of_several_characters_is_measured_whole() {
        let name = "\u{1f56f}\u{fe0f}\u{10a60}AAA    ";
        assert!(shorten(name, 4).width() <= 4, "{}", shorten(name, 4));
        assert_eq!(shorten("internal/checkout/server.go", 12), "int…erver.go");
    }

    proptest! {
        #[test]
        fn shortened_names_fit(name in "\\PC{0,60}", width in 1..40usize) {
            let name = plain(&name).into_owned();
            prop_assert!(shorten(&name, width).width() <= width.max(1), "{}", shorten(&name, width));
        }

        #[test]
        fn no_range_is_lost_in_silence(
            starts in proptest::collection::btree_set(1..100_000u32, 0..60),
            width in 16..60usize,
        ) {
            let ranges: Vec<String> = starts.iter().map(ToString::to_string).collect();
            let lines = wrap(&ranges, Some(width));
            prop_assert!(lines.len() <= MISSING_LINES);
            prop_assert!(lines.iter().all(|l| l.len() <= width), "{lines:?}");
            let text = lines.join(" ");
            let (shown, more) = match text.split_once('+') {
                Some((shown, more)) => (shown.to_owned(), more.trim_end_matches(" more").parse().unwrap()),
                None => (text, 0),
            };
            let shown = shown.split(',').filter(|s| !s.trim().is_empty()).count();
            prop_assert_eq!(shown + more, ranges.len());
        }

        #[test]
        fn the_table_fits_the_terminal(names in proptest::collection::vec("[a-z/é日]{1,90}", 1..6), width in 60..140usize, show_missing: bool) {
            let c = document(names.iter().map(|n| file(n, vec![func("f", (1..90).map(|l| unit(l * 7, 1, l * 7, 5, 1, u64::from(l % 2))).collect())])).collect());
            let options = Options { width: Some(width), show_missing, by: By::File, ..Options::default() };
            for line in text(&c, &options).lines() {
                prop_assert!(line.width() <= width, "{} > {width}: {line}", line.width());
            }
        }
    }
}
