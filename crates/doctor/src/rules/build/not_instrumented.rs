//! The program is built without coverage.

use crate::rule::Signal;
use crate::tree::{
    Cover, GoBuild, Tree, at, go_builds, is_go_build, line, runs_with_directory, same_image,
    says_cover, tree,
};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Step, is_open};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 1,
    slug: "not-instrumented",
    link: Link::Build,
    severity: Severity::Error,
    files_only: false,
    title: "the program is built without coverage",
    checks: "Every command that builds the image which runs, or the program that a script starts with GOCOVERDIR: `-cover` in it, in GOFLAGS, or in a build argument that reaches it.",
    why: "Without `-cover` the compiler puts no counters into the program: there is nothing to write and nothing to read, whatever the rest of the chain looks like.",
    evidence: &[Signal::Binary, Signal::Repository],
    fix: "Build the program that the tests run with `-cover`: `covtap wire` shows where, `covtap build` does it without a change.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[
        "env-missing",
        "dir-not-writable",
        "mount-chain-broken",
        "no-volume",
        "never-collected",
        "copied-before-exit",
        "sigterm-not-handled",
        "hostpath-not-mounted",
    ],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    if let Some(tree) = tree(facts) {
        of_images(&tree, verdicts);
        of_containers(&tree, verdicts);
        of_programs(&tree, verdicts);
    }
}

fn of_images(tree: &Tree<'_>, verdicts: &mut Verdicts) {
    for service in &tree.services {
        let Some(dockerfile) = service.dockerfile else {
            continue;
        };
        let builds: Vec<GoBuild<'_>> = go_builds(dockerfile).collect();
        let stripped = builds
            .iter()
            .find(|b| b.cover != Cover::No && strips(b.step));
        if let Some(build) = stripped {
            let because = "stripping takes names away, and neither counters nor what they belong to: measured for every Go version";
            verdicts.clear_suspect(
                "symbols-stripped",
                Link::Build,
                &service.name,
                because,
                vec![line(build.step)],
            );
        }
        if let Some(build) = builds.iter().find(|b| b.cover == Cover::Yes) {
            let because = "the image's program is built with coverage";
            verdicts.clear(&RULE, &service.name, because, vec![line(build.step)]);
            continue;
        }
        let passed = tree
            .builds_of(dockerfile)
            .find(|i| i.covers() && builds.iter().any(|b| i.reaches(b)));
        if let Some(image) = passed {
            verdicts.clear(
                &RULE,
                &service.name,
                "its image is built with coverage",
                vec![line(image.step)],
            );
            continue;
        }
        let Some(wanted) = service
            .directory()
            .map(|d| at(d.place, format!("{}={}", d.name, d.value)))
        else {
            continue;
        };
        // Other rules name what keeps a flag that is given from it.
        let given = tree.builds_of(dockerfile).any(|b| b.covers() || b.open);
        let argument = builds.iter().find_map(|b| match &b.cover {
            Cover::Argument(name) => Some((b, name)),
            _ => None,
        });
        if let Some((build, name)) = argument {
            let mut images = tree.builds_of(dockerfile).peekable();
            let Some(image) = images.peek().map(|i| i.step) else {
                let because = format!(
                    "{} reads {name} from a build argument, and nothing here builds that image",
                    dockerfile.file
                );
                verdicts.unknown(&RULE, &service.name, because);
                continue;
            };
            if given || images.any(|i| i.arguments.iter().any(|(n, v)| n == name && is_open(v))) {
                continue;
            }
            let cause = format!(
                "the image can be built with coverage by the build argument {name}, and nothing passes it"
            );
            verdicts
                .found(
                    &RULE,
                    &service.name,
                    Confidence::Likely,
                    cause,
                    vec![line(build.step), line(image), wanted],
                )
                .end();
        } else if !given && !builds.is_empty() && builds.iter().all(|b| b.cover == Cover::No) {
            let mut evidence: Vec<Evidence> = builds.iter().take(3).map(|b| line(b.step)).collect();
            evidence.push(wanted);
            let cause = "nothing that builds its image says -cover: the program has no counters";
            verdicts
                .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                .end();
        }
    }
}

/// Images that a command here builds, and another one starts with a directory: `docker run -e GOCOVERDIR=…`.
fn of_containers(tree: &Tree<'_>, verdicts: &mut Verdicts) {
    let mut seen = Vec::new();
    for step in tree.steps().filter(|step| runs_with_directory(step)) {
        let started = |tag: &String| step.words.iter().skip(2).any(|word| same_image(word, tag));
        let image = tree.images.iter().find_map(|image| {
            let tag = image.tags.iter().find(|tag| started(tag))?;
            Some((image, tag, image.dockerfile?))
        });
        let Some((image, tag, dockerfile)) = image else {
            continue;
        };
        let subject = format!("image {tag}");
        if seen.contains(&subject) {
            continue;
        }
        let builds: Vec<GoBuild<'_>> = go_builds(dockerfile).collect();
        let sound = builds
            .iter()
            .find(|b| b.cover == Cover::Yes || (image.covers() && image.reaches(b)));
        if let Some(build) = sound {
            let because = "the image's program is built with coverage";
            let proof = vec![line(build.step), line(image.step)];
            verdicts.clear(&RULE, &subject, because, proof);
        } else if let (Some(build), false) = (builds.first(), image.open || image.covers()) {
            let cause = "its containers are started with GOCOVERDIR, and nothing that builds it says -cover";
            let proof = vec![line(build.step), line(image.step), line(step)];
            verdicts
                .found(&RULE, &subject, Confidence::Certain, cause, proof)
                .end();
        }
        seen.push(subject);
    }
}

/// Whether a build takes the symbols out.
fn strips(step: &Step) -> bool {
    let flags = step.flag(&["-ldflags", "--ldflags"]).unwrap_or_default();
    flags
        .split(|c: char| c.is_whitespace() || c == '=')
        .any(|w| matches!(w, "-s" | "-w"))
}

/// Programs that a script starts with a directory, and that scripts here build.
fn of_programs(tree: &Tree<'_>, verdicts: &mut Verdicts) {
    let mut seen = Vec::new();
    for step in tree
        .steps()
        .filter(|s| !s.call && s.environment.iter().any(|(n, _)| n == "GOCOVERDIR"))
    {
        let program = step.words[0].trim_start_matches("./");
        if !step.words[0].contains('/') || is_open(program) || seen.contains(&program) {
            continue;
        }
        seen.push(program);
        let made = |s: &&Step| {
            is_go_build(s)
                && s.flag(&["-o"])
                    .is_some_and(|o| o.trim_start_matches("./") == program)
        };
        let builds: Vec<&Step> = tree.steps().filter(made).collect();
        let covers = |s: &&Step| {
            let flags = s.environment.iter().map(|(_, v)| v.as_str());
            let words = s.words.iter().map(String::as_str);
            says_cover(flags.chain(words)) || s.words.iter().skip(2).any(|w| w.starts_with('$'))
        };
        let exported = tree
            .repository
            .flows
            .iter()
            .flat_map(|f| &f.environment)
            .any(|v| v.name == "GOFLAGS");
        if let Some(build) = builds.iter().find(|s| covers(s)) {
            verdicts.clear(
                &RULE,
                program,
                "it is built with coverage",
                vec![line(build)],
            );
        } else if let (Some(build), false) = (builds.first(), exported) {
            let cause =
                "it is started with GOCOVERDIR, and the command that builds it does not say -cover";
            verdicts
                .found(
                    &RULE,
                    program,
                    Confidence::Likely,
                    cause,
                    vec![line(build), line(step)],
                )
                .end();
        }
    }
}
