//! Texts with template actions in them (`{{ … }}`), as the plain text they stand in.
//!
//! ```text
//! {{- if .Coverage }}           alone on its lines: a comment of the same length
//! - name: {{ .Name }}           within a line: a word of the same length
//! {{- end }}
//! ```
//!
//! Byte n of the masked text is byte n of the template. Upstream: Go's text/template, as Helm has it too.

use std::ops::Range;

/// A template as plain text.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text without its actions, byte for byte as long.
    pub masked: String,
    actions: Vec<Action>,
}

#[derive(Clone, Debug)]
struct Action {
    span: Range<usize>,
    /// How many blocks are open behind it more than before it.
    opens: isize,
}

/// Whether a text has template actions.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.match_indices("{{").any(|(at, _)| {
        // `${{ … }}` is an expression of GitHub, within plain words.
        !text[..at].ends_with('$') && text[at..].contains("}}")
    })
}

impl Template {
    /// Reads one. Text without actions is itself.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut masked = String::with_capacity(text.len());
        let mut actions = Vec::new();
        let mut from = 0;
        while let Some(at) = text[from..].find("{{").map(|at| from + at) {
            let Some(end) = end_of_action(text, at) else {
                break;
            };
            masked.push_str(&text[from..at]);
            let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
            let before = masked[line..].trim();
            let rest = text[end..].split('\n').next().unwrap_or_default().trim();
            let alone = (before.is_empty() || before.starts_with('#'))
                && (rest.is_empty() || rest.starts_with("{{"));
            masked.push_str(&mask(&text[at..end], alone));
            let inner = text[at + 2..end - 2].trim_matches('-').trim();
            let word = inner
                .split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default();
            let opens = match word {
                "if" | "range" | "with" | "define" | "block" => 1,
                "end" => -1,
                _ => 0,
            };
            actions.push(Action {
                span: at..end,
                opens,
            });
            from = end;
        }
        masked.push_str(&text[from..]);
        Self { masked, actions }
    }

    /// A file of text: a template where it has actions.
    #[must_use]
    pub fn of_file(text: &str) -> Self {
        if is_template(text) {
            Self::read(text)
        } else {
            Self::plain(text)
        }
    }

    /// A string in code: maybe a template, maybe with the verbs of Go's fmt in it.
    #[must_use]
    pub fn of_string(text: &str) -> Self {
        let mut template = Self::of_file(text);
        let verbs: Vec<usize> = template
            .masked
            .match_indices('%')
            .map(|(at, _)| at)
            .filter(|at| text[at + 1..].starts_with(['s', 'd', 'v', 'q', 't']))
            .collect();
        for at in verbs {
            template.masked.replace_range(at..at + 2, "xx");
        }
        template
    }

    /// A text that is no template, whatever stands in it.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self {
            masked: text.to_owned(),
            actions: Vec::new(),
        }
    }

    /// In how many blocks a byte stands.
    #[must_use]
    pub fn depth(&self, at: usize) -> isize {
        self.actions
            .iter()
            .take_while(|a| a.span.end <= at)
            .map(|a| a.opens)
            .sum()
    }

    /// Where something goes that is to stand in `depth` blocks, behind a line's beginning: lines with nothing
    /// but actions are part of what stands before them. `None` where that is in other blocks.
    #[must_use]
    pub fn settle(&self, mut at: usize, depth: isize) -> Option<usize> {
        let mut best = None;
        loop {
            let here = self.depth(at);
            if here == depth {
                best = Some(at);
            }
            let end = self.masked[at..]
                .find('\n')
                .map_or(self.masked.len(), |n| at + n + 1);
            let action = self.masked[at..end].trim_start().starts_with('#')
                && self
                    .actions
                    .iter()
                    .any(|a| a.span.start < end && a.span.end > at);
            if here < depth || !action {
                return best;
            }
            at = end;
        }
    }
}

/// The byte behind an action that begins at a byte. Quotes in it may hold braces.
fn end_of_action(text: &str, at: usize) -> Option<usize> {
    let inner = &text[at + 2..];
    if inner.trim_start_matches('-').trim_start().starts_with("/*") {
        let close = inner.find("*/")?;
        return inner[close..].find("}}").map(|n| at + 2 + close + n + 2);
    }
    let mut quote = None;
    let mut escaped = false;
    for (n, c) in inner.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') => quote = Some(c),
            None if inner[n..].starts_with("}}") => return Some(at + 2 + n + 2),
            None => {}
        }
    }
    None
}

/// Something as long as an action, lines kept.
fn mask(action: &str, alone: bool) -> String {
    let mut line_begins = true;
    action
        .bytes()
        .map(|byte| match byte {
            b'\n' | b'\r' => {
                line_begins = true;
                char::from(byte)
            }
            _ if alone && line_begins => {
                line_begins = false;
                '#'
            }
            _ if alone => '_',
            _ => 'x',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn actions_become_comments_and_words() {
        let text = "a:\n{{- if .X }}\n  b: {{ .Y }}/{{ .Z | quote }}\n{{- end }}\n";
        let template = Template::read(text);
        assert_eq!(
            template.masked,
            "a:\n#___________\n  b: xxxxxxxx/xxxxxxxxxxxxxxxx\n#_________\n"
        );
        assert_eq!(template.depth(0), 0);
        assert_eq!(template.depth(text.find("b:").expect("there")), 1);
        let end = text.find("{{- end").expect("there");
        assert_eq!(template.settle(end, 0), Some(text.len()));
        assert_eq!(template.settle(text.find("  b:").expect("there"), 0), None);
    }

    #[test]
    fn braces_in_quotes_and_comments_end_nothing() {
        for text in [
            "{{ \"}}\" }}",
            "{{ `}}` }}",
            "{{/* }} */}}",
            "{{ \"\\\"}}\" }}",
        ] {
            let masked = Template::read(text).masked;
            assert_eq!(masked.len(), text.len());
            assert!(
                masked.bytes().all(|b| matches!(b, b'#' | b'_')),
                "{text}: {masked}"
            );
        }
    }

    #[test]
    fn expressions_of_github_are_no_actions() {
        assert!(is_template("a: {{ .X }}"));
        assert!(!is_template("if: ${{ matrix.x }}"));
    }

    #[test]
    fn what_an_action_makes_belongs_to_what_stands_before_it() {
        let text = "a:\n{{- with .X }}\n{{ toYaml . }}\n{{- end }}\n{{ if .Y }}\nb: 1\n{{ end }}\n";
        let template = Template::read(text);
        assert_eq!(template.settle(3, 0), text.find("{{ if"));
    }

    proptest! {
        #[test]
        fn every_byte_stays_where_it_is(text in "[a\n\r #:{}\"/*-]{0,60}") {
            let template = Template::read(&text);
            prop_assert_eq!(template.masked.len(), text.len());
            for (a, b) in template.masked.bytes().zip(text.bytes()) {
                prop_assert_eq!(a == b'\n', b == b'\n');
            }
        }
    }
}
