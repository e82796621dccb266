//! Templates as YAML: what only the run fills in becomes `${…}`, lines that only steer become empty.

/// What stands where only the run knows.
pub(super) const OPEN: &str = "${…}";

/// The same lines, readable as YAML, and whether something is put in as whole lines, so that what is
/// not there may be.
pub(super) fn masked(text: &str, verbs: bool) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut open = false;
    let mut rest = text;
    let mut masked = String::with_capacity(text.len());
    // Actions may go over several lines: their line ends are kept.
    while let Some(at) = rest.find("{{") {
        masked.push_str(&rest[..at]);
        let Some(end) = rest[at..].find("}}") else {
            masked.push_str(&rest[at..]);
            rest = "";
            break;
        };
        let action = &rest[at + 2..at + end];
        rest = &rest[at + end + 2..];
        masked.push('\u{1}');
        if steers(action) {
            masked.push('\u{2}');
        }
        masked.extend(action.chars().filter(|c| *c == '\n'));
        masked.push('\u{3}');
    }
    masked.push_str(rest);
    for line in masked.split_inclusive('\n') {
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, ""),
        };
        let bare: String = content.chars().filter(|c| *c != '\u{3}').collect();
        let trimmed = bare.trim();
        if trimmed.starts_with('\u{1}')
            && trimmed
                .chars()
                .all(|c| matches!(c, '\u{1}' | '\u{2}' | ' '))
        {
            // A whole line: it steers, or brings lines of its own.
            open |= trimmed.matches('\u{1}').count() > trimmed.matches('\u{2}').count();
            out.push_str(end);
            continue;
        }
        let mut line = bare.replace("\u{1}\u{2}", "").replace('\u{1}', OPEN);
        if verbs {
            let (filled, alone) = without_verbs(&line);
            if alone {
                open = true;
                out.push_str(end);
                continue;
            }
            line = filled;
        }
        // A value that goes on with lines of the template's: `annotations: {{ toYaml … }}`.
        out.push_str(&line);
        out.push_str(end);
    }
    (out, open)
}

/// A text whose first line, an item of a list, has lost the blanks before it: code puts it behind them.
pub(super) fn aligned(text: String) -> String {
    let mut lines = text.lines();
    let first = lines
        .next()
        .is_some_and(|l| l.starts_with("- ") && l.contains(':'));
    let second = lines.find(|l| !l.trim().is_empty());
    let blanks = second.map_or(0, |l| l.len() - l.trim_start().len());
    match first && blanks > 2 {
        true => format!("{}{text}", " ".repeat(blanks - 2)),
        false => text,
    }
}

/// Whether an action only steers: `if`, `end`, `range`, a comment.
fn steers(action: &str) -> bool {
    let action = action.trim_matches(|c: char| c == '-' || c.is_whitespace());
    let word = action
        .split(|c: char| c.is_whitespace())
        .next()
        .unwrap_or_default();
    matches!(
        word,
        "if" | "else" | "end" | "range" | "with" | "define" | "block" | "break" | "continue"
    ) || action.starts_with("/*")
        || action.starts_with('$') && action.contains(":=")
}

/// A line with the verbs of `fmt.Sprintf` filled, and whether one of them is all of it.
fn without_verbs(line: &str) -> (String, bool) {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    let mut any = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let verb = &rest[at + 1..];
        if let Some(after) = verb.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let flags = verb
            .find(|c: char| !matches!(c, '[' | ']' | '0'..='9' | '+' | '#' | '-' | '.'))
            .unwrap_or(verb.len());
        match verb[flags..].chars().next() {
            Some(c @ ('s' | 'd' | 'v' | 'q' | 't' | 'x' | 'f')) => {
                any = true;
                out.push_str(OPEN);
                rest = &verb[flags + c.len_utf8()..];
            }
            _ => {
                out.push('%');
                rest = verb;
            }
        }
    }
    out.push_str(rest);
    let alone = any && out.replace(OPEN, "").trim().is_empty();
    (out, alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_what_is_put_in_is_open() {
        let text = "a: {{ .Values.x }}\n{{- if .On }}\n  b: \"{{.C}}-x\"\n{{- end }}\n{{ toYaml .d\n | nindent 2 }}\ne: 1\n";
        let (out, open) = masked(text, false);
        assert_eq!(out, "a: ${…}\n\n  b: \"${…}-x\"\n\n\n\ne: 1\n");
        assert!(open);
        assert!(!masked("a: {{ .b }}\n{{- /* c */}}\n", false).1);
    }

    #[test]
    fn verbs_are_filled() {
        assert_eq!(
            masked("a: %s\nb: %[2]d%%\n", true),
            ("a: ${…}\nb: ${…}%\n".to_owned(), false)
        );
        assert_eq!(
            masked("a:\n  %s\nb: 1", true),
            ("a:\n\nb: 1".to_owned(), true)
        );
    }
}
