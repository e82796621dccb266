//! Package patterns as `go tool covdata -pkg` takes them: `...` stands for any string.

/// One or more patterns; a name matches when any of them does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Patterns separated by commas; empty ones are passed over.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        Self(
            list.split(',')
                .filter(|p| !p.is_empty())
                .map(Into::into)
                .collect(),
        )
    }

    /// Whether `name` matches any pattern.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.iter().any(|p| matches(p, name))
    }
}

/// `...` matches any string, also across slashes, but no line break; a pattern that ends in `/...`
/// also matches what stands before (`net/...` matches `net`). See `go help packages`.
fn matches(pattern: &str, name: &[u8]) -> bool {
    if let Some(parent) = pattern.strip_suffix("/...")
        && wild(parent, name)
    {
        return true;
    }
    wild(pattern, name)
}

fn wild(pattern: &str, name: &[u8]) -> bool {
    let mut literals = pattern.split("...").map(str::as_bytes);
    let first = literals.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut literals = literals.peekable();
    if literals.peek().is_none() {
        return rest.is_empty();
    }
    if name.contains(&b'\n') {
        return false;
    }
    // Leftmost matches are enough: what a wildcard could take more, the next one can take too.
    while let Some(literal) = literals.next() {
        if literals.peek().is_none() {
            return rest.ends_with(literal);
        }
        let Some(at) = find(rest, literal) else {
            return false;
        };
        rest = &rest[at + literal.len()..];
    }
    true
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::Patterns;

    #[test]
    fn patterns_match_as_go_help_packages_says() {
        let cases = [
            ("net/...", "net", true),
            ("net/...", "net/http", true),
            ("net/...", "netx", false),
            ("net...", "netx", true),
            ("...", "anything/at/all", true),
            ("a...c...e", "abcde", true),
            ("a...c...e", "abde", false),
            ("a...a", "a", false),
            ("x...ab...ab", "xab", false),
            ("x...ab...ab", "xabab", true),
            ("...http", "net/http", true),
            ("...http", "net/https", false),
            ("net.http", "netxhttp", false),
            (".../internal/...", "m/internal", true),
            (".../internal/...", "m/internal/x", true),
            ("", "x", false),
            ("a,b", "b", true),
            (",", "", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Patterns::parse(pattern).matches(name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
