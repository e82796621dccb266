//! Flags that come with a build argument, so that the file builds the same without it.
//!
//! | a RUN that builds Go | gets |
//! |---|---|
//! | as a rule | `ARG GOFLAGS` before it, and `GOFLAGS=${GOFLAGS}` at its `go build`, where that is read |
//! | after ENV GOFLAGS, which hides an argument of that name | `ARG E2E_GOFLAGS` and `ENV GOFLAGS="$GOFLAGS $E2E_GOFLAGS"` |
//! | with a GOFLAGS of its own | the argument behind `go build` |

use super::{
    Command, Dockerfile, GOFLAGS, How, Instruction, OTHER_ARGUMENT, Plan, State, expands,
    flags_end, is_go, says_cover,
};

/// The same with a build argument.
pub(super) fn argument(
    file: &Dockerfile<'_>,
    instruction: &Instruction,
    state: &mut State,
    building: &[&Command],
    plan: &mut Plan,
) -> How {
    let covers = |c: &Command| {
        let own = own_flags(c).is_some_and(|v| says_cover(v.split_whitespace()));
        own || says_cover(c.words.iter().map(|w| w.text.as_str()))
    };
    let open: Vec<&&Command> = building.iter().filter(|c| !covers(c)).collect();
    let replaced = |c: &Command| own_flags(c).is_some_and(|v| !expands(v, GOFLAGS));
    if open.is_empty() || state.covered && !open.iter().any(|c| replaced(c)) {
        return How::Already;
    }
    let name = if state.environment {
        OTHER_ARGUMENT
    } else {
        GOFLAGS
    };
    let takes = |c: &Command| c.words.iter().any(|w| expands(&w.text, name));
    let end = file.line_end(instruction);
    let at = instruction.span.start;
    let mut before = String::new();
    if state.environment && !state.other || !state.environment && state.argument.is_none() {
        before = format!("ARG {name}{end}");
    }
    let mut through = state.through_other;
    if state.environment && !through && open.iter().any(|c| !replaced(c)) {
        before.push_str(&format!("ENV {GOFLAGS}=\"${GOFLAGS} ${name}\"{end}"));
        through = true;
    }
    let fresh = !before.is_empty();
    if fresh {
        plan.edits.insert(at, before);
    }
    for command in &open {
        let verb = command.words.get(1).and_then(|w| w.span.clone());
        if replaced(command) && !takes(command) {
            if let Some(span) = verb {
                plan.edits.insert(span.end, format!(" ${{{name}}}"));
            }
        } else if fresh
            && !state.environment
            && own_flags(command).is_none()
            && let Some(span) = command.words[0].span.clone().filter(|_| is_go(command))
            && begins_command(file, instruction, span.start)
        {
            // ARG alone would do; this says it where it is read.
            plan.edits
                .insert(span.start, format!("{GOFLAGS}=${{{GOFLAGS}}} "));
        }
    }
    match state.environment {
        true => (state.other, state.through_other) = (true, through),
        false if state.argument.is_none() => state.argument = Some(None),
        false => {}
    }
    plan.argument_name = name;
    How::Argument
}

/// The GOFLAGS that a command is given.
fn own_flags(command: &Command) -> Option<&str> {
    let found = command.assignments.iter().rev().find(|(n, _)| n == GOFLAGS);
    found.map(|(_, value)| value.as_str())
}

/// Whether an assignment may stand before a byte: a command begins there, maybe with assignments.
fn begins_command(file: &Dockerfile<'_>, instruction: &Instruction, at: usize) -> bool {
    let arguments = &file.arguments(instruction);
    let Some(before) = at
        .checked_sub(instruction.arguments.start)
        .and_then(|n| arguments.get(..n))
    else {
        return false;
    };
    let mut words = before[flags_end(arguments).min(before.len())..]
        .split_whitespace()
        .rev();
    let assigns = |word: &str| {
        word.split_once('=').is_some_and(|(name, value)| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !value.contains(['"', '\'', '`', '('])
        })
    };
    match words.find(|word| !assigns(word)) {
        None => true,
        Some(word) => {
            word.ends_with(['&', '|', ';', '(']) || matches!(word, "then" | "do" | "else" | "{")
        }
    }
}
