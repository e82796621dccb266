//! Go's text profile (`coverage.out`), as `go test -coverprofile` and `go tool covdata textfmt`
//! write it (format: `golang.org/x/tools/cover`, Go 1.21 to 1.27):
//!
//! ```text
//! mode: set
//! example.org/shop/pkg/cart/cart.go:9.27,11.16 2 1
//! FILE:START_LINE.START_COLUMN,END_LINE.END_COLUMN STATEMENTS COUNT
//! ```
//!
//! Packages are sorted by path; within one, the order is file, start line, end line, start column,
//! end column, statements. Files have the name that the binary carries, because `go tool cover`
//! finds sources by import path. Only a path that leads into a build container, where nobody will
//! look, becomes `./` and the path in the repository, when that is known: run in the root of the
//! repository, `go tool cover` finds it.

use std::io::{self, Write};

use covtap_model::counter::CounterMode;
use covtap_model::coverage::Coverage;

use crate::escape::plain;

pub(super) fn write(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    let mode = match coverage.mode {
        CounterMode::Count | CounterMode::Atomic => coverage.mode.word(),
        // Go's tools know three words; the modes without counters say covered or not.
        CounterMode::Set | CounterMode::RegOnly | CounterMode::TestMain => "set",
    };
    writeln!(out, "mode: {mode}")?;
    for file in coverage.files() {
        let name = match &file.path {
            Some(path) if file.name.starts_with('/') => format!("./{}", plain(path)).into(),
            _ => plain(&file.name),
        };
        let mut units: Vec<_> = file.functions.iter().flat_map(|f| &f.units).collect();
        units.sort_by_key(|u| {
            (
                u.start_line,
                u.end_line,
                u.start_column,
                u.end_column,
                u.statements,
            )
        });
        for u in units {
            // Go reads a count into an int.
            let count = i64::try_from(u.count).unwrap_or(i64::MAX);
            writeln!(
                out,
                "{name}:{}.{},{}.{} {} {count}",
                u.start_line, u.start_column, u.end_line, u.end_column, u.statements
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use covtap_model::counter::CounterMode;

    use super::super::shared_tests::{document, file, func, rendered, sample, unit};
    use super::super::{Format, Options};

    #[test]
    fn a_whole_profile() {
        let text = rendered(Format::Go, &sample(), &Options::default());
        let expected = "\
mode: count
example.org/shop/cmd/shop/main.go:5.13,7.2 2 0
example.org/shop/pkg/cart/cart.go:9.27,11.16 2 3
example.org/shop/pkg/cart/cart.go:11.16,13.3 1 0
example.org/shop/pkg/cart/cart.go:13.3,14.12 1 3
example.org/shop/pkg/cart/cart.go:20.13,20.20 1 1
example.org/shop/pkg/cart/cart.go:30.13,30.20 1 0
example.org/shop/pkg/cart/gen.go:3.14,3.30 1 1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_order_is_gos_and_not_the_documents() {
        let c = document(vec![file(
            "m/a.go",
            vec![func(
                "f",
                vec![unit(1, 2, 9, 1, 1, 1), unit(1, 5, 3, 1, 1, u64::MAX)],
            )],
        )]);
        assert_eq!(
            rendered(Format::Go, &c, &Options::default()),
            "mode: count\nm/a.go:1.5,3.1 1 9223372036854775807\nm/a.go:1.2,9.1 1 1\n"
        );
    }

    #[test]
    fn modes_without_counters_are_sets() {
        let mut c = document(vec![]);
        for (mode, word) in [
            (CounterMode::RegOnly, "set"),
            (CounterMode::Atomic, "atomic"),
        ] {
            c.mode = mode;
            assert_eq!(
                rendered(Format::Go, &c, &Options::default()),
                format!("mode: {word}\n")
            );
        }
    }
}
