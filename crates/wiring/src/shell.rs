//! The commands in a shell text, wherever they stand in it: behind `&&`, in an `if`, in a subshell, in
//! `sh -c '…'`. A comment, a string or a here-document's text is no command.

use std::ops::Range;

use tree_sitter::{Node, Parser};

/// Scripts in scripts are followed no deeper.
const DEEPEST: usize = 4;
/// Commands that run the command after them, and whether they have an argument before it.
const WRAPPERS: [(&str, bool); 7] = [
    ("env", false),
    ("exec", false),
    ("nice", false),
    ("sudo", false),
    ("time", false),
    ("command", false),
    ("timeout", true),
];
/// Shells whose `-c` is a script.
const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "zsh"];

/// A simple command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The variables that it is given: `CGO_ENABLED=0 go build`, values without their outer quotes.
    pub assignments: Vec<(String, String)>,
    /// Its words, without outer quotes; the first is what is run. Never empty.
    pub words: Vec<Word>,
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without its outer quotes.
    pub text: String,
    /// Where it stands, quotes included; `None` in a script whose bytes are not those of the text.
    pub span: Option<Range<usize>>,
}

impl Command {
    /// What is run, without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        let text = &self.words[0].text;
        text.rsplit('/').next().unwrap_or(text)
    }
}

/// Whether a command is a shell.
#[must_use]
pub fn is_shell(command: &Command) -> bool {
    is_shell_name(command.name())
}

/// Whether a program without its folder is a shell.
pub(crate) fn is_shell_name(name: &str) -> bool {
    SHELLS.contains(&name)
}

/// All commands of a text, in its order. What cannot be read as shell is skipped, the rest is there.
#[must_use]
pub fn commands(text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    script(text, Some(0), 0, &mut found);
    found
}

/// Those of a script that begins at a byte of the text, when its bytes are those of the text.
fn script(text: &str, start: Option<usize>, depth: usize, found: &mut Vec<Command>) {
    let mut parser = Parser::new();
    // The grammar and the library are of versions that go together: a test parses with them.
    if parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .is_err()
    {
        return;
    }
    let Some(tree) = parser.parse(text, None) else {
        return;
    };
    let mut cursor = tree.walk();
    let mut waiting = vec![tree.root_node()];
    while let Some(node) = waiting.pop() {
        if node.kind() == "command"
            && let Some(command) = command(node, text, start)
        {
            let inner = inner_script(&command);
            found.push(unwrapped(command));
            if let (Some((inner, at)), true) = (inner, depth < DEEPEST) {
                script(&inner, at, depth + 1, found);
            }
        }
        let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
        waiting.extend(children.into_iter().rev());
    }
}

pub(crate) fn command(node: Node<'_>, text: &str, start: Option<usize>) -> Option<Command> {
    let mut assignments = Vec::new();
    let mut words = Vec::new();
    for child in node.children(&mut node.walk()) {
        match child.kind() {
            "variable_assignment" => assignments.extend(assignment(&text[child.byte_range()])),
            "file_redirect" | "heredoc_redirect" | "herestring_redirect" => {}
            _ => words.push(Word {
                text: unquoted(&text[child.byte_range()]).to_owned(),
                span: start.map(|s| s + child.start_byte()..s + child.end_byte()),
            }),
        }
    }
    (!words.is_empty()).then_some(Command { assignments, words })
}

fn assignment(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), unquoted(value).to_owned()))
}

/// The same command without `env A=b`, `time`, `nice` before it.
pub(crate) fn unwrapped(mut command: Command) -> Command {
    while let Some(&(_, argument)) = WRAPPERS.iter().find(|(n, _)| *n == command.name()) {
        let mut rest = command.words[1..]
            .iter()
            .skip_while(|w| w.text.starts_with('-'));
        if argument {
            rest.next();
        }
        let rest: Vec<Word> = rest.cloned().collect();
        let given = rest
            .iter()
            .take_while(|w| w.text.contains('=') && !w.text.starts_with('-'))
            .count();
        if given == rest.len() {
            break;
        }
        command
            .assignments
            .extend(rest[..given].iter().filter_map(|w| assignment(&w.text)));
        command.words = rest[given..].to_vec();
    }
    command
}

/// The script of `sh -c '…'`, and where it begins in the text.
pub(crate) fn inner_script(command: &Command) -> Option<(String, Option<usize>)> {
    if !is_shell(command) {
        return None;
    }
    let flag = command.words.iter().position(|w| {
        w.text.starts_with('-') && !w.text.starts_with("--") && w.text.ends_with('c')
    })?;
    let word = command.words.get(flag + 1)?;
    let quoted = word
        .span
        .as_ref()
        .is_some_and(|s| s.len() == word.text.len() + 2);
    let at = word.span.as_ref().map(|s| s.start + usize::from(quoted));
    // An escape in the string is another byte in the script.
    Some((word.text.clone(), at.filter(|_| !word.text.contains('\\'))))
}

pub(crate) fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        commands(text)
            .iter()
            .map(|c| {
                let given = c.assignments.iter().map(|(n, v)| format!("{n}={v}"));
                let words = c.words.iter().map(|w| w.text.clone());
                given.chain(words).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn commands_wherever_they_stand() {
        let text = "set -e; A=1 B=\"x y\" go build -o /a ./cmd/a && (cd b; go vet) # go test\n\
                    if true; then go install ./...; fi\necho 'go run' \"go fix\" > /x";
        assert_eq!(
            texts(text),
            [
                "set -e",
                "A=1 B=x y go build -o /a ./cmd/a",
                "cd b",
                "go vet",
                "true",
                "go install ./...",
                "echo go run go fix"
            ]
        );
    }

    #[test]
    fn what_is_wrapped_is_found() {
        assert_eq!(
            texts("time env GOOS=linux go build .")[0],
            "GOOS=linux go build ."
        );
        assert_eq!(texts("timeout 60 go build .")[0], "go build .");
        assert_eq!(texts("env")[0], "env");
        let text = "bash -euc 'cd a && go build .'";
        assert_eq!(texts(text)[1..], ["cd a", "go build ."]);
        let build = &commands(text)[2];
        let at = build.words[0].span.clone().expect("it stands in the text");
        assert_eq!(&text[at], "go");
    }

    #[test]
    fn heredoc_text_is_no_command_and_broken_shell_is_no_end() {
        assert_eq!(texts("cat <<E\ngo build\nE\nls"), ["cat", "ls"]);
        assert!(texts("go build . && (").iter().any(|c| c == "go build ."));
        assert_eq!(texts(""), Vec::<String>::new());
    }
}
