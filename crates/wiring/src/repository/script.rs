//! A shell text as steps in their order: under which condition, with which fate of an error, in which
//! function; and the texts that it writes (here-documents).

use std::collections::BTreeMap;

use super::children;
use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Step, Variable, concerns_coverage};
use tree_sitter::{Node, Parser};

use super::template::OPEN;
use crate::shell::{self, Command};

/// Scripts in scripts are followed no deeper.
const DEEPEST: usize = 4;
/// What only the run knows, as the shell can read it; in words it is `${…}`.
pub(super) const UNKNOWN: &str = "${_}";
/// Nodes in nodes are followed no deeper.
const DEEPEST_NODE: usize = 200;

/// What a shell text does.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// What is exported to all that follows.
    pub(super) environment: Vec<Variable>,
    pub(super) functions: Vec<Flow>,
    /// Here-documents: their first line, and what they hold.
    pub(super) texts: Vec<(usize, String)>,
}

/// Where a step stands.
#[derive(Clone, Default)]
struct Around {
    condition: Option<String>,
    ignored: Option<String>,
    background: bool,
    output: Option<String>,
    depth: usize,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    /// The line of the file on which the text begins.
    line: usize,
    nested: usize,
    pipefail: bool,
    variables: BTreeMap<String, Option<String>>,
    script: Script,
}

/// Reads a text that begins on a line of a file. `given` are variables that are known from outside.
pub(super) fn read(
    file: &str,
    text: &str,
    line: usize,
    given: &BTreeMap<String, String>,
) -> Script {
    let variables = given
        .iter()
        .map(|(n, v)| (n.clone(), Some(v.clone())))
        .collect();
    nested(file, text, line, 0, variables)
}

fn nested(
    file: &str,
    text: &str,
    line: usize,
    depth: usize,
    variables: BTreeMap<String, Option<String>>,
) -> Script {
    let mut parser = Parser::new();
    let mut reader = Reader {
        file,
        text,
        line,
        nested: depth,
        pipefail: false,
        variables,
        script: Script::default(),
    };
    let language = tree_sitter_bash::LANGUAGE.into();
    if let (Ok(()), Some(tree)) = (parser.set_language(&language), parser.parse(text, None)) {
        reader.assignments(tree.root_node(), 0);
        reader.children(tree.root_node(), &Around::default());
    }
    reader.script
}

impl Reader<'_> {
    fn source(&self, node: Node<'_>) -> &str {
        &self.text[node.byte_range()]
    }

    fn place(&self, node: Node<'_>) -> Place {
        Place::new(self.file, self.line + node.start_position().row)
    }

    /// Variables that have one value in all of the text.
    fn assignments(&mut self, node: Node<'_>, depth: usize) {
        if depth > DEEPEST_NODE {
            return;
        }
        if node.kind() == "variable_assignment"
            && node.parent().is_none_or(|p| p.kind() != "command")
            && let Some((name, value)) = self.source(node).split_once('=')
        {
            let (name, value) = (name.to_owned(), shell::unquoted(value).to_owned());
            let value = (!name.ends_with('+') && !value.contains('`') && !value.contains("$("))
                .then(|| self.expanded(&value));
            let known = self.variables.get(&name).is_some_and(|v| *v != value);
            self.variables.insert(name, value.filter(|_| !known));
        }
        for child in children(node) {
            self.assignments(child, depth + 1);
        }
    }

    /// A word with the variables put in whose value is known.
    fn expanded(&self, word: &str) -> String {
        let mut out = String::with_capacity(word.len());
        let mut rest = word;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, default, end) = match after.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(close) => {
                        let body = &inner[..close];
                        let end = body
                            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                            .unwrap_or(body.len());
                        let default = [":-", "-", ":="]
                            .iter()
                            .find_map(|s| body[end..].strip_prefix(s));
                        let plain = end == body.len() || default.is_some();
                        (if plain { &body[..end] } else { "" }, default, close + 2)
                    }
                    None => ("", None, 0),
                },
                None => {
                    let end = after
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    (&after[..end], None, end)
                }
            };
            let value = match self.variables.get(name) {
                Some(value) => value
                    .as_deref()
                    .filter(|v| !v.contains(&format!("${name}"))),
                None => default.filter(|d| !d.contains('$')),
            };
            match value {
                Some(value) if !name.is_empty() => out.push_str(value),
                _ => out.push_str(&rest[at..at + 1 + end]),
            }
            rest = &after[end..];
        }
        out.push_str(rest);
        out
    }

    fn children(&mut self, node: Node<'_>, around: &Around) {
        let all: Vec<Node<'_>> = children(node).collect();
        for (n, child) in all.iter().enumerate() {
            let mut here = around.clone();
            here.background |= all.get(n + 1).is_some_and(|next| next.kind() == "&");
            self.node(*child, &here);
        }
    }

    fn node(&mut self, node: Node<'_>, around: &Around) {
        if around.depth > DEEPEST_NODE {
            return;
        }
        let around = &Around {
            depth: around.depth + 1,
            ..around.clone()
        };
        match node.kind() {
            "command" => self.command(node, around),
            "comment" | "test_command" | "heredoc_body" => {}
            "function_definition" => self.function(node),
            "declaration_command" => self.declaration(node),
            "variable_assignment" => self.children(node, around),
            "list" => self.list(node, around),
            "pipeline" => self.pipeline(node, around),
            "redirected_statement" => self.redirected(node, around),
            "if_statement" | "elif_clause" => self.branches(node, around),
            "else_clause" => self.children(node, around),
            "case_item" => {
                let word = node
                    .child_by_field_name("value")
                    .map(|n| self.source(n).to_owned());
                let case = node.parent().and_then(|p| p.child_by_field_name("value"));
                let case = case.map(|n| self.source(n).to_owned()).unwrap_or_default();
                let condition = word.map(|word| format!("{case} is {word}"));
                self.children(
                    node,
                    &Around {
                        condition,
                        ..around.clone()
                    },
                );
            }
            "negated_command" => {
                self.children(
                    node,
                    &Around {
                        ignored: None,
                        ..around.clone()
                    },
                );
            }
            _ => self.children(node, around),
        }
    }

    fn function(&mut self, node: Node<'_>) {
        let name = node
            .child_by_field_name("name")
            .map(|n| self.source(n).to_owned())
            .unwrap_or_default();
        let outer = std::mem::take(&mut self.script.steps);
        if let Some(body) = node.child_by_field_name("body") {
            self.children(body, &Around::default());
        }
        let steps = std::mem::replace(&mut self.script.steps, outer);
        let place = self.place(node);
        self.script.functions.push(Flow {
            kind: FlowKind::ShellFunction,
            name,
            place,
            needs: Vec::new(),
            environment: Vec::new(),
            steps,
        });
    }

    fn declaration(&mut self, node: Node<'_>) {
        let exported = self.source(node).starts_with("export");
        for child in children(node).filter(|c| c.kind() == "variable_assignment") {
            if let (true, Some((name, value))) = (exported, self.source(child).split_once('=')) {
                let variable = Variable {
                    name: name.to_owned(),
                    value: concerns_coverage(name).then(|| self.expanded(shell::unquoted(value))),
                    place: self.place(child),
                };
                self.script.environment.push(variable);
            }
            self.children(child, &Around::default());
        }
    }

    fn list(&mut self, node: Node<'_>, around: &Around) {
        let parts: Vec<Node<'_>> = children(node).collect();
        let [left, operator, right] = parts[..] else {
            return self.children(node, around);
        };
        let text = self.source(left).to_owned();
        if operator.kind() == "||" {
            let ignored = harmless(self.source(right))
                .then(|| format!("|| {}", first_line(self.source(right))));
            let ignored = ignored.or_else(|| around.ignored.clone());
            self.node(
                left,
                &Around {
                    ignored,
                    ..around.clone()
                },
            );
            let condition = Some(format!("{} fails", first_line(&text)));
            self.node(
                right,
                &Around {
                    condition,
                    ..around.clone()
                },
            );
        } else {
            self.node(left, around);
            let tests =
                left.kind() == "test_command" || text.starts_with("test ") || text.starts_with('[');
            let condition = if tests {
                Some(first_line(&text))
            } else {
                around.condition.clone()
            };
            self.node(
                right,
                &Around {
                    condition,
                    ..around.clone()
                },
            );
        }
    }

    fn pipeline(&mut self, node: Node<'_>, around: &Around) {
        let parts: Vec<Node<'_>> = children(node).filter(|c| c.is_named()).collect();
        let Some((last, before)) = parts.split_last() else {
            return;
        };
        let output = Some(format!("| {}", first_line(self.source(*last))));
        for part in before {
            let ignored = match self.pipefail {
                true => around.ignored.clone(),
                false => Some(output.clone().unwrap_or_default()),
            };
            self.node(
                *part,
                &Around {
                    ignored,
                    output: output.clone(),
                    ..around.clone()
                },
            );
        }
        self.node(*last, around);
    }

    fn redirected(&mut self, node: Node<'_>, around: &Around) {
        let mut output = around.output.clone();
        for child in children(node) {
            match child.kind() {
                "file_redirect" if !self.source(child).starts_with('2') => {
                    output = Some(first_line(self.source(child)));
                }
                "heredoc_redirect" => {
                    for body in children(child).filter(|c| c.kind() == "heredoc_body") {
                        let line = self.line + body.start_position().row;
                        let text = self.source(body).to_owned();
                        self.script.texts.push((line, text));
                    }
                    // `cat <<EOF | kubectl apply -f -` stands within the redirection.
                    self.children(child, around);
                }
                _ => {}
            }
        }
        if let Some(body) = node.child_by_field_name("body") {
            self.node(
                body,
                &Around {
                    output,
                    ..around.clone()
                },
            );
        }
    }

    fn branches(&mut self, node: Node<'_>, around: &Around) {
        let mut condition: Option<String> = None;
        let mut then = false;
        for child in children(node) {
            match child.kind() {
                "then" => then = true,
                "elif_clause" => self.branches(child, around),
                "else_clause" => {
                    let not = condition.as_ref().map(|c| format!("not ({c})"));
                    self.children(
                        child,
                        &Around {
                            condition: not,
                            ..around.clone()
                        },
                    );
                }
                _ if !child.is_named() => {}
                _ if then => {
                    let next = child.next_sibling().is_some_and(|n| n.kind() == "&");
                    let background = around.background || next;
                    self.node(
                        child,
                        &Around {
                            condition: condition.clone(),
                            background,
                            ..around.clone()
                        },
                    );
                }
                _ => {
                    condition.get_or_insert_with(|| first_line(&self.text[child.byte_range()]));
                    // Its failure is an answer and no error.
                    self.node(
                        child,
                        &Around {
                            ignored: None,
                            ..around.clone()
                        },
                    );
                }
            }
        }
    }

    fn command(&mut self, node: Node<'_>, around: &Around) {
        // What it takes from other commands runs first.
        for child in children(node) {
            self.children(
                child,
                &Around {
                    output: None,
                    background: false,
                    ..around.clone()
                },
            );
        }
        let Some(command) = shell::command(node, self.text, None) else {
            return;
        };
        let inner = shell::inner_script(&command);
        let replaces_shell = command.words[0].text == "exec";
        let command = shell::unwrapped(command);
        let text: Vec<&str> = command.words.iter().map(|w| w.text.as_str()).collect();
        if text[0] == "set" && text.iter().any(|w| w.contains("pipefail")) {
            self.pipefail = true;
        }
        let step = self.step(node, &command, replaces_shell, around);
        self.script.steps.push(step);
        if let (Some((inner, _)), true) = (inner, self.nested < DEEPEST) {
            let line = self.line + node.start_position().row;
            let script = nested(
                self.file,
                &inner,
                line,
                self.nested + 1,
                self.variables.clone(),
            );
            for mut step in script.steps {
                step.condition = step.condition.or_else(|| around.condition.clone());
                step.ignored = step.ignored.or_else(|| around.ignored.clone());
                self.script.steps.push(step);
            }
            self.script.functions.extend(script.functions);
            self.script.texts.extend(script.texts);
        }
    }

    fn step(
        &self,
        node: Node<'_>,
        command: &Command,
        replaces_shell: bool,
        around: &Around,
    ) -> Step {
        let words = command
            .words
            .iter()
            .map(|w| self.expanded(&bare(&w.text)).replace(UNKNOWN, OPEN))
            .collect();
        let environment = command.assignments.iter().map(|(name, value)| {
            let value = if concerns_coverage(name) {
                self.expanded(value)
            } else {
                "…".to_owned()
            };
            (name.clone(), value)
        });
        Step {
            place: self.place(node),
            call: false,
            words,
            environment: environment.collect(),
            condition: around.condition.clone(),
            ignored: around.ignored.clone(),
            background: around.background,
            output: around.output.clone(),
            replaces_shell,
        }
    }
}

/// Whether what runs instead hides that something failed.
fn harmless(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    let hides = matches!(word, "true" | ":" | "echo" | "printf" | "/bin/true");
    hides && !text.contains("exit") && !text.contains("return 1")
}

/// Quotes within a word are no part of it: `"$A"/b`, `-ldflags="-s -w"`. A JSON text keeps its own.
fn bare(word: &str) -> String {
    if word.starts_with(['{', '[']) || word.contains('\n') {
        return word.to_owned();
    }
    let mut out = String::with_capacity(word.len());
    let mut quote = None;
    for c in word.chars() {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(q) if q == c => quote = None,
            _ => out.push(c),
        }
    }
    out
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let script = read("s.sh", text, 1, &BTreeMap::new());
        script
            .steps
            .iter()
            .map(|s| {
                let mut line = format!("{} {}", s.place.line, s.line());
                if let Some(condition) = &s.condition {
                    line += &format!(" IF {condition}");
                }
                if let Some(ignored) = &s.ignored {
                    line += &format!(" IGNORED {ignored}");
                }
                if s.background {
                    line += " BACKGROUND";
                }
                line
            })
            .collect()
    }

    #[test]
    fn conditions_fates_and_order() {
        let text = "D=/c\nkubectl cp p:$D ./x || :\nif [ \"$A\" = 1 ]; then\n  a b\nelse\n  c\nfi\n[ -n \"$B\" ] && d\ne | f\ng &\nh || exit 1\nsudo -E env X=1 go build .\n";
        assert_eq!(
            lines(text),
            [
                "2 kubectl cp p:/c ./x IGNORED || :",
                "2 : IF kubectl cp p:$D ./x fails",
                "4 a b IF [ \"$A\" = 1 ]",
                "6 c IF not ([ \"$A\" = 1 ])",
                "8 d IF [ -n \"$B\" ]",
                "9 e IGNORED | f",
                "9 f",
                "10 g BACKGROUND",
                "11 h",
                "11 exit 1 IF h fails",
                "12 X=… go build .",
            ]
        );
    }

    #[test]
    fn functions_texts_and_scripts_in_scripts() {
        let text = "f() {\n  a\n}\ncat <<EOF | kubectl apply -f -\nkind: Pod\nEOF\nbash -c 'x && y'\nexport GOCOVERDIR=\"/c\"\nz=$(q r)\n";
        let script = read("s.sh", text, 10, &BTreeMap::new());
        assert_eq!(script.functions[0].name, "f");
        assert_eq!(script.functions[0].steps[0].words, ["a"]);
        assert_eq!(script.texts, [(14, "kind: Pod\n".to_owned())]);
        assert_eq!(script.environment[0].value.as_deref(), Some("/c"));
        let words: Vec<String> = script.steps.iter().map(Step::line).collect();
        for line in ["kubectl apply -f -", "x", "y", "q r"] {
            assert!(words.iter().any(|w| w == line), "{line}: {words:?}");
        }
    }
}
