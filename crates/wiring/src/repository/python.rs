//! Python sources: what functions run, in order.

use std::collections::BTreeMap;

use super::children;
use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Step};
use tree_sitter::{Node, Parser};

use super::script;

const DEEPEST: usize = 200;
const RUNNERS: [&str; 8] = [
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.Popen",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
];

/// The flows of a file: one for what stands at its top, one a function.
pub(super) fn read(file: &str, text: &str) -> Vec<Flow> {
    let mut parser = Parser::new();
    if parser
        .set_language(&tree_sitter_python::LANGUAGE.into())
        .is_err()
    {
        return Vec::new();
    }
    let Some(tree) = parser.parse(text, None) else {
        return Vec::new();
    };
    let mut flows = vec![flow(file, file.rsplit('/').next().unwrap_or(file), 1)];
    let mut reader = Reader {
        file,
        text,
        flows: &mut flows,
    };
    reader.walk(tree.root_node(), 0, 0);
    flows.retain(|f| !f.steps.is_empty());
    flows
}

fn flow(file: &str, name: &str, line: usize) -> Flow {
    Flow {
        kind: FlowKind::Python,
        name: name.to_owned(),
        place: Place::new(file, line),
        needs: Vec::new(),
        environment: Vec::new(),
        steps: Vec::new(),
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    flows: &'a mut Vec<Flow>,
}

impl Reader<'_> {
    fn source(&self, node: Node<'_>) -> &str {
        &self.text[node.byte_range()]
    }

    fn walk(&mut self, node: Node<'_>, flow: usize, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let mut flow = flow;
        if node.kind() == "function_definition" {
            let name = node
                .child_by_field_name("name")
                .map(|n| self.source(n).to_owned())
                .unwrap_or_default();
            self.flows
                .push(self::flow(self.file, &name, node.start_position().row + 1));
            flow = self.flows.len() - 1;
        }
        for child in children(node).filter(Node::is_named) {
            self.walk(child, flow, depth + 1);
        }
        if node.kind() == "call" {
            self.call(node, flow);
        }
    }

    fn call(&mut self, node: Node<'_>, flow: usize) {
        let Some(function) = node.child_by_field_name("function") else {
            return;
        };
        let name = self.source(function).to_owned();
        let line = node.start_position().row + 1;
        let arguments: Vec<Node<'_>> = node
            .child_by_field_name("arguments")
            .map(|a| children(a).filter(Node::is_named).collect())
            .unwrap_or_default();
        let first = arguments.iter().find(|a| a.kind() != "keyword_argument");
        if RUNNERS.contains(&name.as_str()) {
            let unchecked = matches!(
                name.as_str(),
                "subprocess.run" | "subprocess.call" | "os.system"
            ) && !arguments
                .iter()
                .any(|a| self.source(*a).replace(' ', "") == "check=True");
            match first {
                Some(list) if list.kind() == "list" => {
                    let words: Vec<String> = children(*list)
                        .filter(Node::is_named)
                        .map(|n| self.word(n))
                        .collect();
                    if !words.is_empty() {
                        let mut step = self.step(line, false, words);
                        step.ignored =
                            unchecked.then(|| "its exit code is not looked at".to_owned());
                        step.background = name == "subprocess.Popen";
                        self.flows[flow].steps.push(step);
                    }
                }
                Some(text) if text.kind() == "string" => {
                    let script = script::read(self.file, &self.word(*text), line, &BTreeMap::new());
                    self.flows[flow].steps.extend(script.steps);
                }
                _ => {}
            }
            return;
        }
        if name.len() < 80 && !name.contains('\n') {
            let mut words = vec![name];
            words.extend(arguments.iter().map(|a| self.word(*a)));
            let step = self.step(line, true, words);
            self.flows[flow].steps.push(step);
        }
    }

    fn step(&self, line: usize, call: bool, words: Vec<String>) -> Step {
        Step {
            place: Place::new(self.file, line),
            call,
            words,
            environment: Vec::new(),
            condition: None,
            ignored: None,
            background: false,
            output: None,
            replaces_shell: false,
        }
    }

    fn word(&self, node: Node<'_>) -> String {
        if node.kind() != "string" {
            return "${…}".to_owned();
        }
        let parts = children(node).map(|child| match child.kind() {
            "string_content" => self.source(child).to_owned(),
            "interpolation" => "${…}".to_owned(),
            _ => String::new(),
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_functions() {
        let text = "import subprocess\ndef stop(x):\n    subprocess.run(['kubectl', 'scale', f'deploy/{x}'], check=True)\n    subprocess.run('a | b', shell=True)\n# subprocess.run(['no'])\n";
        let flows = read("t.py", text);
        assert_eq!(flows[0].name, "stop");
        let lines: Vec<String> = flows[0].steps.iter().map(Step::line).collect();
        assert_eq!(lines, ["kubectl scale deploy/${…}", "a", "b"]);
    }
}
