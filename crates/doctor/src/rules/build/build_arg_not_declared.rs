//! A build argument turns coverage on, and the stage that builds does not take it.

use crate::rule::Signal;
use crate::tree::{Cover, GoBuild, at, go_builds, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 2,
    slug: "build-arg-not-declared",
    link: Link::Build,
    severity: Severity::Error,
    files_only: false,
    title: "a build argument turns coverage on, and the stage that builds does not take it",
    checks: "Every `--build-arg` with `-cover` in it, and in the Dockerfile: `ARG` of that name in the stage that runs `go build`, and what that command reads.",
    why: "An ARG counts from its line to the end of its stage; before the first FROM it counts for FROM lines only. Docker ignores an argument that no stage declares, with one line of warning.",
    evidence: &[Signal::Binary, Signal::Repository],
    fix: "Put `ARG GOFLAGS` into the stage that runs `go build`, before it, and let the command keep it.",
    safety: Safety::Review,
    references: &["https://docs.docker.com/reference/dockerfile/#scope"],
    explains: &[
        "not-instrumented",
        "env-missing",
        "dir-not-writable",
        "mount-chain-broken",
        "no-volume",
        "never-collected",
        "copied-before-exit",
        "sigterm-not-handled",
    ],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for image in tree.images.iter().filter(|i| i.covers()) {
        let Some(dockerfile) = image.dockerfile else {
            continue;
        };
        let builds: Vec<GoBuild<'_>> = go_builds(dockerfile).collect();
        let subject = tree
            .services
            .iter()
            .find(|s| s.dockerfile.is_some_and(|d| std::ptr::eq(d, dockerfile)));
        let subject = subject.map_or(dockerfile.file.as_str(), |s| s.name.as_str());
        let given = image.covering();
        if let Some(build) = builds
            .iter()
            .find(|b| image.reaches(b) || b.cover == Cover::Unknown)
        {
            let because = format!(
                "the build argument {} reaches the command that builds",
                given.join(", ")
            );
            verdicts.clear(
                &RULE,
                subject,
                because,
                vec![line(image.step), line(build.step)],
            );
            continue;
        }
        let Some(build) = builds.first() else {
            continue;
        };
        let name = given.first().copied().unwrap_or("GOFLAGS");
        let mut evidence = vec![line(image.step), line(build.step)];
        let early = dockerfile.arguments.iter().find(|a| a.name == name);
        let declared = build.stage.instructions.iter().find_map(|i| match i {
            Instruction::Argument(v) if v.name == name => Some(v),
            _ => None,
        });
        let elsewhere = dockerfile
            .stages
            .iter()
            .flat_map(|s| &s.instructions)
            .find_map(|i| match i {
                Instruction::Argument(v) if v.name == name => Some(v),
                _ => None,
            });
        let cause = match (&build.cover, declared, early, elsewhere) {
            (Cover::Overridden(place, text), Some(_), ..) => {
                evidence.push(at(place, text));
                format!("the build argument {name} is overridden where Go is built")
            }
            (_, Some(declared), ..) if declared.place.line > build.step.place.line => {
                evidence.push(at(&declared.place, format!("ARG {name}")));
                format!("ARG {name} stands behind the command that builds: it comes too late")
            }
            (_, Some(declared), ..) => {
                evidence.push(at(&declared.place, format!("ARG {name}")));
                format!("ARG {name} is declared, and the command that builds does not use it")
            }
            (_, None, Some(early), _) => {
                evidence.push(at(
                    &early.place,
                    format!("ARG {name}, before the first FROM"),
                ));
                format!(
                    "ARG {name} stands before the first FROM: stage {} does not have it",
                    build.stage.title
                )
            }
            (_, None, None, Some(other)) => {
                evidence.push(at(&other.place, format!("ARG {name}, in another stage")));
                format!(
                    "ARG {name} belongs to another stage: stage {}, which builds, does not have it",
                    build.stage.title
                )
            }
            _ => format!(
                "stage {}, which builds, has no ARG {name}: the build argument is ignored",
                build.stage.title
            ),
        };
        verdicts
            .found(&RULE, subject, Confidence::Certain, cause, evidence)
            .end();
    }
}
