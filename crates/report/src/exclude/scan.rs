//! Where the `//` comments of a source are, and which lines hold code.
//!
//! A marker inside a string or a block comment is none. The scan knows what Go, Rust, C and
//! JavaScript have in common: `//`, `/* */`, `"…"`, `` `…` ``, `'c'`.

use std::collections::BTreeSet;

/// A `//` comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comment<'a> {
    /// 1-based.
    pub(crate) line: u32,
    /// What follows `//`.
    pub(crate) text: &'a str,
}

/// What a source holds.
#[derive(Debug, Default)]
pub(crate) struct Scan<'a> {
    pub(crate) comments: Vec<Comment<'a>>,
    /// Lines with anything but blanks and comments.
    pub(crate) code: BTreeSet<u32>,
}

/// Scans `text`. `multi_line` says that `"…"` may span lines (Rust).
pub(crate) fn scan(text: &str, multi_line: bool) -> Scan<'_> {
    let mut scan = Scan::default();
    let bytes = text.as_bytes();
    let mut line = 1;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = match rest {
            [b'/', b'/', ..] => {
                let end = at + find(rest, b'\n').unwrap_or(rest.len());
                scan.comments.push(Comment {
                    line,
                    text: &text[at + 2..end],
                });
                at = end;
                continue;
            }
            [b'/', b'*', ..] => {
                let length = text[at + 2..].find("*/").map_or(rest.len(), |n| n + 4);
                line += newlines(&rest[..length]);
                at += length;
                continue;
            }
            [b'\n', ..] => {
                line += 1;
                at += 1;
                continue;
            }
            [c, ..] if c.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            [b'"', ..] => at + string(rest, multi_line),
            [b'`', ..] => at + find(&rest[1..], b'`').map_or(rest.len(), |n| n + 2),
            [b'\'', ..] => at + character(&text[at..]),
            _ => at + 1,
        };
        for _ in 0..=newlines(&bytes[at..end]) {
            scan.code.insert(line);
            line += 1;
        }
        line -= 1;
        at = end;
    }
    scan
}

fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|&b| b == wanted)
}

fn newlines(bytes: &[u8]) -> u32 {
    let n = bytes.iter().filter(|&&b| b == b'\n').count();
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Length of a string literal; an unclosed one ends before its line does.
fn string(bytes: &[u8], multi_line: bool) -> usize {
    let mut at = 1;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'\\' => at += 1,
            b'"' => return at + 1,
            b'\n' if !multi_line => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Length of a character literal; 1 for a lone quote (a lifetime in Rust).
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // The escaped character may itself be a quote.
            chars.next();
            chars
                .take_while(|&(_, c)| c != '\n')
                .find(|&(_, c)| c == '\'')
                .map_or(1, |(at, _)| at + 1)
        }
        Some((_, c)) if c != '\n' => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comments(text: &str) -> Vec<(u32, &str)> {
        scan(text, false)
            .comments
            .iter()
            .map(|c| (c.line, c.text))
            .collect()
    }

    #[test]
    fn comments_are_not_in_strings() {
        let go = "a := \"// no\" // yes 1\nb := `\n// no\n` // yes 4\nc := '\"' // yes 5\n/* // no\n*/ d := \"\\\"//\" // yes 7\ne := '\\'' // yes 8\nf(\"//\n// yes 10";
        assert_eq!(
            comments(go),
            [
                (1, " yes 1"),
                (4, " yes 4"),
                (5, " yes 5"),
                (7, " yes 7"),
                (8, " yes 8"),
                (10, " yes 10")
            ]
        );
        assert_eq!(comments("fn f<'a>(x: &'a str) { // yes"), [(1, " yes")]);
    }

    #[test]
    fn code_lines() {
        let s = scan("\n  // c\nx /*\n*/\n`a\nb`\n", false);
        assert_eq!(s.code.into_iter().collect::<Vec<_>>(), [3, 5, 6]);
        assert_eq!(scan("a(\"\n\n\")\n// x", true).comments[0].line, 4);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[/*\"'`\\\\\n é日x]{0,80}", multi: bool) {
            let lines = text.matches('\n').count() as u32 + 1;
            let s = scan(&text, multi);
            prop_assert!(s.comments.iter().all(|c| c.line <= lines && !c.text.contains('\n')));
            prop_assert!(s.code.iter().all(|&l| 1 <= l && l <= lines));
        }
    }
}
