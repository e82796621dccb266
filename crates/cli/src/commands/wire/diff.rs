//! Diffs as `git apply` takes them.

use covtap_model::problem::printable;
use covtap_wiring::wire::plan::Change;
use similar::TextDiff;

use crate::output::{self, BAD, FAINT, GOOD, HEAD};

/// The unified diff of a change.
pub(crate) fn unified(prefix: &str, change: &Change) -> String {
    let after = change.after();
    let diff = TextDiff::from_lines(change.before.as_deref().unwrap_or_default(), &after);
    let path = format!("{prefix}{}", change.path);
    let (old, new) = match change.before {
        Some(_) => (format!("a/{path}"), ""),
        None => ("/dev/null".to_owned(), "new file mode 100644\n"),
    };
    let mut unified = diff.unified_diff();
    let hunks = unified.context_radius(3).header(&old, &format!("b/{path}"));
    format!("diff --git a/{path} b/{path}\n{new}{hunks}")
}

/// The same with colours, where stdout shows them.
pub(crate) fn colored(diff: &str) -> String {
    if !output::stdout_has_color() {
        return diff.to_owned();
    }
    let mut out = String::with_capacity(2 * diff.len());
    for line in diff.lines() {
        let style = match line.as_bytes() {
            [b'd', b'i', ..]
            | [b'n', b'e', ..]
            | [b'-', b'-', b'-', ..]
            | [b'+', b'+', b'+', ..] => HEAD,
            [b'+', ..] => GOOD,
            [b'-', ..] => BAD,
            [b'@', ..] => FAINT,
            _ => anstyle::Style::new(),
        };
        out.push_str(&format!("{style}{}{style:#}\n", printable(line)));
    }
    out
}
