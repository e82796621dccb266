//! `go.mod` and `go.work`: the directives that say where a module lies.
//!
//! The format (go.dev/ref/mod, Go 1.21 to 1.27), as far as it matters here:
//!
//! ```text
//! module example.org/shop              one line: verb, arguments
//! replace example.org/a => ./a         a local folder begins with ./, ../ or is absolute
//! replace (                            a block: the verb is taken from its head
//!     example.org/b v1.2.3 => "../b"   strings may be quoted with " or `
//! ) // comments run to the end of the line
//! use ./tools                          go.work only
//! ```

/// What a `go.mod` or `go.work` says about folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModFile {
    /// The path of the module (`go.mod`).
    pub(crate) module: Option<String>,
    /// Module path and the local folder that takes its place, relative to the file.
    pub(crate) replaced: Vec<(String, String)>,
    /// Folders of a workspace, relative to the file (`go.work`).
    pub(crate) used: Vec<String>,
    /// 1-based lines that could not be read, with the reason.
    pub(crate) bad: Vec<(usize, String)>,
}

/// Reads a `go.mod` or `go.work`. Directives without folders (`require`, `go`…) are skipped.
pub(crate) fn parse(text: &str) -> ModFile {
    let mut file = ModFile::default();
    let mut block: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let tokens = match tokens(line) {
            Ok(tokens) => tokens,
            Err(reason) => {
                file.bad.push((number, reason.into()));
                continue;
            }
        };
        let words: Vec<&str> = tokens.iter().map(String::as_str).collect();
        match (block.as_deref(), words.as_slice()) {
            (_, []) => {}
            (Some(_), [")"]) => block = None,
            (None, [verb, "("]) => block = Some((*verb).to_owned()),
            (None, [verb, "(", ")"]) if !verb.is_empty() => {}
            (None, [verb, arguments @ ..]) => file.directive(number, verb, arguments),
            (Some(verb), arguments) => {
                let verb = verb.to_owned();
                file.directive(number, &verb, arguments);
            }
        }
    }
    if let Some(verb) = block {
        file.bad
            .push((text.lines().count(), format!("`{verb} (` is not closed")));
    }
    file
}

impl ModFile {
    fn directive(&mut self, number: usize, verb: &str, arguments: &[&str]) {
        match (verb, arguments) {
            ("module", [path]) => self.module = Some((*path).to_owned()),
            ("use", [folder]) => self.used.push((*folder).to_owned()),
            ("replace", [path, "=>", folder] | [path, _, "=>", folder]) if is_folder(folder) => {
                self.replaced
                    .push(((*path).to_owned(), (*folder).to_owned()));
            }
            // Replaced by another module of that version: nothing local.
            ("replace", [_, "=>", _, _] | [_, _, "=>", _, _]) => {}
            ("module" | "use" | "replace", _) => {
                self.bad.push((number, format!("unknown form of `{verb}`")))
            }
            _ => {}
        }
    }
}

/// Go's rule: a replacement without version that begins like a path is a folder.
fn is_folder(text: &str) -> bool {
    text == "."
        || text == ".."
        || text.starts_with("./")
        || text.starts_with("../")
        || text.starts_with('/')
}

/// The words of a line, without comment; quoted ones without their quotes.
fn tokens(line: &str) -> Result<Vec<String>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            break;
        }
        let taken = match first {
            '(' | ')' => {
                tokens.push(first.to_string());
                1
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("a string is not closed")?;
                tokens.push(rest[1..=end].to_owned());
                end + 2
            }
            '"' => {
                let (word, taken) = quoted(rest)?;
                tokens.push(word);
                taken
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || c == '(' || c == ')')
                    .unwrap_or(rest.len());
                let end = rest[..end].find("//").filter(|&at| at > 0).unwrap_or(end);
                tokens.push(rest[..end].to_owned());
                end
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// A string in double quotes at the start of `text`, and the bytes it takes. Of Go's escapes only
/// those of `\` and `"` can be in a path.
fn quoted(text: &str) -> Result<(String, usize), &'static str> {
    let mut word = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((word, at + 1)),
            '\\' => match chars.next() {
                Some((_, c @ ('\\' | '"'))) => word.push(c),
                _ => return Err("an escape that no path needs"),
            },
            c => word.push(c),
        }
    }
    Err("a string is not closed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_forms() {
        let file = parse(
            r#"// Deprecated: (no)
module "example.org/shop" // the shop

go 1.26
require (
    example.org/x v1.0.0 // indirect
)
replace example.org/a => ./a
replace example.org/b v1.2.3 => ../b // old
replace (
	example.org/c => `./my c`
	example.org/d v1 => example.org/e v2
	"example.org/f" => "/abs/\"f\""
)
retract [v1.0.0, v1.1.0]
exclude example.org/z v1.0.0
"#,
        );
        let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(file.module.as_deref(), Some("example.org/shop"));
        assert_eq!(
            file.replaced,
            [
                of("example.org/a", "./a"),
                of("example.org/b", "../b"),
                of("example.org/c", "./my c"),
                of("example.org/f", "/abs/\"f\""),
            ]
        );
        assert_eq!(file.bad, []);
    }

    #[test]
    fn workspaces() {
        let file =
            parse("go 1.26\nuse (\n  .\n  ./tools//x is a comment\n)\r\nuse ./api\nuse ()\n");
        assert_eq!(file.used, [".", "./tools", "./api"]);
        assert_eq!(file.bad, []);
    }

    #[test]
    fn a_module_block_is_a_module() {
        assert_eq!(
            parse("module (\n\texample.org/m\n)").module.as_deref(),
            Some("example.org/m")
        );
    }

    #[test]
    fn bad_lines_are_named_and_the_rest_is_read() {
        let file = parse("module \"x\nreplace a b\nmodule m\nuse (\n./a\n");
        assert_eq!(file.module.as_deref(), Some("m"));
        assert_eq!(file.used, ["./a"]);
        let lines: Vec<usize> = file.bad.iter().map(|b| b.0).collect();
        assert_eq!(lines, [1, 2, 5]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n\t`\"é()]{0,200}") {
            let _ = parse(&text);
        }
    }
}
