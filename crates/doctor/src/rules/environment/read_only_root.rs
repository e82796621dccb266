//! The coverage directory is on a read-only file system.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{at, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::is_open;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 107,
    slug: "read-only-root",
    link: Link::Permission,
    severity: Severity::Error,
    files_only: true,
    title: "the coverage directory is on a read-only file system",
    checks: "`readOnlyRootFilesystem` without a volume at the path, read-only mounts, and `read-only file system` in the log.",
    why: "With a read-only root only volumes can be written. A directory in the image is not one.",
    evidence: &[Signal::Logs, Signal::Specification, Signal::Repository],
    fix: "Mount an `emptyDir` (or another volume) at the coverage directory.",
    safety: Safety::Safe,
    references: &["https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go"],
    explains: &["flush-failed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::ReadOnly],
        "the file system of the coverage directory is read-only for the process",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for service in &tree.services {
        let Some(directory) = service.directory().filter(|d| !is_open(&d.value)) else {
            continue;
        };
        let variable = at(directory.place, format!("GOCOVERDIR={}", directory.value));
        match service.volume_at(&directory.value) {
            Some(behind) if behind.mount.read_only => {
                let cause = format!("{} is mounted read only", behind.mount.path);
                let evidence = vec![
                    variable,
                    at(
                        &behind.mount.place,
                        format!("mountPath: {}, readOnly: true", behind.mount.path),
                    ),
                ];
                verdicts
                    .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                    .end();
            }
            None if service.container.user.read_only_root && !service.is_open() => {
                let cause = format!(
                    "the root file system is read only, and no volume is mounted at {}",
                    directory.value
                );
                let evidence = vec![
                    variable,
                    at(
                        &service.container.user.place,
                        "readOnlyRootFilesystem: true",
                    ),
                ];
                verdicts
                    .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                    .end();
            }
            _ => {}
        }
    }
}
