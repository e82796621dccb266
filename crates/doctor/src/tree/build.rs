//! What builds Go programs and images, and whether with coverage.

use std::collections::BTreeMap;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{
    Dockerfile, Flow, Instruction, Repository, Stage, Step, is_open,
};

/// Programs that build images.
const BUILDERS: [&str; 4] = ["docker", "podman", "nerdctl", "buildah"];

/// Whether a build counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// It says so.
    Yes,
    /// A build argument that reaches it decides.
    Argument(String),
    /// A variable decides that no ARG or ENV of its stage declares; where the stage's place is.
    Undeclared(String),
    /// It has flags of its own instead of GOFLAGS, from here.
    Overridden(Place, String),
    /// Something decides that cannot be seen here.
    Unknown,
    /// Nothing could turn it on.
    No,
}

/// A command that builds a Go program in a Dockerfile.
pub(crate) struct GoBuild<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) step: &'a Step,
    pub(crate) cover: Cover,
}

/// A command that builds an image.
pub(crate) struct ImageBuild<'a> {
    pub(crate) flow: &'a Flow,
    pub(crate) step: &'a Step,
    pub(crate) dockerfile: Option<&'a Dockerfile>,
    pub(crate) tags: Vec<String>,
    /// `--build-arg`.
    pub(crate) arguments: Vec<(String, String)>,
    /// Whether more arguments may be given that cannot be seen.
    pub(crate) open: bool,
}

/// Whether flags of go turn coverage on: `-coverpkg` and `-covermode` do too.
pub(crate) fn says_cover<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    words.flat_map(str::split_whitespace).any(|word| {
        let word = word.trim_matches(['"', '\'']);
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return false;
        };
        matches!(
            flag,
            "cover" | "cover=true" | "cover=1" | "coverpkg" | "covermode"
        ) || flag.starts_with("coverpkg=")
            || flag.starts_with("covermode=")
    })
}

/// Whether a step builds a program out of Go sources.
pub(crate) fn is_go_build(step: &Step) -> bool {
    let program = step.program();
    let go = program == "go" || program == "xx-go" || program.starts_with("go1.");
    let verb = step
        .words
        .iter()
        .skip(1)
        .find(|w| !w.starts_with('-'))
        .map(String::as_str);
    go && !step.call
        && match verb {
            Some("build") => true,
            Some("install") => !step.says("@"),
            _ => false,
        }
}

/// Whether a step builds with coverage what is to run (`go run -cover` too).
pub(crate) fn go_builds_with_coverage(step: &Step) -> bool {
    let flags = step
        .environment
        .iter()
        .filter(|(n, _)| n == "GOFLAGS")
        .map(|(_, v)| v.as_str());
    let words = step.words.iter().map(String::as_str);
    (is_go_build(step) || step.runs(&["go", "run"])) && says_cover(flags.chain(words))
}

/// Whether a Dockerfile builds Go programs.
pub(crate) fn builds_go(dockerfile: &Dockerfile) -> bool {
    go_builds(dockerfile).next().is_some()
}

/// Whether a Dockerfile's path has a name in it as a whole word.
pub(crate) fn is_named(file: &str, name: &str) -> bool {
    let words = file.split(['/', '.']).map(|w| w.replace('_', "-"));
    let name = name.replace('_', "-");
    words.into_iter().any(|w| w == name)
}

/// What builds Go in a Dockerfile, in its order; without a `go build`, what may do so for somebody.
pub(crate) fn go_builds(dockerfile: &Dockerfile) -> impl Iterator<Item = GoBuild<'_>> {
    let mut ends: Vec<State> = Vec::new();
    let mut found = Vec::new();
    for stage in &dockerfile.stages {
        let mut state = stage
            .from
            .and_then(|n| ends.get(n).cloned())
            .unwrap_or_default();
        state.arguments.clear();
        state.go |= stage.base.contains("golang") || stage.base.contains("go-toolset");
        for instruction in &stage.instructions {
            match instruction {
                Instruction::Argument(v) => {
                    let inherited = dockerfile.arguments.iter().find(|a| a.name == v.name);
                    let value = v
                        .value
                        .clone()
                        .or_else(|| inherited.and_then(|a| a.value.clone()));
                    state.arguments.insert(v.name.clone(), value);
                }
                Instruction::Environment(v) => {
                    let value = v.value.clone().unwrap_or_else(|| "$".to_owned());
                    state
                        .environment
                        .insert(v.name.clone(), (value, v.place.clone()));
                }
                Instruction::Run(step) if is_go_build(step) => {
                    found.push(GoBuild {
                        stage,
                        step,
                        cover: state.cover(step),
                    });
                }
                Instruction::Run(step) if state.go && builds_for_somebody(step) => {
                    found.push(GoBuild {
                        stage,
                        step,
                        cover: Cover::Unknown,
                    });
                }
                _ => {}
            }
        }
        ends.push(state);
    }
    found.into_iter()
}

fn builds_for_somebody(step: &Step) -> bool {
    let word = step.words.first().map_or("", String::as_str);
    matches!(
        step.program(),
        "make" | "mage" | "task" | "just" | "goreleaser" | "ko" | "bazel"
    ) || word.starts_with("./")
        || word.ends_with(".sh")
}

/// What is known at a place of a stage.
#[derive(Clone, Default)]
struct State {
    arguments: BTreeMap<String, Option<String>>,
    environment: BTreeMap<String, (String, Place)>,
    go: bool,
}

impl State {
    fn cover(&self, step: &Step) -> Cover {
        if says_cover(step.words.iter().map(String::as_str)) {
            return Cover::Yes;
        }
        let mut best = Cover::No;
        if let Some((_, value)) = step.environment.iter().rev().find(|(n, _)| n == "GOFLAGS") {
            best = self.of_value(value, 0);
            if best == Cover::No {
                best = Cover::Overridden(step.place.clone(), format!("GOFLAGS={value}"));
            }
        } else if let Some((value, place)) = self.environment.get("GOFLAGS") {
            best = self.of_value(value, 0);
            if best == Cover::No && self.arguments.contains_key("GOFLAGS") {
                best = Cover::Overridden(place.clone(), format!("ENV GOFLAGS={value}"));
            }
        } else if let Some(default) = self.arguments.get("GOFLAGS") {
            best = match default
                .as_deref()
                .is_some_and(|d| says_cover([d].into_iter()))
            {
                true => Cover::Yes,
                false => Cover::Argument("GOFLAGS".to_owned()),
            };
        }
        // `go build ${COVERFLAGS} …`: a word of flags.
        for word in step.words.iter().skip(2).filter(|w| w.starts_with('$')) {
            let here = self.of_value(word, 0);
            best = match (&best, here) {
                (_, Cover::Yes) => Cover::Yes,
                (Cover::No | Cover::Overridden(..), here) if here != Cover::No => here,
                _ => best,
            };
        }
        best
    }

    /// What a value with variables in it can bring.
    fn of_value(&self, value: &str, depth: usize) -> Cover {
        if says_cover([value].into_iter()) {
            return Cover::Yes;
        }
        if depth > 4 {
            return Cover::Unknown;
        }
        let mut best = Cover::No;
        for name in variables(value) {
            let here = if let Some((value, _)) = self.environment.get(&name) {
                match variables(value).contains(&name) {
                    // `ENV GOFLAGS="$GOFLAGS -x"`: what it was before, an argument.
                    true if self.arguments.contains_key(&name) => Cover::Argument(name.clone()),
                    true => Cover::Undeclared(name.clone()),
                    false => self.of_value(value, depth + 1),
                }
            } else if let Some(default) = self.arguments.get(&name) {
                match default
                    .as_deref()
                    .is_some_and(|d| says_cover([d].into_iter()))
                {
                    true => Cover::Yes,
                    false => Cover::Argument(name.clone()),
                }
            } else if name.is_empty() || name == "…" {
                Cover::Unknown
            } else {
                Cover::Undeclared(name.clone())
            };
            best = match (&best, here) {
                (Cover::No, here) => here,
                (_, Cover::Yes) => Cover::Yes,
                (Cover::Undeclared(_), here @ Cover::Argument(_)) => here,
                _ => best,
            };
        }
        best
    }
}

/// The variables in a value.
fn variables(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in value.match_indices('$') {
        let rest = &value[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '…')))
            .unwrap_or(rest.len());
        names.push(rest[..end].to_owned());
    }
    names
}

/// All commands that build images, at numbers of flows and steps.
pub(super) fn images<'a>(repository: &'a Repository, at: &[(usize, usize)]) -> Vec<ImageBuild<'a>> {
    let steps = at.iter().filter_map(|(flow, step)| {
        let flow = repository.flows.get(*flow)?;
        Some((flow, flow.steps.get(*step)?))
    });
    steps
        .filter_map(|(flow, step)| image(repository, flow, step))
        .collect()
}

/// Whether a step builds an image.
pub(super) fn is_image(step: &Step) -> bool {
    is_image_build(step)
        || (step.call && step.words[0].starts_with("uses:docker/build-push-action"))
}

fn image<'a>(repository: &'a Repository, flow: &'a Flow, step: &'a Step) -> Option<ImageBuild<'a>> {
    let action = step.call && step.words[0].starts_with("uses:docker/build-push-action");
    if !action && !is_image_build(step) {
        return None;
    }
    let value = |name: &str| {
        step.words
            .iter()
            .find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let (file, context, tags, arguments) = match action {
        true => (
            value("file"),
            value("context"),
            value("tags")
                .map(|t| t.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            value("build-args")
                .map(|t| t.lines().map(str::to_owned).collect())
                .unwrap_or_default(),
        ),
        false => {
            let owned = |names: &[&str]| -> Vec<String> {
                step.flags(names).into_iter().map(str::to_owned).collect()
            };
            (
                step.flag(&["-f", "--file"]).map(str::to_owned),
                step.words.last().filter(|w| !w.starts_with('-')).cloned(),
                owned(&["-t", "--tag"]),
                owned(&["--build-arg"]),
            )
        }
    };
    let arguments = arguments.iter().map(|a: &String| match a.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        // Without a value it is that of the environment.
        None => {
            let given = step
                .environment
                .iter()
                .find(|(n, _)| n == a)
                .map(|(_, v)| v.clone());
            (a.clone(), given.unwrap_or_else(|| format!("${a}")))
        }
    });
    let open = step.words.iter().skip(2).any(|w| {
        w.starts_with('$')
            && (w.contains('…')
                || w.contains("rg")
                || w.contains("PT")
                || w.contains("LAG")
                || w.contains('@'))
    });
    Some(ImageBuild {
        flow,
        step,
        dockerfile: dockerfile(repository, file.as_deref(), context.as_deref()),
        tags,
        arguments: arguments.collect(),
        open,
    })
}

fn is_image_build(step: &Step) -> bool {
    if step.call || !BUILDERS.contains(&step.program()) {
        return false;
    }
    let words: Vec<&str> = step
        .words
        .iter()
        .skip(1)
        .map(String::as_str)
        .filter(|w| !w.starts_with('-'))
        .collect();
    matches!(
        words[..],
        ["build" | "bud", ..] | ["buildx" | "image" | "builder", "build", ..]
    )
}

fn dockerfile<'a>(
    repository: &'a Repository,
    file: Option<&str>,
    context: Option<&str>,
) -> Option<&'a Dockerfile> {
    let all = &repository.dockerfiles;
    let clean = |path: &str| {
        path.trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned()
    };
    if let Some(file) = file {
        // `$ROOT/docker/api.Dockerfile`: what stands behind the last open part.
        let known = file.rsplit(['}', '$']).next().unwrap_or(file);
        let known = clean(known.trim_start_matches('/'));
        let fits = |d: &&Dockerfile| d.file == known || d.file.ends_with(&format!("/{known}"));
        return (!known.is_empty()).then(|| all.iter().find(fits)).flatten();
    }
    let context = clean(context.unwrap_or("."));
    if matches!(context.as_str(), "" | ".") || is_open(&context) {
        let root = all
            .iter()
            .find(|d| matches!(d.file.as_str(), "Dockerfile" | "Containerfile"));
        return root.or(match &all[..] {
            [one] => Some(one),
            _ => None,
        });
    }
    all.iter().find(|d| {
        d.file == format!("{context}/Dockerfile")
            || d.file.ends_with(&format!("/{context}/Dockerfile"))
    })
}
