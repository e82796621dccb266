//! Lines that did not run, as ranges: `12-15, 20`.

use std::fmt;

use covtap_model::coverage::{File, Line};

/// First and last line of a stretch in which no statement ran. Lines without statements inside it
/// (blank ones, comments) do not split it; those at its ends are not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The missing ranges of a file, ascending.
pub(crate) fn ranges(file: &File) -> Vec<Range> {
    of_lines(&file.lines())
}

fn of_lines(lines: &[Line]) -> Vec<Range> {
    lines
        .chunk_by(|a, b| (a.count == 0) == (b.count == 0))
        .filter_map(|chunk| match chunk {
            [first, ..] if first.count == 0 => Some(Range {
                first: first.number,
                last: chunk.last().unwrap_or(first).number,
            }),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(of: &[(u32, u64)]) -> Vec<Line> {
        of.iter()
            .map(|&(number, count)| Line { number, count })
            .collect()
    }

    fn shown(of: &[(u32, u64)]) -> String {
        of_lines(&lines(of))
            .iter()
            .map(Range::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(shown(&[(1, 0), (2, 0), (3, 5), (4, 0), (9, 1)]), "1-2, 4");
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&[(7, 1)]), "");
    }

    #[test]
    fn lines_without_statements_do_not_split() {
        assert_eq!(shown(&[(1, 0), (5, 0), (9, 1), (12, 0)]), "1-5, 12");
    }

    proptest! {
        #[test]
        fn a_line_is_in_a_range_exactly_when_it_did_not_run(
            counts in proptest::collection::vec((1..4u32, 0..2u64), 0..60)
        ) {
            let mut number = 0;
            let lines: Vec<Line> = counts
                .iter()
                .map(|&(step, count)| { number += step; Line { number, count } })
                .collect();
            let ranges = of_lines(&lines);
            for line in &lines {
                let inside = ranges.iter().any(|r| r.first <= line.number && line.number <= r.last);
                prop_assert_eq!(inside, line.count == 0);
            }
            prop_assert!(ranges.windows(2).all(|w| w[0].last < w[1].first));
        }
    }
}
