//! Taking out what was put in: from the text as it was left, or as it has become since.

use std::ops::Range;

use similar::{DiffOp, TextDiff};

use crate::edit::Edits;

/// What a text is without what was put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The text.
    pub text: String,
    /// What was changed since it was put there, and so stays.
    pub left: Vec<String>,
}

/// Takes insertions into `before` out of a text that has come from the result.
#[must_use]
pub fn undo(before: &str, edits: &Edits, now: &str) -> Undone {
    let after = edits.apply(before);
    let whole = |text: &str| Undone {
        text: text.to_owned(),
        left: Vec::new(),
    };
    if now == after || now == before {
        return whole(before);
    }
    let diff = TextDiff::from_lines(after.as_str(), now);
    let lines = Lines {
        after: &after,
        now,
        offsets: (offsets(diff.old_slices()), offsets(diff.new_slices())),
        ops: diff.ops(),
    };
    let mut cuts = Vec::new();
    let mut left = Vec::new();
    let mut shift = 0;
    for insertion in edits.insertions() {
        let start = insertion.at + shift;
        shift += insertion.text.len();
        match lines.find(&(start..start + insertion.text.len())) {
            Some(at) => cuts.push(at..at + insertion.text.len()),
            // What is gone needs not be taken out.
            None if !now.contains(insertion.text.trim()) && gone(now, &insertion.text) => {}
            None => left.push(insertion.text.clone()),
        }
    }
    let mut text = String::with_capacity(now.len());
    let mut from = 0;
    for cut in cuts {
        if cut.start >= from {
            text.push_str(&now[from..cut.start]);
            from = cut.end;
        }
    }
    text.push_str(&now[from..]);
    Undone { text, left }
}

/// Whether no line of an insertion is in a text any more.
fn gone(now: &str, inserted: &str) -> bool {
    let mut lines = inserted.lines().map(str::trim).filter(|l| !l.is_empty());
    !lines.any(|line| now.lines().any(|n| n.contains(line)))
}

/// What became of each line.
struct Lines<'a> {
    after: &'a str,
    now: &'a str,
    offsets: (Vec<usize>, Vec<usize>),
    ops: &'a [DiffOp],
}

impl Lines<'_> {
    /// Where something that stands in `after` stands in `now`, untouched.
    fn find(&self, range: &Range<usize>) -> Option<usize> {
        let (a, b) = &self.offsets;
        for op in self.ops {
            let (old, new) = (op.old_range(), op.new_range());
            let (old, new) = (a[old.start]..a[old.end], b[new.start]..b[new.end]);
            if range.start < old.start || range.end > old.end {
                continue;
            }
            match op {
                DiffOp::Equal { .. } => return Some(new.start + range.start - old.start),
                DiffOp::Replace { .. } => {
                    let within = range.start - old.start..range.end - old.start;
                    let words = in_words(&self.after[old], &self.now[new.clone()], &within)?;
                    return Some(new.start + words);
                }
                _ => {}
            }
        }
        None
    }
}

/// The same within lines that were changed.
fn in_words(after: &str, now: &str, range: &Range<usize>) -> Option<usize> {
    let diff = TextDiff::from_chars(after, now);
    let (a, b) = (offsets(diff.old_slices()), offsets(diff.new_slices()));
    diff.ops().iter().find_map(|op| {
        let (old, new) = (op.old_range(), op.new_range());
        let old = a[old.start]..a[old.end];
        let inside = range.start >= old.start && range.end <= old.end;
        (matches!(op, DiffOp::Equal { .. }) && inside)
            .then(|| b[new.start] + range.start - old.start)
    })
}

/// Where each piece begins, and where the last ends.
fn offsets(pieces: &[&str]) -> Vec<usize> {
    let mut at = 0;
    let mut found = vec![0];
    for piece in pieces {
        at += piece.len();
        found.push(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edits(insertions: &[(usize, &str)]) -> Edits {
        let mut edits = Edits::default();
        for (at, text) in insertions {
            edits.insert(*at, *text);
        }
        edits
    }

    #[test]
    fn other_lines_may_have_changed() {
        let before = "a\nb\nc\n";
        let edits = edits(&[(2, "NEW\nLINES\n"), (3, " more")]);
        assert_eq!(edits.apply(before), "a\nNEW\nLINES\nb more\nc\n");
        let cases = [
            ("a\nNEW\nLINES\nb more\nc\n", before, 0),
            (before, before, 0),
            ("x\na\nNEW\nLINES\nb more\nd\n", "x\na\nb\nd\n", 0),
            ("a\nNEW\nLINES\nbb more text\nc\n", "a\nbb text\nc\n", 0),
            ("a\nNEW\nOTHER\nb more\nc\n", "a\nNEW\nOTHER\nb\nc\n", 1),
            ("a\nb more\nc\n", before, 0),
        ];
        for (now, text, left) in cases {
            let undone = undo(before, &edits, now);
            assert_eq!(
                (undone.text.as_str(), undone.left.len()),
                (text, left),
                "{now:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn lines_around_stay(
            before in prop::collection::vec("[a-c]{0,3}", 1..8),
            at in 0_usize..8,
            head in "[x-z]{0,3}", tail in "[x-z]{1,3}",
        ) {
            let before = before.join("\n") + "\n";
            let at = before.match_indices('\n').map(|(n, _)| n + 1).nth(at).unwrap_or(0);
            let edits = edits(&[(at, "NEW\n")]);
            let now = format!("{head}\n{}{tail}\n", edits.apply(&before));
            let undone = undo(&before, &edits, &now);
            prop_assert_eq!(undone.text, format!("{head}\n{before}{tail}\n"));
            prop_assert_eq!(undone.left, Vec::<String>::new());
        }
    }
}
