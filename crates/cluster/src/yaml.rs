//! Objects of Kubernetes as YAML, for people to read and `kubectl apply` to take.
//!
//! Lists and mappings are in blocks; texts are as in JSON, of which YAML 1.2 is a superset, where they are not
//! plainly words.

use std::fmt::Write as _;

use serde_json::Value;

/// A document. Begins with `---`.
#[must_use]
pub fn document(value: &Value) -> String {
    let mut text = "---\n".to_owned();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                indent(depth, text);
                text.push_str(&scalar(&Value::String(key.clone())));
                text.push(':');
                nested(value, depth + 1, text);
            }
        }
        Value::Array(list) => {
            for value in list {
                indent(depth, text);
                text.push('-');
                match value {
                    // Its first entry stands beside the dash.
                    Value::Object(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        block(value, depth + 1, &mut inner);
                        text.push(' ');
                        text.push_str(inner.trim_start());
                    }
                    value => nested(value, depth + 1, text),
                }
            }
        }
        value => {
            indent(depth, text);
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
}

/// What stands behind a colon or a dash.
fn nested(value: &Value, depth: usize, text: &mut String) {
    let empty = match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    if empty {
        text.push(' ');
        text.push_str(&scalar(value));
        text.push('\n');
    } else {
        text.push('\n');
        block(value, depth, text);
    }
}

fn indent(depth: usize, text: &mut String) {
    // A number of blanks cannot fail to be written.
    let _ = write!(text, "{:1$}", "", depth * 2);
}

/// A value on one line.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(word) if is_plain(word) => word.clone(),
        value => value.to_string(),
    }
}

/// Whether a text cannot be taken for anything else, in YAML 1.1 either.
fn is_plain(word: &str) -> bool {
    const NO_WORDS: [&str; 11] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf",
    ];
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !word.ends_with(':')
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-./_:".contains(c))
        && !NO_WORDS.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::document;

    #[test]
    fn objects_are_blocks_and_odd_texts_are_quoted() {
        let value = json!({
            "a": "word", "b": "yes", "c": "812", "d": { "e": [], "f": {} },
            "g": [{ "h": 1, "i": ["j"] }, "/k: l"], "m": true, "n": "x\ny", "covtap/o": "p:1",
        });
        let text = "---\na: word\nb: \"yes\"\nc: \"812\"\ncovtap/o: p:1\nd:\n  e: []\n  f: {}\ng:\n  - h: 1\n    i:\n      - j\n  - \"/k: l\"\nm: true\n\"n\": \"x\\ny\"\n";
        assert_eq!(document(&value), text);
    }
}
