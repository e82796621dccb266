//! `NAME=value` as ENV and ARG have it.

/// Names and values of an ENV: `A=1 B="x y"`, or the old `A x y`. Quotes are taken away; variables in
/// values are not expanded.
#[must_use]
pub fn env_assignments(arguments: &str) -> Vec<(String, Option<String>)> {
    let words = words(arguments);
    match words.split_first() {
        Some((name, rest)) if !name.contains('=') && !rest.is_empty() => {
            vec![(name.clone(), Some(rest.join(" ")))]
        }
        _ => pairs(words),
    }
}

/// Names and defaults of an ARG: `A B=1`.
#[must_use]
pub fn arg_assignments(arguments: &str) -> Vec<(String, Option<String>)> {
    pairs(words(arguments))
}

fn pairs(words: Vec<String>) -> Vec<(String, Option<String>)> {
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
        .collect()
}

/// Whether a value has the variable's own value in it: `$NAME`, `${NAME}`, `${NAME:-…}`.
#[must_use]
pub fn expands(value: &str, name: &str) -> bool {
    value.match_indices('$').any(|(at, _)| {
        let rest = &value[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.strip_prefix(name).is_some_and(|after| {
            !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        })
    })
}

/// Words between blanks, quotes and backslashes taken away.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_their_quotes() {
        let pair = |n: &str, v: Option<&str>| (n.to_owned(), v.map(str::to_owned));
        assert_eq!(
            env_assignments(r#"A=1 B="x y" C='$D' E=f\ g"#),
            [
                pair("A", Some("1")),
                pair("B", Some("x y")),
                pair("C", Some("$D")),
                pair("E", Some("f g"))
            ]
        );
        assert_eq!(
            env_assignments("GOFLAGS -mod=vendor"),
            [pair("GOFLAGS", Some("-mod=vendor"))]
        );
        assert_eq!(env_assignments("A b c"), [pair("A", Some("b c"))]);
        assert_eq!(
            arg_assignments("A B=1"),
            [pair("A", None), pair("B", Some("1"))]
        );
        assert_eq!(env_assignments(""), []);
    }

    #[test]
    fn a_variable_in_a_value() {
        assert!(expands("$GOFLAGS -v", "GOFLAGS"));
        assert!(expands("-v ${GOFLAGS:-}", "GOFLAGS"));
        assert!(!expands("$GOFLAGS_MORE", "GOFLAGS"));
        assert!(!expands("GOFLAGS", "GOFLAGS"));
    }
}
