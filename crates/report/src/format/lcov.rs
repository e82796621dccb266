//! The tracefile of lcov (`lcov.info`), as the manual page of geninfo 1.16 describes it:
//!
//! ```text
//! TN:                       test name: none
//! SF:pkg/cart/cart.go       a source file begins
//! FN:9,Cart.Put             line and name of a function
//! FNDA:3,Cart.Put           how often it was entered
//! FNF:1  FNH:1              functions found and hit
//! DA:9,3                    line and count
//! LF:1  LH:1                lines found and hit
//! end_of_record
//! ```
//!
//! A line has the largest count of the units on it. There are no branch records: a unit says
//! whether statements ran, not which way a branch went.

use std::collections::HashSet;
use std::io::{self, Write};

use covtap_model::coverage::{Coverage, File};

use crate::escape::plain;

pub(super) fn write(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    for file in coverage.files() {
        writeln!(out, "TN:\nSF:{}", plain(file.display_path()))?;
        write_functions(file, out)?;
        let (mut found, mut hit) = (0, 0);
        for line in file.lines().iter().filter(|l| l.number > 0) {
            writeln!(out, "DA:{},{}", line.number, line.count)?;
            found += 1;
            hit += u32::from(line.count > 0);
        }
        writeln!(out, "LF:{found}\nLH:{hit}\nend_of_record")?;
    }
    Ok(())
}

fn write_functions(file: &File, out: &mut dyn Write) -> io::Result<()> {
    let mut taken = HashSet::new();
    let functions: Vec<(u32, u64, String)> = file
        .functions
        .iter()
        .filter(|f| !f.literal && f.line() > 0)
        .map(|f| {
            // A function of which any part ran was entered, whatever its first counter says.
            let entered = f.entries().max(u64::from(f.executed()));
            (f.line(), entered, unique(&f.name, f.line(), &mut taken))
        })
        .collect();
    for (line, _, name) in &functions {
        writeln!(out, "FN:{line},{name}")?;
    }
    for (_, entered, name) in &functions {
        writeln!(out, "FNDA:{entered},{name}")?;
    }
    let hit = functions.iter().filter(|f| f.1 > 0).count();
    writeln!(out, "FNF:{}\nFNH:{hit}", functions.len())
}

/// Readers take the name for the key of a function within its file: a second function of the same
/// name (`init` in Go) gets its line, and if need be a number. A comma would end the name.
fn unique(name: &str, line: u32, taken: &mut HashSet<String>) -> String {
    let name = match plain(name).replace(',', ";") {
        empty if empty.is_empty() => "(unnamed)".to_owned(),
        name => name,
    };
    let mut candidate = name.clone();
    let mut n = 1;
    while !taken.insert(candidate.clone()) {
        candidate = match n {
            1 => format!("{name}:{line}"),
            _ => format!("{name}:{line}.{n}"),
        };
        n += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::super::shared_tests::{document, file, func, rendered, sample, unit};
    use super::super::{Format, Options};

    #[test]
    fn a_whole_tracefile() {
        let text = rendered(Format::Lcov, &sample(), &Options::default());
        let expected = "\
TN:
SF:cmd/shop/main.go
FN:5,main
FNDA:0,main
FNF:1
FNH:0
DA:5,0
DA:6,0
DA:7,0
LF:3
LH:0
end_of_record
TN:
SF:pkg/cart/cart.go
FN:9,Cart.Put
FN:20,init
FN:30,init:30
FNDA:3,Cart.Put
FNDA:1,init
FNDA:0,init:30
FNF:3
FNH:2
DA:9,3
DA:10,3
DA:11,3
DA:12,0
DA:13,3
DA:14,3
DA:20,1
DA:30,0
LF:8
LH:6
end_of_record
TN:
SF:example.org/shop/pkg/cart/gen.go
FN:3,New
FNDA:1,New
FNF:1
FNH:1
DA:3,1
LF:1
LH:1
end_of_record
";
        assert_eq!(text, expected);
    }

    #[test]
    fn names_are_unique_and_have_no_comma() {
        let at = |name| func(name, vec![unit(7, 1, 7, 9, 1, 1)]);
        let c = document(vec![file(
            "m/a.go",
            vec![
                at("Map[K,V].Get"),
                at("f"),
                at("f"),
                at("f"),
                at("f:7"),
                at(""),
            ],
        )]);
        let text = rendered(Format::Lcov, &c, &Options::default());
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("FN:7,"))
            .collect();
        assert!(names.contains(&"Map[K;V].Get") && names.contains(&"(unnamed)"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 6, "{names:?}");
        assert!(text.contains("FNF:6\n"));
    }

    #[test]
    fn many_functions_of_one_name_are_fast() {
        let c = document(vec![file(
            "m/a.go",
            (1..=20_000)
                .map(|l| func("init", vec![unit(l, 1, l, 9, 1, 1)]))
                .collect(),
        )]);
        assert!(rendered(Format::Lcov, &c, &Options::default()).contains("FNF:20000\n"));
    }
}
