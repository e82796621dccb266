//! Go's text profile: `mode: set`, then `file:line.column,line.column statements count`.

use std::collections::HashSet;

use covtap_model::facts::data::Text;

/// Looks at a file; `None` when it is no text profile.
pub(super) fn of(file: String, bytes: &[u8]) -> Option<Text> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut facts = Text {
        file,
        ..Text::default()
    };
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if let Some(mode) = line.strip_prefix("mode:") {
            facts.modes.push((number, mode.trim().to_owned()));
        } else if let Some((unit, count)) = unit(line) {
            facts.units += 1;
            facts.any_ran |= count > 0;
            if !seen.insert(unit) {
                facts.repeated += 1;
                facts.first_repeated.get_or_insert(number);
            }
        } else if !line.trim().is_empty() {
            facts.malformed.get_or_insert(number);
        }
        // Any other text file says so in its first lines.
        if number == 5 && facts.units == 0 {
            return None;
        }
    }
    (!facts.modes.is_empty() && facts.malformed != Some(1) || facts.units > 0).then_some(facts)
}

/// The unit of a line, and its count.
fn unit(line: &str) -> Option<(&str, u64)> {
    let (rest, count) = line.rsplit_once(' ')?;
    let (unit, statements) = rest.rsplit_once(' ')?;
    let (_, range) = unit.rsplit_once(':')?;
    let (from, to) = range.split_once(',')?;
    let position = |text: &str| {
        let (line, column) = text.split_once('.')?;
        Some((line.parse::<u32>().ok()?, column.parse::<u32>().ok()?))
    };
    position(from)?;
    position(to)?;
    statements.parse::<u64>().ok()?;
    Some((unit, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn joined_profiles_are_told_from_whole_ones() {
        let one = "mode: set\nm/a.go:3.2,4.5 1 1\nm/a.go:6.2,7.5 2 0\n";
        let whole = of("c.out".into(), one.as_bytes()).unwrap();
        assert_eq!((whole.modes.len(), whole.units, whole.repeated), (1, 2, 0));
        assert!(whole.any_ran);
        let joined = format!("{one}{one}");
        let joined = of("c.out".into(), joined.as_bytes()).unwrap();
        assert_eq!(joined.modes, [(1, "set".into()), (4, "set".into())]);
        assert_eq!((joined.repeated, joined.first_repeated), (2, Some(5)));
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "hello\nworld\n", "a:b c d\n1\n2\n3\n4\n5\n"] {
            assert_eq!(of("x".into(), text.as_bytes()), None, "{text:?}");
        }
    }
}
