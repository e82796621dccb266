//! A Makefile as flows: a target, what it needs, and the shell of its recipe with variables put in.

use std::collections::BTreeMap;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Variable, concerns_coverage};

use super::script::{self, UNKNOWN};

/// Variables in variables are followed no deeper.
const DEEPEST: usize = 8;

/// The flows of a Makefile, and the texts that its recipes write.
pub(super) fn read(file: &str, text: &str) -> (Vec<Flow>, Vec<(usize, String)>) {
    let lines = logical(text);
    let mut variables = BTreeMap::from([
        ("MAKE".to_owned(), "make".to_owned()),
        ("CURDIR".to_owned(), ".".to_owned()),
        ("PWD".to_owned(), ".".to_owned()),
    ]);
    let mut exported = Vec::new();
    for (line, text) in lines.iter().filter(|(_, t)| !t.starts_with('\t')) {
        if let Some((export, name, value)) = assignment(text) {
            if export {
                exported.push(variable(file, *line, &name, &value, &variables));
            }
            variables.entry(name).or_insert(value);
        }
    }
    let mut flows: Vec<Flow> = Vec::new();
    let mut texts = Vec::new();
    let mut current: Vec<usize> = Vec::new();
    let mut define = false;
    for (line, text) in &lines {
        if define || text.starts_with("define ") {
            define = !text.starts_with("endef");
            continue;
        }
        if let Some(recipe) = text.strip_prefix('\t') {
            let (steps, more) = steps(file, *line, recipe, &variables);
            texts.extend(more);
            for &flow in &current {
                flows[flow].steps.extend(steps.clone());
            }
            continue;
        }
        let bare = text.trim();
        if bare.is_empty() || bare.starts_with('#') || assignment(text).is_some() {
            continue;
        }
        let directive = bare.split_whitespace().next().unwrap_or_default();
        if matches!(
            directive,
            "ifeq"
                | "ifneq"
                | "ifdef"
                | "ifndef"
                | "else"
                | "endif"
                | "include"
                | "-include"
                | "export"
                | "unexport"
                | "vpath"
                | "override"
                | "undefine"
        ) {
            continue;
        }
        let Some((targets, rest)) = bare.split_once(':') else {
            continue;
        };
        let targets = expanded(targets, &variables, 0);
        // Of one target alone: `cover: export GOCOVERDIR := x`.
        let own = assignment(rest.trim_start_matches(':'));
        let (needs, recipe) = match rest.split_once(';') {
            Some((needs, recipe)) => (needs, Some(recipe)),
            None => (rest, None),
        };
        let needs = needs.split('#').next().unwrap_or_default();
        current.clear();
        for target in targets.split_whitespace() {
            if target.starts_with(".PHONY") || target.starts_with(".SUFFIXES") {
                continue;
            }
            let at = flows
                .iter()
                .position(|f| f.name == target)
                .unwrap_or_else(|| {
                    flows.push(Flow {
                        kind: FlowKind::Target,
                        name: target.to_owned(),
                        place: Place::new(file, *line),
                        needs: Vec::new(),
                        environment: exported.clone(),
                        steps: Vec::new(),
                    });
                    flows.len() - 1
                });
            match &own {
                Some((_, name, value)) => {
                    let variable = variable(file, *line, name, value, &variables);
                    flows[at].environment.push(variable);
                }
                None => {
                    let needs = expanded(needs, &variables, 0);
                    let needs = needs
                        .split_whitespace()
                        .filter(|n| *n != "|" && !n.starts_with(':'));
                    flows[at].needs.extend(needs.map(str::to_owned));
                    current.push(at);
                }
            }
            if let Some(recipe) = recipe.filter(|_| own.is_none()) {
                let (steps, _) = steps(file, *line, recipe, &variables);
                flows[at].steps.extend(steps);
            }
        }
    }
    (flows, texts)
}

fn steps(
    file: &str,
    line: usize,
    recipe: &str,
    variables: &BTreeMap<String, String>,
) -> (
    Vec<covtap_model::facts::repository::Step>,
    Vec<(usize, String)>,
) {
    let bare = recipe.trim_start_matches(['@', '-', '+', ' ', '\t']);
    let prefix = &recipe[..recipe.len() - bare.len()];
    let script = script::read(file, &expanded(bare, variables, 0), line, &BTreeMap::new());
    let mut steps = script.steps;
    if prefix.contains('-') {
        for step in &mut steps {
            step.ignored
                .get_or_insert_with(|| "- before the recipe's line".to_owned());
        }
    }
    (steps, script.texts)
}

fn variable(
    file: &str,
    line: usize,
    name: &str,
    value: &str,
    variables: &BTreeMap<String, String>,
) -> Variable {
    Variable {
        name: name.to_owned(),
        value: concerns_coverage(name).then(|| expanded(value, variables, 0)),
        place: Place::new(file, line),
    }
}

/// Lines with those that they go on in, each with the number of its first. Line ends are kept, so that
/// places in recipes are right.
fn logical(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (n, line) in text.lines().enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match out.last_mut().filter(|_| goes_on) {
            Some((_, before)) => {
                before.push('\n');
                before.push_str(line);
            }
            None => out.push((n + 1, line.to_owned())),
        }
        goes_on = line.ends_with('\\');
    }
    for (_, line) in &mut out {
        if !line.starts_with('\t') {
            *line = line.replace("\\\n", " ");
        }
    }
    out
}

/// `NAME := value`, and whether it is exported.
fn assignment(line: &str) -> Option<(bool, String, String)> {
    let (mut left, value) = line.split_once('=')?;
    left = left.trim_end_matches([':', '?', '+', '!']).trim();
    let export = left.strip_prefix("export ");
    let name = export.unwrap_or(left).trim();
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let value = value.split(" #").next().unwrap_or_default().trim();
    plain.then(|| (export.is_some(), name.to_owned(), value.to_owned()))
}

/// A text with `$(NAME)` put in where it is known, and `$$` as the shell gets it. What make computes
/// becomes `${_}`, which the shell can read.
fn expanded(text: &str, variables: &BTreeMap<String, String>, depth: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(shell) = after.strip_prefix('$') {
            out.push('$');
            rest = shell;
            continue;
        }
        let close = match after.chars().next() {
            Some('(') => matching(after, '(', ')'),
            Some('{') => matching(after, '{', '}'),
            _ => None,
        };
        let Some(close) = close else {
            // `$@` and `$<`: names that only make knows.
            let end = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(UNKNOWN);
            rest = &after[end..];
            continue;
        };
        let name = &after[1..close];
        match variables.get(name).filter(|_| depth < DEEPEST) {
            Some(value) => out.push_str(&expanded(value, variables, depth + 1)),
            None if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                out.push_str(&format!("${{{name}}}"));
            }
            None => out.push_str(UNKNOWN),
        }
        rest = &after[close + 1..];
    }
    out.push_str(rest);
    out
}

fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_needs_recipes_and_variables() {
        let text = "GO ?= go\nDIR := cov\nexport GOCOVERDIR := $(DIR)/e2e\n.PHONY: all\nall: build \\\n  other ## help\n\t@$(GO) build -cover \\\n\t  -o bin/x .\n\t-kubectl cp a:/c $(DIR)\n\techo $$HOME $(shell date) $@\ncover: export E2E_COVERAGE=true\ncover: all\n\t$(MAKE) all\n";
        let (flows, _) = read("Makefile", text);
        assert_eq!(flows[0].name, "all");
        assert_eq!(flows[0].needs, ["build", "other"]);
        assert_eq!(flows[0].environment[0].value.as_deref(), Some("cov/e2e"));
        let lines: Vec<String> = flows[0]
            .steps
            .iter()
            .map(|s| format!("{} {}", s.place.line, s.line()))
            .collect();
        assert_eq!(
            lines,
            [
                "7 go build -cover -o bin/x .",
                "9 kubectl cp a:/c cov",
                "10 echo $HOME ${…} ${…}"
            ]
        );
        assert!(flows[0].steps[1].ignored.is_some());
        assert_eq!(flows[1].environment[1].value.as_deref(), Some("true"));
        assert_eq!(flows[1].steps[0].words, ["make", "all"]);
    }
}
