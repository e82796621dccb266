//! `.gitignore`: coverage data are not committed.

use super::{Edited, append};
use crate::edit::Edits;

/// Makes the host's directory ignored, in the `.gitignore` of the repository's root.
#[must_use]
pub fn wire(text: &str) -> Edited {
    let known = text
        .lines()
        .map(|l| l.trim_start_matches('\u{feff}').trim())
        .any(|line| {
            matches!(
                line.trim_start_matches("**/")
                    .trim_start_matches('/')
                    .trim_end_matches('*')
                    .trim_end_matches('/'),
                "coverdata"
            ) && !line.starts_with('#')
        });
    match known {
        true => Edited {
            edits: Edits::default(),
            done: vec!["coverdata is ignored".into()],
            blocked: Vec::new(),
        },
        false => Edited {
            edits: append(text, &["/coverdata/"]),
            ..Edited::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_the_end_once() {
        for (before, after) in [
            ("", "/coverdata/\n"),
            ("*.db\r\n", "*.db\r\n/coverdata/\r\n"),
            ("*.db", "*.db\n/coverdata/"),
            ("# coverdata\n", "# coverdata\n/coverdata/\n"),
        ] {
            assert_eq!(wire(before).edits.apply(before), after);
            assert!(wire(after).edits.is_empty());
        }
        for known in [
            "coverdata\n",
            "/coverdata\n",
            "**/coverdata/\n",
            "coverdata/*",
        ] {
            assert!(wire(known).edits.is_empty(), "{known}");
        }
    }
}
