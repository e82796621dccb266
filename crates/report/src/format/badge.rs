//! A badge: a small SVG with the word "coverage" and the total.
//!
//! The number is always there, so that the colour is never the only sign. Widths are sums of
//! estimated glyph widths, and `textLength` makes every font fit them.

use std::io::{self, Write};

use covtap_model::coverage::Coverage;
use covtap_model::percent::Ratio;

use crate::escape::xml;

const LABEL: &str = "coverage";
const HEIGHT: u32 = 20;
/// Space left and right of a text, in pixels.
const PADDING: u32 = 6;

pub(super) fn write(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    let total = coverage.totals.statements;
    let value = match total.permille() {
        Some(_) => total.to_string(),
        None => "no data".into(),
    };
    let (label, value) = (xml(LABEL), xml(&value));
    let (label_text, value_text) = (text_width(&label), text_width(&value));
    let (left, right) = (label_text + 2 * PADDING, value_text + 2 * PADDING);
    let width = left + right;
    let color = color(total);
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{label}: {value}">
<title>{label}: {value}</title>
<clipPath id="r"><rect width="{width}" height="{HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{left}" height="{HEIGHT}" fill="#444"/>
<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{color}"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{PADDING}" y="14" textLength="{label_text}">{label}</text>
<text x="{}" y="14" textLength="{value_text}">{value}</text>
</g>
</svg>"##,
        left + PADDING
    )
}

/// Dark enough for white text (contrast above 4.5).
fn color(total: Ratio) -> &'static str {
    match total.permille() {
        None => "#666",
        Some(800..) => "#1a7f37",
        Some(500..) => "#8a6100",
        Some(_) => "#b3261e",
    }
}

/// Width of a text in pixels at 11 px, rounded up.
fn text_width(text: &str) -> u32 {
    let tenths: u32 = text
        .chars()
        .map(|c| match c {
            '0'..='9' => 70,
            '.' | ' ' => 40,
            '%' => 118,
            'm' | 'w' => 96,
            'i' | 'j' | 'l' | 't' | 'f' | 'r' => 42,
            _ => 66,
        })
        .sum();
    tenths.div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::super::shared_tests::{document, rendered, sample};
    use super::super::{Format, Options};
    use super::*;

    #[test]
    fn it_says_the_number_and_grows_with_it() {
        let svg = rendered(Format::Badge, &sample(), &Options::default());
        assert!(svg.contains("<title>coverage: 55.5%</title>"), "{svg}");
        assert!(svg.contains(r#"role="img""#) && svg.contains("#8a6100"));
        let empty = rendered(Format::Badge, &document(vec![]), &Options::default());
        assert!(empty.contains("coverage: no data"), "{empty}");
        assert!(text_width("100.0%") > text_width("9.0%"));
    }

    #[test]
    fn colours_follow_the_printed_number() {
        assert_eq!(color(Ratio::new(7_999, 10_000)), "#8a6100");
        assert_eq!(color(Ratio::new(8, 10)), "#1a7f37");
        assert_eq!(color(Ratio::new(49, 100)), "#b3261e");
    }
}
