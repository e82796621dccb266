//! The program ends by a system call that skips the exit hook.

use crate::rule::Signal;
use crate::tree::{at, reached, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 206,
    slug: "exit-bypassed",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the program ends by a system call that skips the exit hook",
    checks: "Calls of `syscall.Exit`, `unix.Exit` and `syscall.Exec` in programs that are built here.",
    why: "Counters are written by os.Exit and at the return of main. `syscall.Exit` ends the process under the runtime, and `syscall.Exec` puts another program into it.",
    evidence: &[Signal::Node, Signal::Repository],
    fix: "End with os.Exit or by returning from main.",
    safety: Safety::Review,
    references: &[
        "https://pkg.go.dev/os#Exit",
        "https://github.com/golang/go/blob/master/src/os/proc.go",
    ],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    for package in tree.repository.packages.iter().filter(|p| p.main.is_some()) {
        let Some(subject) = tree.service_of(package) else {
            continue;
        };
        for reached in reached(tree.repository, package) {
            let Some(call) = reached.calls.iter().find(|c| {
                matches!(
                    c.name.as_str(),
                    "syscall.Exit" | "unix.Exit" | "unix.ExitGroup" | "syscall.Exec" | "unix.Exec"
                )
            }) else {
                continue;
            };
            let certain = std::ptr::eq(reached, package);
            let (confidence, severity) = match certain {
                true => (Confidence::Likely, RULE.severity),
                false => (Confidence::Possible, Severity::Warning),
            };
            let cause = format!(
                "{} ends the process without its exit hook: counters are not written",
                call.name
            );
            verdicts
                .found(
                    &RULE,
                    subject.clone(),
                    confidence,
                    cause,
                    vec![at(
                        &call.place,
                        format!("{} in {}", call.name, call.function),
                    )],
                )
                .severity(severity)
                .end();
            break;
        }
    }
}
