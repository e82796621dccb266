//! Untrusted names, made harmless for the text they are put into.

use std::borrow::Cow;

use covtap_model::problem::printable;

/// `text` on one line: no control, no bidirectional formatting, no line or paragraph separator,
/// and nothing that XML 1.0 cannot hold. Such characters are shown as `\u{…}`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let odd = |c: char| {
        matches!(
            c,
            '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    let text = printable(text);
    if !text.contains(odd) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if odd(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// For XML text and attribute values (Cobertura, SVG).
pub(crate) fn xml(text: &str) -> String {
    quick_xml::escape::escape(plain(text)).into_owned()
}

/// For Markdown with inline HTML, in a table cell or anywhere else.
///
/// What Markdown or HTML could take for markup, a table border, a mention or a link becomes a
/// character reference. `_` stays: inside a word it is no markup, and names are full of it.
#[must_use]
pub fn markdown(text: &str) -> String {
    let text = plain(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '`' | '*' | '[' | ']' | '\\' | '~' | '@' | '#' | '!' | ':' | '$' | '"' | '\'' => {
                out.push_str("&#");
                out.push_str(&u32::from(c).to_string());
                out.push(';');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(plain("a.go"), "a.go");
        assert_eq!(
            plain("a\nb\u{2028}c\u{202e}d\u{61c}\u{ffff}"),
            "a\\u{a}b\\u{2028}c\\u{202e}d\\u{61c}\\u{ffff}"
        );
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(xml("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;&apos;");
        assert_eq!(
            markdown("<b>|`@x` a_b.go"),
            "&lt;b&gt;&#124;&#96;&#64;x&#96; a_b.go"
        );
    }
}
