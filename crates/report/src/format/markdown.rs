//! A summary in GitHub-flavoured Markdown, for step summaries and comments.
//!
//! Totals and problems come first, then packages, then the files in a folded section. A summary
//! that is larger than [`LIMIT`] is refused as a whole by GitHub (1 MiB for a step), so rows are
//! left out before that, and a sentence says how many.

use std::fmt::Write as _;
use std::io::{self, Write};

use covtap_model::coverage::Coverage;

use super::rows::{Row, missed, rows};
use super::{By, Options};
use crate::escape::markdown as escape;

/// Bytes of the whole summary; below 1 MiB, because other steps may add a heading.
pub(super) const LIMIT: usize = 1_000_000;
/// Bytes kept for closing tags and sentences about what was cut.
const RESERVE: usize = 2_000;
/// Notes of one kind.
const NOTES: usize = 50;
/// Bytes of one name or sentence: longer ones would eat the room of all others.
const TEXT: usize = 2_000;

pub(super) fn write(coverage: &Coverage, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(coverage, options, LIMIT).as_bytes())
}

fn render(coverage: &Coverage, options: &Options, limit: usize) -> String {
    let mut out = String::new();
    if coverage.packages.is_empty() {
        out.push_str("## Coverage: no data\n\nThe coverage document holds no package.\n");
        notes(coverage, &mut out);
        return out;
    }
    let total = coverage.totals;
    put(
        &mut out,
        format_args!("## Coverage: {}\n\n", total.statements),
    );
    put(
        &mut out,
        format_args!(
            "{} of {} statements, {} of {} lines, {} of {} functions ran.\n",
            total.statements.covered,
            total.statements.total,
            total.lines.covered,
            total.lines.total,
            total.functions.covered,
            total.functions.total,
        ),
    );
    notes(coverage, &mut out);
    let limit = limit.saturating_sub(RESERVE);
    out.push('\n');
    table(
        &mut out,
        "Package",
        &rows(coverage, By::Package, options.sort),
        limit,
    );
    let files = rows(coverage, By::File, options.sort);
    if !files.is_empty() {
        put(
            &mut out,
            format_args!(
                "\n<details>\n<summary>Files ({})</summary>\n\n",
                files.len()
            ),
        );
        table(&mut out, "File", &files, limit);
        out.push_str("\n</details>\n");
    }
    out
}

/// Writes rows until `limit` bytes are reached, then says how many are missing.
fn table(out: &mut String, title: &str, rows: &[Row<'_>], limit: usize) {
    put(
        out,
        format_args!("| {title} | Statements | Missed | Coverage |\n|:---|---:|---:|---:|\n"),
    );
    for (i, row) in rows.iter().enumerate() {
        let line = format!(
            "| {} | {} | {} | {} |\n",
            code(row.name),
            row.statements.total,
            missed(row.statements),
            row.statements
        );
        if out.len() + line.len() > limit {
            put(
                out,
                format_args!(
                    "\n_{} of {} rows are left out: the summary would be too large. The JSON report has all._\n",
                    rows.len() - i,
                    rows.len()
                ),
            );
            return;
        }
        out.push_str(&line);
    }
}

fn notes(coverage: &Coverage, out: &mut String) {
    list(
        out,
        "Problems",
        coverage.problems.iter().map(|p| text(&p.to_string())),
    );
    list(
        out,
        "Packages that came in several versions",
        coverage.skew.iter().map(|s| {
            format!(
                "{}: reported is {}, left out: {}",
                code(&s.package),
                code(&s.used),
                code(&s.others.join(", "))
            )
        }),
    );
    list(
        out,
        "Not resolved to a file of the repository",
        coverage
            .unresolved
            .iter()
            .map(|u| format!("{}: {}", code(&u.name), text(&u.reason))),
    );
    list(
        out,
        "Excluded",
        coverage.excluded.iter().map(|e| {
            format!(
                "{}: {}, {} statements",
                code(&e.file),
                text(&e.reason),
                e.statements.total
            )
        }),
    );
}

fn list(out: &mut String, title: &str, mut items: impl ExactSizeIterator<Item = String>) {
    let n = items.len();
    if n == 0 {
        return;
    }
    put(
        out,
        format_args!("\n<details>\n<summary>{title} ({n})</summary>\n\n"),
    );
    for item in items.by_ref().take(NOTES) {
        put(out, format_args!("- {item}\n"));
    }
    if n > NOTES {
        put(
            out,
            format_args!("- … and {} more; the JSON report lists all\n", n - NOTES),
        );
    }
    out.push_str("\n</details>\n");
}

fn code(name: &str) -> String {
    format!("<code>{}</code>", text(name))
}

/// Escaped, and cut when it is absurdly long.
fn text(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((at, _)) => format!("{}…", escape(&text[..at])),
        None => escape(text),
    }
}

fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::shared_tests::{document, file, func, hostile, rendered, sample, unit};
    use super::*;

    #[test]
    fn a_whole_summary() {
        let expected = "\
## Coverage: 55.5%

5 of 9 statements, 7 of 12 lines, 3 of 5 functions ran.

<details>
<summary>Not resolved to a file of the repository (1)</summary>

- <code>example.org/shop/pkg/cart/gen.go</code>: pkg/cart/gen.go does not exist

</details>

<details>
<summary>Excluded (1)</summary>

- <code>api/shop.pb.go</code>: generated (line 1), 40 statements

</details>

| Package | Statements | Missed | Coverage |
|:---|---:|---:|---:|
| <code>example.org/shop/cmd/shop</code> | 2 | 2 | 0.0% |
| <code>example.org/shop/pkg/cart</code> | 7 | 2 | 71.4% |

<details>
<summary>Files (3)</summary>

| File | Statements | Missed | Coverage |
|:---|---:|---:|---:|
| <code>cmd/shop/main.go</code> | 2 | 2 | 0.0% |
| <code>example.org/shop/pkg/cart/gen.go</code> | 1 | 0 | 100.0% |
| <code>pkg/cart/cart.go</code> | 6 | 2 | 66.6% |

</details>
";
        assert_eq!(
            rendered(Format::Markdown, &sample(), &Options::default()),
            expected
        );
    }

    #[test]
    fn a_large_summary_is_cut_and_says_so() {
        let c = document(
            (0..500)
                .map(|n| {
                    file(
                        &format!("m/f{n:03}.go"),
                        vec![func("f", vec![unit(1, 1, 1, 9, 1, 1)])],
                    )
                })
                .collect(),
        );
        let cut = render(&c, &Options::default(), 5_000);
        assert!(cut.len() <= 5_000, "{}", cut.len());
        assert!(cut.contains(" of 500 rows are left out"), "{cut}");
        assert!(cut.ends_with("</details>\n"));
        assert!(!render(&c, &Options::default(), LIMIT).contains("left out"));
    }

    #[test]
    fn hostile_names_stay_in_their_cell() {
        let summary = rendered(Format::Markdown, &hostile(), &Options::default());
        for line in summary.lines().filter(|l| l.starts_with("| ")) {
            assert_eq!(line.matches('|').count(), 5, "{line}");
        }
        assert!(summary.len() < LIMIT);
        let long = document(vec![file(&"x|".repeat(900_000), vec![])]);
        assert!(rendered(Format::Markdown, &long, &Options::default()).len() < LIMIT);
    }
}
