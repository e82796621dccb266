//! A Dockerfile as facts: stages and what concerns what is built, where it lies, who runs it.

use std::collections::BTreeMap;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{
    Dockerfile, Instruction, Launch, Stage, Step, Variable, concerns_coverage,
};

use super::script;
use crate::dockerfile::{self, arg_assignments, env_assignments};
use crate::instrument::flags_end;
use crate::shell;

/// Reads one.
pub(super) fn read(file: &str, text: &str) -> Dockerfile {
    let parsed = dockerfile::Dockerfile::read(text);
    let stages = parsed.stages();
    let mut arguments = Vec::new();
    let first = stages
        .first()
        .map_or(parsed.instructions.len(), |s| s.instructions.start);
    for instruction in &parsed.instructions[..first] {
        if instruction.keyword == "ARG" {
            let place = Place::new(file, instruction.line);
            arguments.extend(variables(
                arg_assignments(&parsed.arguments(instruction)),
                &place,
                true,
            ));
        }
    }
    let mut out: Vec<Stage> = Vec::new();
    for stage in &stages {
        let base = expanded(&stage.base, &arguments);
        let from = out
            .iter()
            .rposition(|s| s.title.eq_ignore_ascii_case(&base));
        let mut instructions = Vec::new();
        for instruction in &parsed.instructions[stage.instructions.clone()] {
            self::instruction(&parsed, instruction, file, &mut instructions);
        }
        let line = parsed.instructions[stage.instructions.start].line;
        out.push(Stage {
            title: stage.title(),
            place: Place::new(file, line),
            base,
            from,
            instructions,
        });
    }
    Dockerfile {
        file: file.to_owned(),
        arguments,
        stages: out,
    }
}

fn instruction(
    parsed: &dockerfile::Dockerfile<'_>,
    instruction: &dockerfile::Instruction,
    file: &str,
    out: &mut Vec<Instruction>,
) {
    let text = parsed.arguments(instruction);
    let place = Place::new(file, instruction.line);
    match instruction.keyword.as_str() {
        "ARG" => {
            let all = variables(arg_assignments(&text), &place, true);
            out.extend(all.into_iter().map(Instruction::Argument));
        }
        "ENV" => {
            let all = variables(env_assignments(&text), &place, false);
            out.extend(all.into_iter().map(Instruction::Environment));
        }
        "RUN" => out.extend(
            run(parsed, instruction, file, &text)
                .into_iter()
                .map(Instruction::Run),
        ),
        "COPY" | "ADD" => {
            let lead = flags_end(&text);
            let flag = |name: &str| {
                let flags = text[..lead].split_whitespace();
                flags
                    .filter_map(|f| f.strip_prefix(name))
                    .map(str::to_owned)
                    .next()
            };
            let mut words = list(&text[lead..])
                .unwrap_or_else(|| text[lead..].split_whitespace().map(str::to_owned).collect());
            if let Some(target) = words.pop() {
                out.push(Instruction::Copy {
                    from: flag("--from="),
                    owner: flag("--chown="),
                    sources: words,
                    target,
                    place,
                });
            }
        }
        "USER" => {
            let user = text
                .trim()
                .trim_matches('"')
                .split(':')
                .next()
                .unwrap_or_default();
            out.push(Instruction::User(user.to_owned(), place));
        }
        "WORKDIR" => out.push(Instruction::Directory(
            text.trim().trim_matches('"').to_owned(),
            place,
        )),
        "STOPSIGNAL" => out.push(Instruction::StopSignal(text.trim().to_owned(), place)),
        "VOLUME" => {
            let paths =
                list(&text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect());
            out.extend(
                paths
                    .into_iter()
                    .map(|path| Instruction::Volume(path, place.clone())),
            );
        }
        "ENTRYPOINT" => out.push(Instruction::Entrypoint(launch(&text, place))),
        "CMD" => out.push(Instruction::Command(launch(&text, place))),
        _ => {}
    }
}

fn run(
    parsed: &dockerfile::Dockerfile<'_>,
    instruction: &dockerfile::Instruction,
    file: &str,
    text: &str,
) -> Vec<Step> {
    let lead = flags_end(text);
    if let Some(words) = list(&text[lead..]) {
        let line = words
            .iter()
            .map(|w| format!("'{w}'"))
            .collect::<Vec<_>>()
            .join(" ");
        return script::read(file, &line, instruction.line, &BTreeMap::new()).steps;
    }
    // Blanks instead of flags and of `RUN`: lines stay what they are.
    let line = format!("{}{}", " ".repeat(lead), &text[lead..]);
    // A blanked line end would join lines that the shell joins too; here the lines are to be known.
    let original = &parsed.text[instruction.arguments.clone()];
    let kept: String = line
        .char_indices()
        .map(|(at, c)| {
            if original.as_bytes().get(at) == Some(&b'\n') {
                '\u{1}'
            } else {
                c
            }
        })
        .collect();
    let kept = kept.replace('\u{1}', "\\\n");
    let mut steps = script::read(file, &kept, instruction.line, &BTreeMap::new()).steps;
    let script = |s: &Step| {
        shell::is_shell_name(s.program()) && s.words[1..].iter().all(|w| w.starts_with('-'))
    };
    if steps.iter().all(script) {
        for heredoc in &instruction.heredocs {
            let line = 1 + parsed.text[..heredoc.body.start].matches('\n').count();
            let body = &parsed.text[heredoc.body.clone()];
            steps.extend(script::read(file, body, line, &BTreeMap::new()).steps);
        }
    }
    steps
}

/// The exec form.
fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text.trim()).ok()
}

fn launch(text: &str, place: Place) -> Launch {
    match list(text) {
        Some(words) => Launch {
            shell: false,
            words,
            place,
        },
        None => Launch {
            shell: true,
            words: vec![text.split_whitespace().collect::<Vec<_>>().join(" ")],
            place,
        },
    }
}

/// `all` keeps the value of whatever it is: arguments name images, users, folders.
fn variables(pairs: Vec<(String, Option<String>)>, place: &Place, all: bool) -> Vec<Variable> {
    let secret = |name: &str| {
        let upper = name.to_ascii_uppercase();
        ["TOKEN", "SECRET", "PASS", "KEY", "CREDENTIAL"]
            .iter()
            .any(|w| upper.contains(w))
    };
    let variable = |(name, value): (String, Option<String>)| Variable {
        value: value.filter(|_| concerns_coverage(&name) || (all && !secret(&name))),
        name,
        place: place.clone(),
    };
    pairs.into_iter().map(variable).collect()
}

/// Arguments with a default put in.
fn expanded(text: &str, arguments: &[Variable]) -> String {
    let mut out = text.to_owned();
    for argument in arguments {
        if let Some(value) = &argument.value {
            out = out.replace(&format!("${{{}}}", argument.name), value);
            if out == format!("${}", argument.name) {
                out.clone_from(value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_with_lines_of_their_commands() {
        let text = "ARG B=golang:1.26\nFROM ${B} AS build\nARG GOFLAGS\nRUN --mount=type=cache,target=/x \\\n  cd /a \\\n  # why\n  && GOFLAGS=${GOFLAGS} go build .\nFROM scratch\nCOPY --from=build --chown=7 /a/b /b\nUSER 7:8\nENTRYPOINT [\"/b\"]\n";
        let file = read("Dockerfile", text);
        assert_eq!(file.stages[0].base, "golang:1.26");
        let Instruction::Run(step) = &file.stages[0].instructions[2] else {
            panic!("{:?}", file.stages[0].instructions);
        };
        assert_eq!(
            (step.place.line, step.line().as_str()),
            (7, "GOFLAGS=${GOFLAGS} go build .")
        );
        assert!(
            matches!(&file.stages[1].instructions[1], Instruction::User(user, _) if user == "7")
        );
    }
}
