//! Which stages of a Dockerfile build Go, and what makes them build with `-cover`.
//!
//! One of four things is true of each RUN that builds Go:
//!
//! | | what makes it count |
//! |---|---|
//! | it says `-cover`, or the stage's GOFLAGS does | nothing more |
//! | `ARG GOFLAGS` reaches it | the build argument GOFLAGS |
//! | it sets a GOFLAGS of its own | `-cover` behind its `go build` |
//! | all others, `make` too | `ENV GOFLAGS="$GOFLAGS -cover"` before it |
//!
//! ENV stands as late as it may: layers before it (`go mod download`) stay those of the ordinary build.
//! `$GOFLAGS` keeps what the base image, ARG and ENV say. A flag in GOFLAGS that a go command does not
//! know is no error (`go help environment`, Go 1.21 to 1.27).

mod argument;

use crate::dockerfile::{
    Dockerfile, Instruction, Stage, arg_assignments, env_assignments, expands,
};
use crate::edit::Edits;
use crate::shell::{self, Command};

const GOFLAGS: &str = "GOFLAGS";
/// The build argument where ENV sets GOFLAGS: that would hide an argument of its name.
const OTHER_ARGUMENT: &str = "E2E_GOFLAGS";
/// What runs Go's build for somebody.
const BUILD_TOOLS: [&str; 9] = [
    "make",
    "gmake",
    "mage",
    "task",
    "just",
    "ninja",
    "goreleaser",
    "ko",
    "bazel",
];

/// What builds are to get.
#[derive(Clone, Copy)]
struct Wish<'a> {
    flags: &'a str,
    given: Option<&'a str>,
    manner: Manner,
}

/// How builds get the flags that do not have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Always: the file is a copy for one build.
    Fixed,
    /// With a build argument, so that the file builds the same without it.
    Argument,
}

/// What to do to a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What was found, one for each RUN that builds Go, in order.
    pub builds: Vec<Build>,
    /// The value of the build argument, where one is to be given.
    pub build_argument: Option<String>,
    /// The name of the build argument: GOFLAGS, unless ENV sets that.
    pub argument_name: &'static str,
    /// What goes into the Dockerfile.
    pub edits: Edits,
}

/// A RUN that builds Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Name or number of its stage.
    pub stage: String,
    /// Its first line, from 1.
    pub line: usize,
    /// What makes it count.
    pub how: How,
}

/// What makes a build count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It does already.
    Already,
    /// The build argument GOFLAGS, which the Dockerfile has.
    Argument,
    /// ENV before it.
    Environment,
    /// A flag in it, since it sets its own GOFLAGS.
    Flag,
}

/// No plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It has no FROM.
    #[error("it has no FROM: is it a Dockerfile?")]
    NoStage,
    /// Nothing in it builds Go.
    #[error(
        "none of its {stages} stages builds Go: there is no `go build` or `go install`, and no make or script after the sources of a Go module"
    )]
    NoBuild {
        /// How many stages it has.
        stages: usize,
    },
}

/// Plans the flags for all stages that build Go. `flags` are what is wanted (`-cover`, `-coverpkg=…`,
/// separated by blanks), `given` is a GOFLAGS that the user passes as a build argument.
///
/// # Errors
///
/// [`PlanError`] where there is nothing that could be built with coverage.
pub fn plan(file: &Dockerfile<'_>, flags: &str, given: Option<&str>) -> Result<Plan, PlanError> {
    planned(
        file,
        Wish {
            flags,
            given,
            manner: Manner::Fixed,
        },
    )
}

/// Plans a build argument that reaches all stages that build Go. Without the argument everything is built as
/// before.
///
/// # Errors
///
/// [`PlanError`] where there is nothing that could be built with coverage.
pub fn wire(file: &Dockerfile<'_>) -> Result<Plan, PlanError> {
    planned(
        file,
        Wish {
            flags: "-cover",
            given: None,
            manner: Manner::Argument,
        },
    )
}

fn planned(file: &Dockerfile<'_>, wish: Wish<'_>) -> Result<Plan, PlanError> {
    let stages = file.stages();
    if stages.is_empty() {
        return Err(PlanError::NoStage);
    }
    let mut plan = Plan {
        builds: Vec::new(),
        build_argument: None,
        argument_name: GOFLAGS,
        edits: Edits::default(),
    };
    let mut ends: Vec<State> = Vec::new();
    for stage in &stages {
        let mut state = base(stage, &stages)
            .and_then(|n| ends.get(n).cloned())
            .unwrap_or_default();
        // An argument ends with its stage; what it set by ENV does not.
        state.argument = None;
        state.other = false;
        let image = image_name(&stage.base);
        state.go |= image.contains("golang") || image.contains("go-toolset");
        for instruction in &file.instructions[stage.instructions.clone()] {
            step(file, stage, instruction, &mut state, wish, &mut plan);
        }
        ends.push(state);
    }
    match plan.builds.is_empty() {
        true => Err(PlanError::NoBuild {
            stages: stages.len(),
        }),
        false => Ok(plan),
    }
}

/// What is known at a place of a stage.
#[derive(Clone, Debug, Default)]
struct State {
    /// Whether ENV GOFLAGS has the flag here.
    covered: bool,
    /// Whether ENV sets GOFLAGS, so that no argument of that name is seen.
    environment: bool,
    /// `ARG GOFLAGS` of this stage, with its default.
    argument: Option<Option<String>>,
    /// Whether Go and a module's sources are likely here.
    go: bool,
    /// Whether ARG of the other name is in this stage.
    other: bool,
    /// Whether ENV GOFLAGS has the other argument in it.
    through_other: bool,
}

fn step(
    file: &Dockerfile<'_>,
    stage: &Stage,
    instruction: &Instruction,
    state: &mut State,
    wish: Wish<'_>,
    plan: &mut Plan,
) {
    let arguments = file.arguments(instruction);
    match instruction.keyword.as_str() {
        "ARG" => {
            for (name, value) in arg_assignments(&arguments) {
                if name == GOFLAGS {
                    state.argument = Some(value);
                } else if name == OTHER_ARGUMENT {
                    state.other = true;
                }
            }
        }
        "ENV" => {
            for (name, value) in env_assignments(&arguments) {
                if name == GOFLAGS {
                    let value = value.unwrap_or_default();
                    let keeps = expands(&value, GOFLAGS);
                    state.covered =
                        says_cover(value.split_whitespace()) || (keeps && state.covered);
                    state.through_other = state.other && expands(&value, OTHER_ARGUMENT)
                        || (keeps && state.through_other);
                    // With its own value in it, the argument goes on through it.
                    state.environment |= !keeps;
                }
            }
        }
        "COPY" | "ADD" => {
            state.go |= arguments
                .split_whitespace()
                .any(|w| w.trim_matches(['"', ',', '[', ']']).ends_with("go.mod"));
        }
        "RUN" => {
            let commands = run_commands(file, instruction, &arguments);
            state.go |= commands.iter().any(is_go);
            let building: Vec<&Command> = commands.iter().filter(|c| builds(c, state.go)).collect();
            if building.is_empty() {
                return;
            }
            let how = how(file, instruction, state, &building, wish, plan);
            if how == How::Argument {
                let default = wish
                    .given
                    .map(str::to_owned)
                    .or_else(|| state.argument.clone().flatten());
                plan.build_argument = Some(joined(default.as_deref(), wish.flags));
            }
            plan.builds.push(Build {
                stage: stage.title(),
                line: instruction.line,
                how,
            });
        }
        _ => {}
    }
}

/// What makes a RUN count, put into the plan.
fn how(
    file: &Dockerfile<'_>,
    instruction: &Instruction,
    state: &mut State,
    building: &[&Command],
    wish: Wish<'_>,
    plan: &mut Plan,
) -> How {
    let flags = wish.flags;
    if wish.manner == Manner::Argument {
        return argument::argument(file, instruction, state, building, plan);
    }
    let mut how = None;
    let mut needs_environment = false;
    for command in building {
        let own = command
            .assignments
            .iter()
            .rev()
            .find(|(name, _)| name == GOFLAGS);
        let own_covers = own.is_some_and(|(_, value)| says_cover(value.split_whitespace()));
        if own_covers || says_cover(command.words.iter().map(|w| w.text.as_str())) {
            how.get_or_insert(How::Already);
            continue;
        }
        let replaced = own.is_some_and(|(_, value)| !expands(value, GOFLAGS));
        match command.words.get(1).and_then(|w| w.span.clone()) {
            Some(span) if replaced => {
                plan.edits.insert(span.end, format!(" {flags}"));
                how = Some(How::Flag);
            }
            _ => needs_environment = true,
        }
    }
    if !needs_environment {
        return how.unwrap_or(How::Already);
    }
    if state.covered {
        return How::Already;
    }
    if state.argument.is_some() && !state.environment {
        return How::Argument;
    }
    let end = file.line_end(instruction);
    plan.edits.insert(
        instruction.span.start,
        format!("ENV {GOFLAGS}=\"${GOFLAGS} {flags}\"{end}"),
    );
    state.covered = true;
    state.environment = true;
    How::Environment
}

/// The commands of a RUN: of its line, of its here-documents, of its JSON form. Spans are bytes of the
/// Dockerfile.
fn run_commands(file: &Dockerfile<'_>, instruction: &Instruction, arguments: &str) -> Vec<Command> {
    let lead = flags_end(arguments);
    if let Ok(words) = serde_json::from_str::<Vec<String>>(arguments[lead..].trim()) {
        // A shell reads it as it is, quotes and all: good enough to find the words, not their places.
        let line = words
            .iter()
            .map(|w| format!("'{w}'"))
            .collect::<Vec<_>>()
            .join(" ");
        return placed(shell::commands(&line), None);
    }
    // Blanks instead of flags: bytes stay where they are.
    let line = format!("{}{}", " ".repeat(lead), &arguments[lead..]);
    let mut found = placed(shell::commands(&line), Some(instruction.arguments.start));
    // A here-document is a script where no command takes it, or a shell does.
    let script = found
        .iter()
        .all(|c| shell::is_shell(c) && c.words[1..].iter().all(|w| w.text.starts_with('-')));
    for heredoc in instruction.heredocs.iter().filter(|_| script) {
        let body = &file.text[heredoc.body.clone()];
        let other_language = body.strip_prefix("#!").is_some_and(|l| {
            !l.lines()
                .next()
                .unwrap_or_default()
                .trim_end()
                .ends_with("sh")
        });
        if !other_language {
            found.extend(placed(shell::commands(body), Some(heredoc.body.start)));
        }
    }
    found
}

/// Where the flags of a RUN (`--mount=…`) end.
pub(crate) fn flags_end(arguments: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &arguments[at..];
        let blanks = rest.len() - rest.trim_start().len();
        if !rest[blanks..].starts_with("--") {
            return at + blanks;
        }
        at += blanks
            + rest[blanks..]
                .find(char::is_whitespace)
                .unwrap_or(rest.len() - blanks);
    }
}

/// The commands of a script that begins at a byte of the Dockerfile; `None` where its bytes are others.
fn placed(mut commands: Vec<Command>, at: Option<usize>) -> Vec<Command> {
    for word in commands.iter_mut().flat_map(|c| &mut c.words) {
        let span = word.span.take().zip(at);
        word.span = span.map(|(span, at)| span.start + at..span.end + at);
    }
    commands
}

/// `go`, `go1.26`, cross-building's `xx-go`.
fn is_go(command: &Command) -> bool {
    let name = command.name();
    name == "go"
        || name == "xx-go"
        || name
            .strip_prefix("go1.")
            .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a command builds programs out of the sources here. A tool that is fetched by its version
/// (`go install path@v1`) is none.
fn builds(command: &Command, go_is_here: bool) -> bool {
    if is_go(command) {
        let mut words = command.words[1..].iter().map(|w| w.text.as_str());
        return match words.find(|w| !w.starts_with('-')) {
            Some("build") => true,
            Some("install") => !words.any(|w| w.contains('@')),
            _ => false,
        };
    }
    let path = &command.words[0].text;
    let script = path.starts_with("./") || path.ends_with(".sh");
    let script_of_shell = matches!(command.name(), "sh" | "bash")
        && command
            .words
            .get(1)
            .is_some_and(|w| w.text.ends_with(".sh"));
    go_is_here && (script || script_of_shell || BUILD_TOOLS.contains(&command.name()))
}

fn says_cover<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    words.any(|w| {
        matches!(
            w.trim_start_matches('-'),
            "cover" | "cover=true" | "cover=1"
        ) && w.starts_with('-')
    })
}

fn joined(before: Option<&str>, flags: &str) -> String {
    match before.map(str::trim) {
        Some(before) if says_cover(before.split_whitespace()) => before.to_owned(),
        Some(before) if !before.is_empty() => format!("{before} {flags}"),
        _ => flags.to_owned(),
    }
}

/// The number of the stage that a stage begins with.
fn base(stage: &Stage, stages: &[Stage]) -> Option<usize> {
    stages[..stage.number]
        .iter()
        .rev()
        .find(|s| {
            s.name
                .as_ref()
                .is_some_and(|n| n.eq_ignore_ascii_case(&stage.base))
        })
        .map(|s| s.number)
}

/// The name of an image without registry, tag and digest.
pub(crate) fn image_name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The Dockerfile after the plan, and what was said of each build.
    fn planned(text: &str) -> (String, Vec<(usize, How)>, Option<String>) {
        let plan = plan(&Dockerfile::read(text), "-cover", None).expect("something builds Go");
        (
            plan.edits.apply(text),
            plan.builds.iter().map(|b| (b.line, b.how)).collect(),
            plan.build_argument,
        )
    }

    const ENV: &str = "ENV GOFLAGS=\"$GOFLAGS -cover\"\n";

    #[test]
    fn env_stands_right_before_the_build() {
        let (before, run, after) = (
            "FROM golang:1.26 AS b\nCOPY . .\nRUN go mod download\n# now\n",
            "RUN --mount=type=cache,target=/root \\\n  CGO_ENABLED=0 go build \\\n  -o /a .\n",
            "FROM scratch\nCOPY --from=b /a /a\n",
        );
        let (text, builds, argument) = planned(&format!("{before}{run}{after}"));
        assert_eq!(text, format!("{before}{ENV}{run}{after}"));
        assert_eq!(builds, [(5, How::Environment)]);
        assert_eq!(argument, None);
    }

    #[test]
    fn one_env_serves_a_stage_and_those_that_begin_with_it() {
        let text = "FROM golang AS a\nRUN go build ./x\nRUN go build ./y\nFROM A AS b\nRUN make\nFROM golang\nRUN go install ./z\n";
        let (text, builds, _) = planned(text);
        assert_eq!(text.matches(ENV).count(), 2);
        let how: Vec<How> = builds.iter().map(|b| b.1).collect();
        assert_eq!(
            how,
            [
                How::Environment,
                How::Already,
                How::Already,
                How::Environment
            ]
        );
    }

    #[test]
    fn an_argument_that_reaches_the_build_is_used() {
        for run in [
            "RUN go build .",
            "RUN GOFLAGS=${GOFLAGS} go build .",
            "ENV GOFLAGS=$GOFLAGS\nRUN make",
        ] {
            let text = format!("FROM golang\nARG GOFLAGS=-mod=vendor\n{run}\n");
            let (after, builds, argument) = planned(&text);
            assert_eq!(after, text, "{run}");
            assert_eq!(builds[0].1, How::Argument);
            assert_eq!(argument.as_deref(), Some("-mod=vendor -cover"));
        }
    }

    #[test]
    fn an_argument_that_does_not_reach_it_is_none() {
        for head in [
            "ARG GOFLAGS\nFROM golang\n",
            "FROM golang\nARG GOFLAGS\nENV GOFLAGS=-mod=vendor\n",
            "FROM golang AS a\nARG GOFLAGS\nFROM a\n",
            "FROM golang\n# ARG GOFLAGS\n",
            "FROM golang\nRUN echo 'ARG GOFLAGS'\n",
        ] {
            let (after, builds, argument) = planned(&format!("{head}RUN go build .\n"));
            assert_eq!(after, format!("{head}{ENV}RUN go build .\n"));
            assert_eq!((builds[0].1, argument), (How::Environment, None));
        }
    }

    #[test]
    fn a_build_with_flags_of_its_own_gets_one_more() {
        let text = "FROM golang\nRUN cd a && GOFLAGS=-mod=vendor go build -o /a . && go build -cover ./b\n";
        let (after, builds, _) = planned(text);
        assert_eq!(
            after,
            "FROM golang\nRUN cd a && GOFLAGS=-mod=vendor go build -cover -o /a . && go build -cover ./b\n"
        );
        assert_eq!(builds, [(2, How::Flag)]);
        let text = "FROM golang\nRUN <<EOF\ncd a\nsh -c 'GOFLAGS=-v go install ./x'\nEOF\n";
        assert_eq!(planned(text).0, text.replace("install", "install -cover"));
    }

    #[test]
    fn what_counts_already_is_left_alone() {
        for text in [
            "FROM golang\nRUN go build -cover .\n",
            "FROM golang\nENV GOFLAGS=-cover\nRUN go build .\n",
            "FROM golang\nENV GOFLAGS '-mod=vendor -cover=true'\nRUN make\n",
            "FROM golang\nRUN GOFLAGS='-cover -v' go build .\n",
        ] {
            let (after, builds, argument) = planned(text);
            assert_eq!(
                (after.as_str(), builds[0].1, argument),
                (text, How::Already, None)
            );
        }
        let text = "FROM golang\nENV GOFLAGS=-cover\nENV GOFLAGS=-v\nRUN go build .\n";
        assert_eq!(planned(text).1, [(4, How::Environment)]);
    }

    #[test]
    fn other_ways_to_build() {
        for (text, line) in [
            ("FROM x\nCOPY go.mod go.sum ./\nRUN ./build.sh\n", 3),
            (
                "FROM x\nCOPY [\"go.mod\", \"./\"]\nRUN bash hack/build.sh\n",
                3,
            ),
            ("FROM golang\nRUN [\"go\", \"build\", \".\"]\n", 2),
            (
                "FROM --platform=$BUILDPLATFORM reg.example/lib/golang:1@sha256:0 AS x\nRUN xx-go build .\n",
                2,
            ),
            ("FROM x\nRUN /usr/local/go/bin/go build .\n", 2),
        ] {
            assert_eq!(planned(text).1, [(line, How::Environment)], "{text}");
        }
    }

    /// The Dockerfile with a build argument.
    fn wired(text: &str) -> String {
        let plan = wire(&Dockerfile::read(text)).expect("something builds Go");
        let after = plan.edits.apply(text);
        let twice = wire(&Dockerfile::read(&after)).expect("it still does");
        assert!(twice.edits.is_empty(), "{after}\n{:?}", twice.edits);
        after
    }

    #[test]
    fn an_argument_is_declared_where_it_is_read() {
        for (before, after) in [
            (
                "FROM golang AS b\nCOPY . .\nRUN CGO_ENABLED=0 GOARCH=${X} go build \\\n  -o a .\nFROM b\nRUN go install .\n",
                "FROM golang AS b\nCOPY . .\nARG GOFLAGS\nRUN CGO_ENABLED=0 GOARCH=${X} GOFLAGS=${GOFLAGS} go build \\\n  -o a .\nFROM b\nARG GOFLAGS\nRUN GOFLAGS=${GOFLAGS} go install .\n",
            ),
            (
                "FROM golang\r\nRUN --mount=type=cache,target=/x cd a && go build . && exec go build ./b\r\nRUN go build ./c\r\n",
                "FROM golang\r\nARG GOFLAGS\r\nRUN --mount=type=cache,target=/x cd a && GOFLAGS=${GOFLAGS} go build . && exec go build ./b\r\nRUN go build ./c\r\n",
            ),
            (
                "FROM golang\nCOPY go.mod .\nRUN make",
                "FROM golang\nCOPY go.mod .\nARG GOFLAGS\nRUN make",
            ),
            (
                "FROM golang\nRUN GOFLAGS=-mod=vendor go build .\n",
                "FROM golang\nARG GOFLAGS\nRUN GOFLAGS=-mod=vendor go build ${GOFLAGS} .\n",
            ),
            (
                "FROM golang\nENV GOFLAGS=-mod=vendor\nRUN go build .\n",
                "FROM golang\nENV GOFLAGS=-mod=vendor\nARG E2E_GOFLAGS\nENV GOFLAGS=\"$GOFLAGS $E2E_GOFLAGS\"\nRUN go build .\n",
            ),
            (
                "FROM golang\nARG GOFLAGS\nRUN go build .\n",
                "FROM golang\nARG GOFLAGS\nRUN go build .\n",
            ),
            (
                "FROM golang\nRUN go build -cover .\n",
                "FROM golang\nRUN go build -cover .\n",
            ),
            (
                "ARG GOFLAGS\nFROM golang\nRUN [\"go\", \"build\", \".\"]\n",
                "ARG GOFLAGS\nFROM golang\nARG GOFLAGS\nRUN [\"go\", \"build\", \".\"]\n",
            ),
        ] {
            assert_eq!(wired(before), after);
        }
    }

    #[test]
    fn windows_lines_stay_windows_lines() {
        let (text, ..) = planned("FROM golang\r\nRUN go build .\r\n");
        assert_eq!(
            text,
            "FROM golang\r\nENV GOFLAGS=\"$GOFLAGS -cover\"\r\nRUN go build .\r\n"
        );
    }

    #[test]
    fn what_builds_no_go_is_refused() {
        for text in [
            "FROM rust\nRUN cargo build && make\n",
            "FROM golang\n# RUN go build\nRUN echo go build\n",
            "FROM golang\nRUN go install example.com/tool@v1\n",
            "FROM golang\nRUN <<EOF cat\ngo build\nEOF\nCOPY <<EOF /x\ngo build\nEOF\nRUN <<EOF\n#!/usr/bin/python3\ngo build\nEOF\n",
        ] {
            let error = plan(&Dockerfile::read(text), "-cover", None);
            assert_eq!(error, Err(PlanError::NoBuild { stages: 1 }), "{text}");
        }
        assert_eq!(
            plan(&Dockerfile::read("hello"), "-cover", None),
            Err(PlanError::NoStage)
        );
    }

    #[test]
    fn what_the_user_gives_comes_first() {
        let plan = plan(
            &Dockerfile::read("FROM golang\nARG GOFLAGS=-v\nRUN go build ."),
            "-cover",
            Some("-x"),
        );
        assert_eq!(
            plan.expect("it builds").build_argument.as_deref(),
            Some("-x -cover")
        );
    }

    proptest! {
        /// Twice is once: what was planned is in effect afterwards.
        #[test]
        fn a_second_plan_has_nothing_to_do(lines in prop::collection::vec(prop::sample::select(vec![
            "FROM golang", "FROM golang AS a", "FROM a", "ENV GOFLAGS=-v", "ENV GOFLAGS=$GOFLAGS", "RUN make",
            "ARG GOFLAGS", "ARG E2E_GOFLAGS", "RUN go build .", "RUN GOFLAGS=-v go build . && go build x", "RUN GOFLAGS=$GOFLAGS go install ./...", "COPY go.mod .", "# c", "",
        ]), 1..12)) {
            let text = lines.join("\n");
            if let Ok(first) = plan(&Dockerfile::read(&text), "-cover", None) {
                let after = first.edits.apply(&text);
                let second = plan(&Dockerfile::read(&after), "-cover", None).expect("it builds still");
                prop_assert!(second.edits.is_empty(), "{after}\n{:?}", second.edits);
                prop_assert!(second.builds.iter().all(|b| matches!(b.how, How::Already | How::Argument)));
                wired(&text);
            }
        }
    }
}
