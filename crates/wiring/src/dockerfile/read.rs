//! Lines into instructions.

use std::ops::Range;

use super::{Dockerfile, Heredoc, Instruction};

/// Instructions that may have here-documents.
const WITH_HEREDOCS: [&str; 3] = ["RUN", "COPY", "ADD"];

pub(super) fn read(text: &str) -> Dockerfile<'_> {
    let lines = lines(text);
    let escape = escape(text, &lines);
    let mut instructions = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = content(text, &lines[at]);
        if is_comment(line) || line.trim().is_empty() {
            at += 1;
            continue;
        }
        let first = at;
        let mut last = at;
        // A comment or an empty line does not end what goes on.
        while goes_on(content(text, &lines[last]), escape)
            || (last > first && is_blank(content(text, &lines[last])))
        {
            if last + 1 == lines.len() {
                break;
            }
            last += 1;
        }
        let start = lines[first].start;
        let end = lines[last].start + content(text, &lines[last]).len();
        let (keyword, arguments) = keyword(text, start..end);
        at = last + 1;
        let mut heredocs = Vec::new();
        let effective = match keyword.as_str() {
            "ONBUILD" => self::keyword(text, arguments.clone()).0,
            _ => keyword.clone(),
        };
        if WITH_HEREDOCS.contains(&effective.as_str()) {
            for (name, strip_tabs) in heredoc_names(&blank(&text[arguments.clone()], escape)) {
                let body = lines.get(at).map_or(text.len(), |l| l.start);
                let ends = |line: &str| match strip_tabs {
                    true => line.trim_start_matches('\t') == name,
                    false => line == name,
                };
                while at < lines.len() && !ends(content(text, &lines[at])) {
                    at += 1;
                }
                let body = body..lines.get(at).map_or(text.len(), |l| l.start);
                heredocs.push(Heredoc { name, body });
                at = (at + 1).min(lines.len());
            }
        }
        instructions.push(Instruction {
            keyword,
            span: start..lines.get(at).map_or(text.len(), |l| l.start),
            line: first + 1,
            arguments,
            heredocs,
        });
    }
    Dockerfile {
        text,
        escape,
        instructions,
    }
}

/// The text of arguments with comment lines and escaped line ends turned into blanks.
pub(super) fn blank(text: &str, escape: char) -> String {
    let mut out = String::with_capacity(text.len());
    let all = lines(text);
    for (i, line) in all.iter().enumerate() {
        let content = content(text, line);
        let rest = &text[line.start + content.len()..line.end];
        let blanks = |n: usize| " ".repeat(n);
        if i > 0 && is_comment(content) {
            out.push_str(&blanks(content.len() + rest.len()));
        } else if goes_on(content, escape) {
            let kept = content.trim_end_matches([' ', '\t']);
            let kept = &kept[..kept.len() - escape.len_utf8()];
            out.push_str(kept);
            out.push_str(&blanks(line.end - line.start - kept.len()));
        } else if i > 0 && is_blank(content) && i + 1 < all.len() {
            out.push_str(&blanks(line.end - line.start));
        } else {
            out.push_str(&text[line.clone()]);
        }
    }
    out
}

/// Where the lines stand, line ends included. A byte order mark belongs to no line.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    while start < text.len() {
        let end = text[start..]
            .find('\n')
            .map_or(text.len(), |n| start + n + 1);
        lines.push(start..end);
        start = end;
    }
    lines
}

/// A line without its end.
fn content<'a>(text: &'a str, line: &Range<usize>) -> &'a str {
    let line = &text[line.clone()];
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn is_blank(line: &str) -> bool {
    is_comment(line) || line.trim().is_empty()
}

/// Whether the next line belongs to this one: it ends in the escape character, and not in two.
fn goes_on(line: &str, escape: char) -> bool {
    if is_comment(line) {
        return false;
    }
    let line = line.trim_end_matches([' ', '\t']);
    let Some(before) = line.strip_suffix(escape) else {
        return false;
    };
    !before.ends_with(escape)
}

/// The escape character: directives are the comments `# key=value` at the very beginning.
fn escape(text: &str, lines: &[Range<usize>]) -> char {
    for line in lines {
        let Some(comment) = content(text, line).trim_start().strip_prefix('#') else {
            break;
        };
        let Some((key, value)) = comment.split_once('=') else {
            break;
        };
        if key.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return '`';
        }
    }
    '\\'
}

/// The first word in capital letters, and where the rest stands.
fn keyword(text: &str, within: Range<usize>) -> (String, Range<usize>) {
    let all = &text[within.clone()];
    let lead = all.len() - all.trim_start().len();
    let word = all[lead..]
        .find(char::is_whitespace)
        .map_or(all.len(), |n| lead + n);
    let rest = &all[word..];
    let start = within.start + word + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    (all[lead..word].to_ascii_uppercase(), start..within.end)
}

/// Names of here-documents in arguments, and whether tabs before their lines count for nothing. In
/// quotes, `<<` is text.
fn heredoc_names(arguments: &str) -> Vec<(String, bool)> {
    let mut names = Vec::new();
    let mut quote = None;
    let mut rest = arguments.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None, '<') if arguments[at..].starts_with("<<<") => {
                // A here-string: it has no lines.
                rest.next();
                rest.next();
            }
            (None, '<') if arguments[at..].starts_with("<<") => {
                rest.next();
                let word = &arguments[at + 2..];
                let (word, strip) = match word.strip_prefix('-') {
                    Some(word) => (word, true),
                    None => (word, false),
                };
                let end = word
                    .find(|c: char| {
                        c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')' | '<' | '>')
                    })
                    .unwrap_or(word.len());
                let name = word[..end].trim_matches(['"', '\'']);
                if !name.is_empty() {
                    names.push((name.to_owned(), strip));
                }
                // Its quotes are no quotes of the command.
                while rest
                    .peek()
                    .is_some_and(|(n, _)| *n < at + 2 + usize::from(strip) + end)
                {
                    rest.next();
                }
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keywords(text: &str) -> Vec<(String, usize, String)> {
        let file = read(text);
        file.instructions
            .iter()
            .map(|i| {
                let arguments = file.arguments(i);
                let words: Vec<_> = arguments.split_whitespace().collect();
                (i.keyword.clone(), i.line, words.join(" "))
            })
            .collect()
    }

    fn one(keyword: &str, line: usize, arguments: &str) -> (String, usize, String) {
        (keyword.into(), line, arguments.into())
    }

    #[test]
    fn lines_go_on_and_comments_in_between_are_nothing() {
        let text =
            "from scratch\n# RUN go build\nRUN a \\\n  # && go build\n\n  && b\\ \n  c\nUSER 1\n";
        assert_eq!(
            keywords(text),
            [
                one("FROM", 1, "scratch"),
                one("RUN", 3, "a && b c"),
                one("USER", 8, "1")
            ]
        );
    }

    #[test]
    fn two_escapes_end_a_line_as_none_does() {
        assert_eq!(
            keywords("RUN a \\\\\nUSER 1"),
            [one("RUN", 1, "a \\\\"), one("USER", 2, "1")]
        );
    }

    #[test]
    fn a_directive_changes_the_escape_only_at_the_beginning() {
        assert_eq!(
            keywords("# escape=`\nRUN a `\n b\nRUN c:\\\nUSER 1"),
            [
                one("RUN", 2, "a b"),
                one("RUN", 4, "c:\\"),
                one("USER", 5, "1")
            ]
        );
        assert_eq!(
            keywords("# hello\n# escape=`\nRUN a `\nb c")[0],
            one("RUN", 3, "a `")
        );
    }

    #[test]
    fn heredocs_belong_to_their_instruction() {
        let text = "RUN <<EOF\ngo build\nEOF\nCOPY <<-\"A\" <<B /x/\n\tUSER 0\n\tA\nUSER 0\nB\nRUN echo '<<C' <<<D\nUSER 2\n";
        let file = read(text);
        let words: Vec<_> = file
            .instructions
            .iter()
            .map(|i| (&*i.keyword, i.line))
            .collect();
        assert_eq!(words, [("RUN", 1), ("COPY", 4), ("RUN", 9), ("USER", 10)]);
        assert_eq!(
            &text[file.instructions[0].heredocs[0].body.clone()],
            "go build\n"
        );
        let names: Vec<_> = file.instructions[1]
            .heredocs
            .iter()
            .map(|h| &*h.name)
            .collect();
        assert_eq!(names, ["A", "B"]);
        assert_eq!(
            &text[file.instructions[1].heredocs[1].body.clone()],
            "USER 0\n"
        );
    }

    #[test]
    fn windows_lines_and_a_byte_order_mark() {
        let text = "\u{feff}FROM a AS b\r\nRUN c \\\r\n d\r\nENV X=1";
        assert_eq!(
            keywords(text),
            [
                one("FROM", 1, "a AS b"),
                one("RUN", 2, "c d"),
                one("ENV", 4, "X=1")
            ]
        );
        let file = read(text);
        assert_eq!(file.line_end(&file.instructions[1]), "\r\n");
        assert_eq!(file.stages()[0].name.as_deref(), Some("b"));
    }

    proptest! {
        /// Whatever the text is: spans are in order, apart, and hold all but comments and blank lines.
        #[test]
        fn every_text_has_a_reading(parts in prop::collection::vec(prop::sample::select(vec![
            "FROM a", "RUN x", " \\", "\n", "\r\n", "# c", "<<E", "E", "\\", " ", "\t", "\"", "é", "ONBUILD ", "COPY ", "`",
        ]), 0..24)) {
            let text = parts.concat();
            let file = read(&text);
            let mut at = 0;
            for i in &file.instructions {
                prop_assert!(text[at..i.span.start].lines().all(is_blank));
                prop_assert!(i.span.start <= i.arguments.start && i.arguments.end <= i.span.end);
                prop_assert_eq!(file.arguments(i).len(), i.arguments.len());
                at = i.span.end;
            }
            prop_assert!(text[at..].lines().all(is_blank));
        }
    }
}
