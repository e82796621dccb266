//! The process may not write to its coverage directory.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{Service, Tree, User, at, line, tree, user};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::Source;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 106,
    slug: "dir-not-writable",
    link: Link::Permission,
    severity: Severity::Error,
    files_only: true,
    title: "the process may not write to its coverage directory",
    checks: "Owner and mode of the directory against the user, groups and capabilities of the process, and Go's line `creating meta-data file …: permission denied`.",
    why: "A `hostPath` of type DirectoryOrCreate is made by the kubelet as root:root 0755; `os.MkdirAll(…, 0777)` is cut by the umask; `fsGroup` changes nothing on a hostPath. A container that does not run as root cannot write there, says one line on standard error and ends as ever.",
    evidence: &[Signal::Logs, Signal::Node, Signal::Repository],
    fix: "Let the directory belong to the user that the container runs as: an `emptyDir` with `fsGroup`, or make the directory on the node before the pod starts and `chown` it to that user. Not `chmod 777`, not root.",
    safety: Safety::Review,
    references: &[
        "https://go.dev/doc/build-cover",
        "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath",
    ],
    explains: &["flush-failed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::PermissionDenied],
        "the process may not write to its coverage directory",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for service in tree.services.iter().filter(|s| !s.is_compose()) {
        let Some(directory) = service.directory() else {
            continue;
        };
        let Some(volume) = service.volume_at(&directory.value).and_then(|b| b.volume) else {
            continue;
        };
        let user = user(service);
        let Some((place, said)) = user.said() else {
            if matches!(volume.source, Source::Host { .. }) {
                verdicts.unknown(
                    &RULE,
                    &service.name,
                    "the files do not tell as whom the container runs",
                );
            }
            continue;
        };
        let who = at(place, said);
        match &volume.source {
            Source::Empty => {
                verdicts.clear(
                    &RULE,
                    &service.name,
                    "everybody may write to an emptyDir",
                    vec![at(&volume.place, format!("{}: emptyDir", volume.name))],
                );
            }
            Source::Host { .. } if user.is_root() => {
                verdicts.clear(&RULE, &service.name, "root may write there", vec![who]);
            }
            Source::Host { path, kind } => of_host(
                &tree,
                service,
                &user,
                path,
                kind.as_deref(),
                vec![
                    who,
                    at(
                        &volume.place,
                        format!(
                            "hostPath: {path}{}",
                            kind.as_ref()
                                .map(|k| format!(", type: {k}"))
                                .unwrap_or_default()
                        ),
                    ),
                ],
                verdicts,
            ),
            Source::Claim(_) | Source::Other(_) => {}
        }
    }
}

fn of_host(
    tree: &Tree<'_>,
    service: &Service<'_>,
    user: &User,
    path: &str,
    kind: Option<&str>,
    mut evidence: Vec<Evidence>,
    verdicts: &mut Verdicts,
) {
    if let Some(step) = tree.prepares(path, user, service) {
        evidence.push(step);
        verdicts.clear(
            &RULE,
            &service.name,
            "the directory is made writable for the container's user",
            evidence,
        );
        return;
    }
    if tree.may_prepare(path) {
        verdicts.unknown(
            &RULE,
            &service.name,
            format!(
                "something changes owners or modes, and the files do not tell whether it is {path}"
            ),
        );
        return;
    }
    evidence.extend(tree.makes(path).map(line));
    let group = service.workload.user.volumes_group.map(|g| {
        at(
            &service.workload.user.place,
            format!("fsGroup: {g} changes nothing on a hostPath"),
        )
    });
    evidence.extend(group);
    let made = match kind {
        Some("Directory") => "whoever made it owns it",
        _ => "the kubelet makes it as root:root 0755",
    };
    let cause = format!(
        "the process may not write to {path}: it does not run as root, {made}, and nothing gives it to its user"
    );
    verdicts
        .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
        .end();
}
