//! Go sources: what functions run and call, in order; texts that are manifests; what a program does about
//! signals, its environment and its end.

use std::collections::BTreeMap;

use super::children;
use covtap_model::facts::Place;
use covtap_model::facts::repository::{Call, Flow, FlowKind, Step, Variable};
use tree_sitter::{Node, Parser, Tree};

/// Nodes in nodes are followed no deeper.
const DEEPEST: usize = 200;
/// Programs that a first argument names.
const TOOLS: [&str; 18] = [
    "kubectl",
    "oc",
    "docker",
    "podman",
    "nerdctl",
    "kind",
    "k3d",
    "minikube",
    "helm",
    "make",
    "go",
    "kustomize",
    "bash",
    "sh",
    "docker-compose",
    "buildah",
    "ko",
    "sudo",
];
/// Packages whose functions only make values.
const PLUMBING: [&str; 8] = [
    "fmt.",
    "strings.",
    "errors.",
    "filepath.",
    "path.",
    "strconv.",
    "os.Environ",
    "os.Getenv",
];
/// What a program does that matters to its coverage.
const OF_INTEREST: [&str; 24] = [
    "signal.Notify",
    "signal.NotifyContext",
    "signal.Ignore",
    "os.Setenv",
    "os.Exit",
    "syscall.Exit",
    "syscall.Exec",
    "syscall.Kill",
    "unix.Exec",
    "unix.Exit",
    "unix.ExitGroup",
    "coverage.WriteCounters",
    "coverage.WriteCountersDir",
    "coverage.WriteMeta",
    "coverage.WriteMetaDir",
    "coverage.ClearCounters",
    "http.ListenAndServe",
    "http.ListenAndServeTLS",
    "http.Serve",
    "server.ListenAndServe",
    "srv.ListenAndServe",
    "log.Fatal",
    "log.Fatalf",
    "run.SignalHandler",
];

/// A Go file, read once and looked at twice: for its constants, then for all else.
pub(super) struct File {
    pub(super) file: String,
    text: String,
    tree: Tree,
}

/// What a Go file says.
#[derive(Default)]
pub(super) struct Source {
    pub(super) package: String,
    pub(super) imports: Vec<String>,
    pub(super) constraint: Option<String>,
    pub(super) flows: Vec<Flow>,
    pub(super) calls: Vec<Call>,
    pub(super) main: Option<Place>,
    /// Strings that may be manifests: line, text.
    pub(super) texts: Vec<(usize, String)>,
}

/// Constants by the folder's name and their own.
pub(super) type Constants = BTreeMap<(String, String), String>;

impl File {
    /// Parses one.
    pub(super) fn parse(file: String, text: String) -> Option<Self> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_go::LANGUAGE.into()).ok()?;
        let tree = parser.parse(&text, None)?;
        Some(Self { file, text, tree })
    }

    fn folder(&self) -> &str {
        let folder = self.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.rsplit('/').next().unwrap_or(folder)
    }

    /// Constants and variables of the package that have one string.
    pub(super) fn constants(&self, into: &mut Constants) {
        let nothing = Constants::new();
        let reader = self.reader(&nothing);
        for declaration in children(self.tree.root_node()) {
            if matches!(declaration.kind(), "const_declaration" | "var_declaration") {
                specs(declaration, &mut |spec| {
                    let names: Vec<Node<'_>> = spec
                        .children_by_field_name("name", &mut spec.walk())
                        .collect();
                    let values = spec.child_by_field_name("value");
                    let values: Vec<Node<'_>> = values
                        .map(|v| children(v).filter(Node::is_named).collect())
                        .unwrap_or_default();
                    for (name, value) in names.iter().zip(values) {
                        if let Some(value) = reader.string(value).filter(|v| !v.contains("${")) {
                            into.insert(
                                (self.folder().to_owned(), reader.source(*name).to_owned()),
                                value,
                            );
                        }
                    }
                });
            }
        }
    }

    fn reader<'a>(&'a self, constants: &'a Constants) -> Reader<'a> {
        Reader {
            file: self,
            constants,
            locals: BTreeMap::new(),
            lists: BTreeMap::new(),
            commands: BTreeMap::new(),
            steps: Vec::new(),
            late: Vec::new(),
        }
    }

    /// All else.
    pub(super) fn read(&self, constants: &Constants) -> Source {
        let root = self.tree.root_node();
        let mut out = Source::default();
        let test = self.file.ends_with("_test.go");
        let kind = if test { FlowKind::GoTest } else { FlowKind::Go };
        let reader = self.reader(constants);
        for node in children(root) {
            match node.kind() {
                "package_clause" => {
                    let name = children(node).find(|c| c.kind() == "package_identifier");
                    out.package = name
                        .map(|n| reader.source(n).to_owned())
                        .unwrap_or_default();
                }
                "comment" if out.package.is_empty() => {
                    let text = reader.source(node);
                    if let Some(constraint) = text.strip_prefix("//go:build ") {
                        out.constraint = Some(constraint.trim().to_owned());
                    }
                }
                "import_declaration" => imports(node, &reader, &mut out.imports),
                "function_declaration" | "method_declaration" => {
                    let name = node
                        .child_by_field_name("name")
                        .map(|n| reader.source(n).to_owned())
                        .unwrap_or_default();
                    let place = reader.place(node);
                    if name == "main" {
                        out.main = Some(place.clone());
                    }
                    if let Some(body) = node.child_by_field_name("body") {
                        let mut inner = self.reader(constants);
                        inner.walk(body, &Around::default());
                        out.flows
                            .push(inner.flow(kind, name, place, &mut out.calls));
                    }
                }
                // `var _ = AfterSuite(func() { … })`.
                "var_declaration" | "expression_statement" => {
                    let mut inner = self.reader(constants);
                    inner.walk(node, &Around::default());
                    let named = inner
                        .steps
                        .iter()
                        .find(|s| s.call)
                        .map(|s| s.words[0].clone());
                    let place = reader.place(node);
                    if let Some(name) = named {
                        out.flows
                            .push(inner.flow(kind, name, place, &mut out.calls));
                    }
                }
                _ => {}
            }
        }
        let mut waiting = vec![(root, 0)];
        while let Some((node, depth)) = waiting.pop() {
            let whole = matches!(
                node.kind(),
                "raw_string_literal" | "interpreted_string_literal" | "binary_expression"
            );
            if whole && let Some(text) = reader.string(node) {
                if text.contains('\n') && text.contains(':') {
                    out.texts.push((node.start_position().row, text));
                }
                continue;
            }
            if depth < DEEPEST {
                waiting.extend(children(node).map(|c| (c, depth + 1)));
            }
        }
        out
    }
}

fn specs<'t>(node: Node<'t>, found: &mut impl FnMut(Node<'t>)) {
    for child in children(node) {
        match child.kind() {
            "const_spec" | "var_spec" => found(child),
            "var_spec_list" => specs(child, found),
            _ => {}
        }
    }
}

fn imports(node: Node<'_>, reader: &Reader<'_>, into: &mut Vec<String>) {
    for child in children(node) {
        match child.kind() {
            "import_spec" => {
                let path = child
                    .child_by_field_name("path")
                    .and_then(|p| reader.string(p));
                into.extend(path);
            }
            "import_spec_list" => imports(child, reader, into),
            _ => {}
        }
    }
}

#[derive(Clone, Default)]
struct Around {
    condition: Option<String>,
    ignored: Option<String>,
    background: bool,
    depth: usize,
}

struct Reader<'a> {
    file: &'a File,
    constants: &'a Constants,
    /// Local strings.
    locals: BTreeMap<String, String>,
    /// Local lists of strings, and the step that one of them is.
    lists: BTreeMap<String, (Vec<String>, Option<usize>)>,
    /// Local commands: the step that they are.
    commands: BTreeMap<String, usize>,
    steps: Vec<Step>,
    /// Bodies of `defer`, the last first.
    late: Vec<Step>,
}

impl<'a> Reader<'a> {
    fn flow(mut self, kind: FlowKind, name: String, place: Place, calls: &mut Vec<Call>) -> Flow {
        self.steps.append(&mut self.late);
        for step in self.steps.iter().filter(|s| s.call) {
            let word = step.words[0].as_str();
            if OF_INTEREST.contains(&word)
                || word.ends_with("SetupSignalHandler")
                || word.ends_with(".ListenAndServe")
            {
                calls.push(Call {
                    name: word.to_owned(),
                    arguments: step.words[1..].to_vec(),
                    function: name.clone(),
                    place: step.place.clone(),
                });
            }
        }
        Flow {
            kind,
            name,
            place,
            needs: Vec::new(),
            environment: Vec::<Variable>::new(),
            steps: self.steps,
        }
    }

    fn source(&self, node: Node<'_>) -> &'a str {
        &self.file.text[node.byte_range()]
    }

    fn place(&self, node: Node<'_>) -> Place {
        Place::new(&self.file.file, node.start_position().row + 1)
    }

    fn walk(&mut self, node: Node<'_>, around: &Around) {
        if around.depth > DEEPEST {
            return;
        }
        let around = &Around {
            depth: around.depth + 1,
            ..around.clone()
        };
        match node.kind() {
            "call_expression" => self.call(node, around),
            "short_var_declaration" | "assignment_statement" => self.assignment(node, around),
            "var_spec" | "const_spec" => self.local(node, around),
            "expression_statement" => {
                let ignored = Some("its error is not looked at".to_owned());
                self.inner(
                    node,
                    &Around {
                        ignored,
                        ..around.clone()
                    },
                );
            }
            "if_statement" => self.branches(node, around),
            "go_statement" => self.inner(
                node,
                &Around {
                    background: true,
                    ..around.clone()
                },
            ),
            "defer_statement" => {
                let kept = std::mem::take(&mut self.steps);
                self.inner(node, around);
                let mut late = std::mem::replace(&mut self.steps, kept);
                late.append(&mut self.late);
                self.late = late;
            }
            "composite_literal" => {
                if let Some(words) = self.list(node).filter(|w| is_command(w)) {
                    self.push(node, false, words, around);
                } else {
                    self.inner(node, around);
                }
            }
            _ => self.inner(node, around),
        }
    }

    fn inner(&mut self, node: Node<'_>, around: &Around) {
        for child in children(node).filter(Node::is_named) {
            self.walk(child, around);
        }
    }

    fn branches(&mut self, node: Node<'_>, around: &Around) {
        let field = |name| node.child_by_field_name(name);
        let looked_at = &Around {
            ignored: None,
            ..around.clone()
        };
        if let Some(first) = field("initializer") {
            self.walk(first, looked_at);
        }
        let condition = field("condition");
        if let Some(condition) = condition {
            self.walk(condition, looked_at);
        }
        let text = condition
            .map(|c| self.source(c).to_owned())
            .unwrap_or_default();
        // `if err != nil` is no condition that somebody chose.
        let chosen = !text.contains("err");
        let within = |text: String| match chosen {
            true => Some(text),
            false => around.condition.clone(),
        };
        if let Some(body) = field("consequence") {
            self.walk(
                body,
                &Around {
                    condition: within(text.clone()),
                    ..around.clone()
                },
            );
        }
        if let Some(other) = field("alternative") {
            self.walk(
                other,
                &Around {
                    condition: within(format!("!({text})")),
                    ..around.clone()
                },
            );
        }
    }

    fn push(&mut self, node: Node<'_>, call: bool, words: Vec<String>, around: &Around) -> usize {
        self.steps.push(Step {
            place: self.place(node),
            call,
            words,
            environment: Vec::new(),
            condition: around.condition.clone(),
            ignored: around.ignored.clone(),
            background: around.background,
            output: None,
            replaces_shell: false,
        });
        self.steps.len() - 1
    }

    fn call(&mut self, node: Node<'_>, around: &Around) {
        let function = node.child_by_field_name("function");
        let name = function.map(|f| self.source(f)).unwrap_or_default();
        let arguments: Vec<Node<'_>> = node
            .child_by_field_name("arguments")
            .map(|a| {
                children(a)
                    .filter(|c| c.is_named() && c.kind() != "comment")
                    .collect()
            })
            .unwrap_or_default();
        let looked_at = Around {
            ignored: None,
            ..around.clone()
        };
        // A method of a chain: `exec.Command(…).Run()`.
        if let Some(operand) = function
            .filter(|f| f.kind() == "selector_expression")
            .and_then(|f| f.child_by_field_name("operand"))
        {
            let method = name.rsplit('.').next().unwrap_or(name);
            if operand.kind() == "identifier"
                && let Some(&step) = self.commands.get(self.source(operand))
            {
                self.ran(step, method, around);
                return;
            }
            if operand.kind() != "identifier" {
                let before = self.steps.len();
                self.walk(operand, &looked_at);
                if self.steps.len() > before {
                    let last = self.steps.len() - 1;
                    if !self.steps[last].call {
                        self.ran(last, method, around);
                        return;
                    }
                }
            }
        }
        // Function literals run where they are given, or as part of what is called.
        let mut words = Vec::new();
        // The first word that stands there as it is.
        let mut literal = None;
        for argument in &arguments {
            if is_string(*argument) {
                literal.get_or_insert(words.len());
            }
            match argument.kind() {
                "func_literal" => {}
                "variadic_argument" => {
                    let list = children(*argument)
                        .find(Node::is_named)
                        .and_then(|n| self.list(n));
                    words.extend(list.unwrap_or_else(|| vec!["${…}".to_owned()]));
                }
                _ => words.push(self.word(*argument)),
            }
        }
        let short = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
        let command: Option<Vec<String>> = match name {
            "exec.Command" => Some(words.clone()),
            "exec.CommandContext" => Some(words.iter().skip(1).cloned().collect()),
            _ if TOOLS.contains(&short.as_str()) && short.len() > 3 && name != "kind" => literal
                .map(|at| {
                    let all = words[at..].iter().cloned();
                    std::iter::once(short.clone()).chain(all).collect()
                }),
            _ => literal
                .filter(|&at| {
                    at <= 2 && TOOLS.contains(&words[at].as_str()) && words.len() > at + 1
                })
                .map(|at| words[at..].to_vec()),
        };
        for argument in &arguments {
            if argument.kind() != "func_literal" {
                self.walk_nested(*argument, &looked_at);
            }
        }
        if let Some(words) = command.filter(|w| !w.is_empty()) {
            let ours = matches!(name, "exec.Command" | "exec.CommandContext");
            let around = if ours { &looked_at } else { around };
            self.push(node, false, words, around);
        } else if name != "append"
            && !PLUMBING.iter().any(|p| name.starts_with(p))
            && name.len() < 80
            && !name.contains(['\n', '{'])
        {
            let mut all = vec![name.to_owned()];
            all.extend(words);
            self.push(node, true, all, around);
        }
        for argument in &arguments {
            if argument.kind() == "func_literal"
                && let Some(body) = argument.child_by_field_name("body")
            {
                let late = name.ends_with("DeferCleanup") || name.ends_with(".Cleanup");
                let kept = late.then(|| std::mem::take(&mut self.steps));
                self.walk(body, &looked_at);
                if let Some(kept) = kept {
                    let mut late = std::mem::replace(&mut self.steps, kept);
                    late.append(&mut self.late);
                    self.late = late;
                }
            }
        }
    }

    /// Calls in arguments; strings and names say nothing more.
    fn walk_nested(&mut self, node: Node<'_>, around: &Around) {
        if !matches!(node.kind(), "identifier" | "selector_expression") && !is_string(node) {
            let in_list = node.kind() == "composite_literal" && self.list(node).is_some();
            if !in_list {
                self.walk(node, around);
            }
        }
    }

    /// A command is run, started, or asked for its output.
    fn ran(&mut self, step: usize, method: &str, around: &Around) {
        let Some(step) = self.steps.get_mut(step) else {
            return;
        };
        if matches!(
            method,
            "Run" | "Output" | "CombinedOutput" | "Start" | "Wait"
        ) {
            step.ignored.clone_from(&around.ignored);
            step.background |= method == "Start";
        }
    }

    fn assignment(&mut self, node: Node<'_>, around: &Around) {
        let (Some(left), Some(right)) = (
            node.child_by_field_name("left"),
            node.child_by_field_name("right"),
        ) else {
            return;
        };
        let names: Vec<&str> = children(left)
            .filter(Node::is_named)
            .map(|n| self.source(n))
            .collect();
        let values: Vec<Node<'_>> = children(right).filter(Node::is_named).collect();
        let dropped = names.last() == Some(&"_");
        let ignored = dropped.then(|| "its error goes to _".to_owned());
        let around = Around {
            ignored,
            ..around.clone()
        };
        for (name, value) in names.iter().zip(&values) {
            if let Some(owner) = name.strip_suffix(".Env") {
                self.environment(owner, *value);
            }
            if let Some(text) = self.string(*value) {
                self.locals.insert((*name).to_owned(), text);
            }
            if let Some(words) = self.list(*value) {
                let step = match self.lists.get(*name).and_then(|(_, step)| *step) {
                    Some(step) => {
                        if let Some(step) = self.steps.get_mut(step) {
                            // Words that are added under a condition are what the condition is for.
                            if words.len() > step.words.len() && step.condition.is_none() {
                                let added = &words[step.words.len()..];
                                let covers = added.iter().any(|w| w.contains("-cover"));
                                step.condition = around.condition.clone().filter(|_| covers);
                            }
                            step.words.clone_from(&words);
                        }
                        Some(step)
                    }
                    None => {
                        is_command(&words).then(|| self.push(*value, false, words.clone(), &around))
                    }
                };
                self.lists.insert((*name).to_owned(), (words, step));
                continue;
            }
            let before = self.steps.len();
            self.walk(*value, &around);
            let made = self
                .steps
                .get(before..)
                .and_then(|s| s.iter().rposition(|s| !s.call));
            if let Some(at) = made.filter(|_| value.kind() == "call_expression") {
                self.commands.insert((*name).to_owned(), before + at);
            }
        }
        for value in values.iter().skip(names.len()) {
            self.walk(*value, &around);
        }
    }

    fn local(&mut self, node: Node<'_>, around: &Around) {
        let name = node
            .child_by_field_name("name")
            .map(|n| self.source(n).to_owned());
        if let Some(values) = node.child_by_field_name("value") {
            let value = children(values).find(Node::is_named);
            if let (Some(name), Some(text)) = (name, value.and_then(|v| self.string(v))) {
                self.locals.insert(name, text);
            }
            self.inner(values, around);
        }
    }

    /// `cmd.Env = append(os.Environ(), "A=b")`.
    fn environment(&mut self, owner: &str, value: Node<'_>) {
        let Some(&step) = self.commands.get(owner) else {
            return;
        };
        let mut waiting = vec![value];
        let mut given = Vec::new();
        while let Some(node) = waiting.pop() {
            if let Some((name, value)) =
                self.string(node).as_deref().and_then(|t| t.split_once('='))
            {
                let value = match covtap_model::facts::repository::concerns_coverage(name) {
                    true => value.to_owned(),
                    false => "…".to_owned(),
                };
                given.push((name.to_owned(), value));
            } else {
                waiting.extend(children(node).filter(Node::is_named));
            }
        }
        if let Some(step) = self.steps.get_mut(step) {
            given.reverse();
            step.environment.extend(given);
        }
    }

    /// An argument as a word.
    fn word(&self, node: Node<'_>) -> String {
        self.string(node).unwrap_or_else(|| {
            let text = self.source(node);
            let short = text.len() < 60 && !text.contains('\n');
            match node.kind() {
                "int_literal" | "float_literal" | "true" | "false" | "nil" => text.to_owned(),
                _ if short => format!("${{{text}}}"),
                _ => "${…}".to_owned(),
            }
        })
    }

    /// A list of strings.
    fn list(&self, node: Node<'_>) -> Option<Vec<String>> {
        match node.kind() {
            "composite_literal" => {
                let kind = node.child_by_field_name("type").map(|t| self.source(t))?;
                if kind != "[]string" {
                    return None;
                }
                let body = node.child_by_field_name("body")?;
                let elements = children(body).filter(|c| c.kind() == "literal_element");
                Some(
                    elements
                        .filter_map(|e| children(e).find(Node::is_named))
                        .map(|e| self.word(e))
                        .collect(),
                )
            }
            "identifier" => self
                .lists
                .get(self.source(node))
                .map(|(words, _)| words.clone()),
            "call_expression" => {
                let function = node.child_by_field_name("function")?;
                if self.source(function) != "append" {
                    return None;
                }
                let arguments = node.child_by_field_name("arguments")?;
                let arguments: Vec<Node<'_>> = children(arguments).filter(Node::is_named).collect();
                let (first, rest) = arguments.split_first()?;
                let mut words = self.list(*first)?;
                for argument in rest {
                    match argument.kind() {
                        "variadic_argument" => {
                            let list = children(*argument)
                                .find(Node::is_named)
                                .and_then(|n| self.list(n));
                            words.extend(list.unwrap_or_else(|| vec!["${…}".to_owned()]));
                        }
                        _ => words.push(self.word(*argument)),
                    }
                }
                Some(words)
            }
            _ => None,
        }
    }

    /// The value of a string expression, `${…}` for what only the run knows.
    fn string(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "raw_string_literal" => Some(self.source(node).trim_matches('`').to_owned()),
            "interpreted_string_literal" => Some(unescaped(self.source(node))),
            "parenthesized_expression" => children(node)
                .find(Node::is_named)
                .and_then(|n| self.string(n)),
            "identifier" => {
                let name = self.source(node);
                let own = || {
                    self.constants
                        .get(&(self.file.folder().to_owned(), name.to_owned()))
                        .cloned()
                };
                self.locals.get(name).cloned().or_else(own)
            }
            "selector_expression" => {
                let (package, name) = self.source(node).split_once('.')?;
                self.constants
                    .get(&(package.to_owned(), name.to_owned()))
                    .cloned()
            }
            "binary_expression" => {
                let left = node.child_by_field_name("left")?;
                let right = node.child_by_field_name("right")?;
                if self.source(node.child_by_field_name("operator")?) != "+" {
                    return None;
                }
                match (self.string(left), self.string(right)) {
                    (None, None) => None,
                    (a, b) => {
                        let open = |text: Option<String>| text.unwrap_or_else(|| "${…}".to_owned());
                        Some(open(a) + &open(b))
                    }
                }
            }
            "call_expression" => {
                let function = self.source(node.child_by_field_name("function")?);
                let arguments = node.child_by_field_name("arguments")?;
                let arguments: Vec<Node<'_>> = children(arguments).filter(Node::is_named).collect();
                match function {
                    "fmt.Sprintf" => {
                        let format = self.string(*arguments.first()?)?;
                        let given: Vec<Option<String>> =
                            arguments[1..].iter().map(|a| self.string(*a)).collect();
                        Some(formatted(&format, &given))
                    }
                    "filepath.Join" | "path.Join" => {
                        let parts: Vec<String> = arguments
                            .iter()
                            .map(|a| self.string(*a).unwrap_or_else(|| "${…}".to_owned()))
                            .collect();
                        parts.iter().any(|p| p != "${…}").then(|| parts.join("/"))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Verbs of plain values filled with what is known; other text stays for whoever reads it as a template.
fn formatted(format: &str, given: &[Option<String>]) -> String {
    if format.contains('\n') {
        return format.to_owned();
    }
    let mut given = given.iter();
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let verb = &rest[at + 1..];
        let end = verb
            .find(|c: char| c.is_ascii_alphabetic() || c == '%')
            .map_or(verb.len(), |n| n + 1);
        match verb.starts_with('%') {
            true => out.push('%'),
            false => out.push_str(given.next().and_then(Option::as_deref).unwrap_or("${…}")),
        }
        rest = &verb[end.min(verb.len())..];
    }
    out + rest
}

fn unescaped(source: &str) -> String {
    let inner = source
        .strip_prefix('"')
        .and_then(|s| s.strip_suffix('"'))
        .unwrap_or(source);
    if !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

fn is_command(words: &[String]) -> bool {
    words.len() > 1 && TOOLS.contains(&words[0].as_str())
}

fn is_string(node: Node<'_>) -> bool {
    matches!(
        node.kind(),
        "raw_string_literal" | "interpreted_string_literal"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_calls_and_their_fate() {
        let text = r#"package infra
import ("os/exec"; "os/signal")
const Image = "shop:e2e"
func Build(ctx context.Context) error {
	args := []string{"docker", "build", "-t", Image}
	if on { args = append(args, "--build-arg", "GOFLAGS=-cover") }
	cmd := exec.Command("kubectl", "scale", "deployment/"+name, "--replicas=0")
	cmd.Env = append(os.Environ(), "GOCOVERDIR=/c", "TOKEN=x")
	if err := cmd.Run(); err != nil { return err }
	_ = exec.Command("docker", "cp", fmt.Sprintf("%s:/c/.", node), dir).Run()
	time.Sleep(10 * time.Second)
	defer late()
	return k.kubectl("wait", "--for=delete")
}
var _ = AfterSuite(func() { Expect(infra.Build(ctx)).To(Succeed()) })
"#;
        let file = File::parse("a/infra/x.go".into(), text.into()).expect("Go");
        let mut constants = Constants::new();
        file.constants(&mut constants);
        let source = file.read(&constants);
        let lines: Vec<String> = source.flows[0]
            .steps
            .iter()
            .map(|s| {
                format!(
                    "{}{}",
                    s.line(),
                    s.ignored.as_ref().map(|_| " IGNORED").unwrap_or_default()
                )
            })
            .collect();
        for line in [
            "docker build -t shop:e2e --build-arg GOFLAGS=-cover",
            "GOCOVERDIR=/c TOKEN=… kubectl scale deployment/${…} --replicas=0",
            "docker cp ${…}:/c/. ${dir} IGNORED",
            "kubectl wait --for=delete",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
        }
        assert!(lines.last().is_some_and(|l| l.starts_with("late")));
        assert_eq!(source.flows[1].name, "AfterSuite");
        assert!(
            source.flows[1]
                .steps
                .iter()
                .any(|s| s.words[0] == "infra.Build"),
            "{:#?}",
            source.flows[1].steps
        );
    }
}
