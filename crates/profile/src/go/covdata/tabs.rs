//! Columns aligned with tabs, as Go's `text/tabwriter` aligns those of `covdata func`.

const TAB: usize = 8;

/// Appends `rows` of three cells: the first two padded with tabs to a common width.
pub(super) fn align(out: &mut Vec<u8>, rows: &[[Vec<u8>; 3]]) {
    let width = |column: usize| {
        let widest = rows.iter().map(|r| columns(&r[column])).max().unwrap_or(0);
        // One column of padding at least, then up to a tab stop.
        (widest + 1).next_multiple_of(TAB)
    };
    let widths = [width(0), width(1)];
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            out.extend_from_slice(cell);
            out.resize(out.len() + (width - columns(cell)).div_ceil(TAB), b'\t');
        }
        out.extend_from_slice(&row[2]);
        out.push(b'\n');
    }
}

/// Characters, as Go counts them: every byte that is no UTF-8 is one.
fn columns(text: &[u8]) -> usize {
    text.utf8_chunks()
        .map(|c| c.valid().chars().count() + c.invalid().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn cells_end_at_tab_stops() {
        let row = |a: &str, b: &str| [a.into(), b.into(), b"1%".to_vec()];
        let mut out = Vec::new();
        align(&mut out, &[row("1234567", "f"), row("ü", "12345678")]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1234567\tf\t\t1%\nü\t12345678\t1%\n"
        );
    }
}
