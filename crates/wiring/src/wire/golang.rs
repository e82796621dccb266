//! Go code: the texts in it (manifests, Kind configurations), and the image builds that it starts.
//!
//! covtap never writes Go code. What could be inserted is shown as a patch, which its owner applies.

use std::ops::Range;

use super::{Edited, SWITCH};

/// A string of a Go file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it stands, without its quotes.
    pub span: Range<usize>,
    /// Whether it is written in backquotes, so that its bytes are those of the file.
    pub raw: bool,
}

/// The strings of a file, in order. What stands in a comment is none.
#[must_use]
pub fn strings(code: &str) -> Vec<Text> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += code[at..].find('\n').unwrap_or(code.len() - at)
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at += code[at + 2..].find("*/").map_or(code.len() - at, |n| n + 4)
            }
            b'`' => {
                let end = code[at + 1..].find('`').map_or(code.len(), |n| at + 1 + n);
                found.push(Text {
                    span: at + 1..end,
                    raw: true,
                });
                at = end + 1;
            }
            quote @ (b'"' | b'\'') => {
                let begin = at + 1;
                at = begin;
                while at < bytes.len() && bytes[at] != quote && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let end = at.min(bytes.len());
                if quote == b'"' && code.is_char_boundary(end) {
                    found.push(Text {
                        span: begin..end,
                        raw: false,
                    });
                }
                at = end + 1;
            }
            _ => at += 1,
        }
    }
    found
}

/// Gives image builds of a file (`"docker", "build"`) the build argument, where the environment has the flags.
/// `also` are the other files of its package: a build argument may be added there.
#[must_use]
pub fn image_builds(code: &str, argument: &str, also: &[&str]) -> Edited {
    let mut edited = Edited::default();
    let texts = strings(code);
    let verbs: Vec<(&Text, &Text)> = texts
        .windows(2)
        .filter(|pair| {
            let engine = matches!(&code[pair[0].span.clone()], "docker" | "podman" | "nerdctl");
            let between = code[pair[0].span.end..pair[1].span.start]
                .trim_matches('"')
                .trim();
            engine && &code[pair[1].span.clone()] == "build" && between == ","
        })
        .map(|pair| (&pair[0], &pair[1]))
        .collect();
    if verbs.is_empty() {
        return edited;
    }
    let names = |code: &str| {
        strings(code)
            .iter()
            .any(|t| code[t.span.clone()].starts_with(&format!("{argument}=")))
    };
    if names(code) || also.iter().any(|code| names(code)) {
        edited.done.push(format!(
            "an image build that gets the build argument {argument}"
        ));
        return edited;
    }
    for (engine, verb) in verbs {
        // gofmt sets blanks around the + of a list, and none in a call.
        let list = code[..engine.span.start - 1].trim_end().ends_with('{');
        let plus = if list { " + " } else { "+" };
        edited.edits.insert(
            verb.span.end + 1,
            format!(", \"--build-arg\", \"{argument}=\"{plus}os.Getenv(\"{SWITCH}\")"),
        );
    }
    if texts.iter().any(|t| &code[t.span.clone()] == "os") {
        return edited;
    }
    let block = code
        .find("\nimport (\n")
        .map(|at| at + "\nimport (\n".len());
    let imports = block.and_then(|at| code[at..].find("\n)").map(|n| at..at + n));
    match imports {
        Some(range) => {
            // Sorted, as gofmt has them, within the first group.
            let mut at = range.start;
            for line in code[range].split_inclusive('\n') {
                if line.trim().is_empty() || !line.starts_with("\t\"") || line.trim() > "\"os\"" {
                    break;
                }
                at += line.len();
            }
            edited.edits.insert(at, "\t\"os\"\n");
        }
        None => edited
            .blocked
            .push("its imports are not in one block: \"os\" is to be imported too".into()),
    }
    edited
}

/// Whether a string is the name of an image with a tag.
#[must_use]
pub fn looks_like_image(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    name.split_once(':').is_some_and(|(name, tag)| {
        let plain = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        plain(name) && plain(tag) && !name.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_are_found_and_comments_are_not() {
        let code =
            "a := \"x\\\"y\" // \"no\"\n/* `no` */ b := `raw \" text` + 'c' + '\"'\nc := \"z\"\n";
        let texts: Vec<&str> = strings(code)
            .iter()
            .map(|t| &code[t.span.clone()])
            .collect();
        assert_eq!(texts, ["x\\\"y", "raw \" text", "z"]);
    }

    #[test]
    fn a_build_gets_the_argument_that_the_environment_has() {
        let code = "package x\n\nimport (\n\t\"fmt\"\n\t\"strings\"\n)\n\nvar a = []string{\"docker\", \"build\", \"-t\", \"x\"}\n";
        let edited = image_builds(code, "GOFLAGS", &[]);
        let after = edited.edits.apply(code);
        assert_eq!(
            after,
            "package x\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"strings\"\n)\n\nvar a = []string{\"docker\", \"build\", \"--build-arg\", \"GOFLAGS=\" + os.Getenv(\"E2E_GOFLAGS\"), \"-t\", \"x\"}\n"
        );
        assert!(image_builds(&after, "GOFLAGS", &[]).edits.is_empty());
        assert!(
            image_builds(code, "GOFLAGS", &["x(\"GOFLAGS=-cover\")"])
                .edits
                .is_empty()
        );
        assert!(image_builds("// \"docker\", \"build\"\n", "GOFLAGS", &[]).is_nothing());
    }

    #[test]
    fn names_of_images() {
        for image in ["data-storage:e2e", "reg.example:5000/a/b:1.2"] {
            assert!(looks_like_image(image), "{image}");
        }
        for other in ["http://x:80/y z", "127.0.0.1:8080 ", "a: b", "x"] {
            assert!(!looks_like_image(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_code_is_too_strange(code in "[a\"'`/*\\\\\né,]{0,60}") {
            for text in strings(&code) {
                prop_assert!(code.get(text.span).is_some());
            }
            let _ = image_builds(&code, "GOFLAGS", &[]);
        }
    }
}
