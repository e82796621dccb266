//! Jobs of GitHub and GitLab as flows.

use std::collections::BTreeMap;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Step, Variable, concerns_coverage};

use super::script;
use super::yaml::Node;

/// The jobs of a workflow or of a composite action of GitHub; texts that their scripts write.
pub(super) fn github(file: &str, node: &Node) -> (Vec<Flow>, Vec<(usize, String)>) {
    let mut texts = Vec::new();
    let above = environment(file, node);
    let mut flows = Vec::new();
    let jobs = node.get("jobs").map(Node::entries).unwrap_or_default();
    let composite = node
        .at(&["runs", "steps"])
        .is_some()
        .then(|| (String::from("action"), node.get("runs")));
    let jobs = jobs
        .iter()
        .map(|(name, job)| (name.clone(), Some(job)))
        .chain(composite);
    for (name, job) in jobs {
        let Some(job) = job else { continue };
        let mut flow = Flow {
            kind: FlowKind::Job,
            name,
            place: Place::new(file, job.line),
            needs: job.get("needs").map(Node::strings).unwrap_or_default(),
            environment: above.clone(),
            steps: Vec::new(),
        };
        flow.environment.extend(environment(file, job));
        for step in job.get("steps").map(Node::items).unwrap_or_default() {
            let given: Vec<(String, String)> = environment(file, step)
                .into_iter()
                .map(|v| (v.name, v.value.unwrap_or_else(|| "…".to_owned())))
                .collect();
            let condition = step.string("if").map(str::to_owned);
            let ignored = step
                .boolean("continue-on-error")
                .then(|| "continue-on-error".to_owned());
            if let Some(run) = step.get("run") {
                let text = run.text().unwrap_or_default();
                // A block begins on the line after its key.
                let line = if text.contains('\n') {
                    run.line + 1
                } else {
                    run.line
                };
                let script = script::read(file, text, line, &BTreeMap::new());
                flow.environment.extend(script.environment);
                texts.extend(script.texts);
                flow.steps.extend(script.steps.into_iter().map(|mut s| {
                    s.environment.extend(given.iter().cloned());
                    s.condition = s.condition.or_else(|| condition.clone());
                    s.ignored = s.ignored.or_else(|| ignored.clone());
                    s
                }));
            } else if let Some(uses) = step.string("uses") {
                let with = step.get("with").map(Node::entries).unwrap_or_default();
                let mut words = vec![format!("uses:{}", uses.split('@').next().unwrap_or(uses))];
                let plain = |key: &str| {
                    !["token", "password", "secret"]
                        .iter()
                        .any(|w| key.contains(w))
                };
                for (key, value) in with.iter().filter(|(k, _)| plain(k)) {
                    words.push(format!("{key}={}", value.text().unwrap_or_default()));
                }
                flow.steps.push(Step {
                    place: Place::new(file, step.line),
                    call: true,
                    words,
                    environment: given,
                    condition,
                    ignored,
                    background: false,
                    output: None,
                    replaces_shell: false,
                });
            }
        }
        flows.push(flow);
    }
    (flows, texts)
}

/// The jobs of a GitLab pipeline.
pub(super) fn gitlab(file: &str, node: &Node) -> Vec<Flow> {
    let above = variables(file, node);
    let mut flows = Vec::new();
    for (name, job) in node.entries() {
        let mut flow = Flow {
            kind: FlowKind::Job,
            name: name.clone(),
            place: Place::new(file, job.line),
            needs: job.get("needs").map(Node::strings).unwrap_or_default(),
            environment: above.clone(),
            steps: Vec::new(),
        };
        flow.environment.extend(variables(file, job));
        for key in ["before_script", "script", "after_script"] {
            let Some(lines) = job.get(key) else { continue };
            let single = lines.text().map(|_| lines);
            for line in lines.items().iter().chain(single) {
                let text = line.text().unwrap_or_default();
                let at = if text.contains('\n') {
                    line.line + 1
                } else {
                    line.line
                };
                let script = script::read(file, text, at, &BTreeMap::new());
                flow.environment.extend(script.environment);
                flow.steps.extend(script.steps);
            }
        }
        if !flow.steps.is_empty() {
            flows.push(flow);
        }
    }
    flows
}

fn environment(file: &str, node: &Node) -> Vec<Variable> {
    all(file, node.get("env"))
}

fn variables(file: &str, node: &Node) -> Vec<Variable> {
    all(file, node.get("variables"))
}

fn all(file: &str, node: Option<&Node>) -> Vec<Variable> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let variable = |(name, value): &(String, Node)| Variable {
        name: name.clone(),
        value: value
            .text()
            .filter(|_| concerns_coverage(name))
            .map(str::to_owned),
        place: Place::new(file, value.line),
    };
    entries.iter().map(variable).collect()
}
